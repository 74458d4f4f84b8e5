"""The door's answers and what it writes down, at its WSGI callable: section 3 of the contract."""

import hashlib
import time
from datetime import datetime
from xml.etree import ElementTree

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redirect import journal
from tests.redirect import doors
from tests.redirect.doors import BEACON, CONFIRMED_MAC, EDOS, ID, MAC, MODEL, REPORT, SERIAL, TARGET, TOKENS, ask

BEACON_ANSWER = b'<flat-profile><Profile_Rule_B ua="na"></Profile_Rule_B></flat-profile>'
# A phone's report as it would send it, with what must not be kept.
STATUS = (
    b"<status><Product_Name>CP-8841-3PCC</Product_Name><Software_Version>sip88xx.11-2-3</Software_Version>"
    b"<Customization>Acquired</Customization><Admin_Password>hunter2-secret</Admin_Password>"
    b"<Hardware_Version>hunter2-secret <evil/></Hardware_Version></status>"
)


@pytest.fixture
def at_door(tmp_path):
    doors.build(tmp_path)
    return doors.make_door(tmp_path)


def parameters(body: bytes) -> dict[str, str]:
    root = ElementTree.fromstring(body)
    assert root.tag == "flat-profile"
    return {child.tag: child.text or "" for child in root}


def test_a_known_phone_gets_its_owners_rule_as_typed(at_door, tmp_path):
    answer = ask(at_door)

    assert answer.status == 200
    assert answer.headers == (
        ("Content-Type", "application/xml"),
        ("Cache-Control", "no-store"),
        ("Content-Length", str(len(answer.body))),
    )
    assert parameters(answer.body) == {"Profile_Rule": TARGET}
    assert b'  <Profile_Rule ua="na">' in answer.body


def test_a_query_is_written_down_before_it_is_answered(at_door, tmp_path):
    written = []

    def start_response(status, headers):
        written.extend(doors.journal_lines(tmp_path))

    at_door(
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": EDOS,
            "QUERY_STRING": f"id={ID}&sw=sip88xx.11-2-3",
            "REMOTE_ADDR": "192.0.2.7",
        },
        start_response,
    )

    (line,) = written
    assert line.pop("seq") <= journal.sequence()
    assert abs(time.time() - _epoch(line.pop("at"))) < 60
    assert line == {
        "event": "query",
        "mac": MAC,
        "model": MODEL,
        "serial": SERIAL,
        "firmware": "sip88xx.11-2-3",
        "from": "192.0.2.7",
        "outcome": "redirected",
        "device": 7,
        "organization": 3,
        "target": TARGET,
        "identity": "none",
    }


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        ("unknown", "unknown_device"),
        ("not associated", "not_associated"),
        ("profile disabled", "profile_disabled"),
        ("organization suspended", "organization_suspended"),
        ("certificate required", "identity_missing"),
        ("another model", "model_mismatch"),
        ("another serial", "serial_mismatch"),
        ("window is over", "outside_window"),
        ("window is to come", "outside_window"),
    ],
)
def test_the_journal_says_why_a_phone_was_refused(at_door, tmp_path, case, outcome):
    answer = ask(at_door, f"id={doors.REFUSED[case]}:FCH21330000:{MODEL}")

    assert (answer.status, answer.body) == (200, b"")
    (line,) = doors.journal_lines(tmp_path)
    assert (line["outcome"], line["target"]) == (outcome, "")
    assert (line["device"] is None) == (case == "unknown")


def test_a_target_of_the_device_comes_before_its_profiles(tmp_path):
    doors.build(tmp_path, [doors.profile(1), doors.device(MAC, target="https://own.example/<&>$PSN.cfg")])

    answer = ask(doors.make_door(tmp_path), f"id={MAC}:{MODEL}")

    assert parameters(answer.body) == {"Profile_Rule": "https://own.example/<&>$PSN.cfg"}
    assert doors.journal_lines(tmp_path)[0]["target"] == "https://own.example/<&>$PSN.cfg"


def test_a_target_that_needs_escaping_leaves_the_journal_readable(tmp_path):
    target = 'https://h.example/"\\\u2028é$MA.xml'
    doors.build(tmp_path, [doors.profile(1, targets=[target]), doors.device(MAC)])

    ask(doors.make_door(tmp_path), f"id={MAC}:{MODEL}")

    assert doors.journal_lines(tmp_path)[0]["target"] == target


def test_the_links_that_a_phone_is_given_prove_what_it_does_with_them(at_door, tmp_path):
    given_to_phone = parameters(ask(at_door, f"id={CONFIRMED_MAC}:FCH21330000:{MODEL}").body)

    assert list(given_to_phone) == ["Profile_Rule", "Profile_Rule_B", "Report_Rule"]
    path, _, query = given_to_phone["Profile_Rule_B"].removeprefix("http://door.example").partition("?")
    assert path == BEACON
    assert ask(at_door, query, path=BEACON).body == BEACON_ANSWER
    path, _, query = given_to_phone["Report_Rule"].removeprefix("http://door.example").partition("?")
    assert path == REPORT
    assert ask(at_door, f"{query}&event=resync_failed", path=REPORT, method="POST").status == 204

    asked, beacon, report = doors.journal_lines(tmp_path)
    for line in (beacon, report):
        assert (line["mac"], line["model"], line["serial"]) == (CONFIRMED_MAC, MODEL, "FCH21330000")
        assert line["answered_at"] == int(_epoch(asked["at"]))
    assert (beacon["event"], beacon["what"]) == ("beacon", "acquired")
    assert (report["event"], report["what"]) == ("report", "resync_failed")


_NOW = int(time.time())


@pytest.mark.parametrize(
    ("token", "proven"),
    [
        (TOKENS.make(doors.octets(MAC), _NOW), True),
        (TOKENS.make(doors.octets(MAC), _NOW - 29 * 24 * 3600), True),
        (TOKENS.make(doors.octets(MAC), _NOW - 31 * 24 * 3600), False),
        (TOKENS.make(doors.octets(MAC), _NOW + 3600), False),
        (TOKENS.make(doors.octets(CONFIRMED_MAC), _NOW), False),
        ("A" * 19, False),
        ("%00%ff", False),
        ("", False),
        (None, False),
    ],
    ids=["valid", "29 days old", "expired", "of the future", "of another phone", "forged", "no text", "empty", "none"],
)
def test_a_beacon_is_always_answered_alike_and_the_journal_says_whether_it_is_proven(at_door, tmp_path, token, proven):
    query = f"id={MAC}:{MODEL}" if token is None else f"id={MAC}:{MODEL}&t={token}"

    answer = ask(at_door, query, path=BEACON)

    assert (answer.status, answer.header("content-type"), answer.body) == (200, "application/xml", BEACON_ANSWER)
    lines = doors.journal_lines(tmp_path)
    if token == "%00%ff":
        # Not UTF-8: refused, but the phone goes on.
        assert lines == []
    else:
        assert (lines[0]["answered_at"] is not None) is proven


@pytest.mark.parametrize("query", ["", "id=nonsense", "id=" + "x" * 5000, "id=\xff", f"id={MAC}&id={MAC}"])
def test_a_beacon_that_cannot_be_read_is_answered_all_the_same(at_door, tmp_path, query):
    answer = ask(at_door, query, path=BEACON)

    assert (answer.status, answer.body) == (200, BEACON_ANSWER)
    assert doors.journal_lines(tmp_path) == []


def test_a_beacon_is_answered_without_a_directory(tmp_path):
    answer = ask(doors.make_door(tmp_path), f"id={MAC}", path=BEACON)

    assert (answer.status, answer.body) == (200, BEACON_ANSWER)
    assert [line["event"] for line in doors.journal_lines(tmp_path)] == ["beacon"]


def test_a_report_is_taken_without_a_directory(tmp_path):
    answer = ask(doors.make_door(tmp_path), f"id={MAC}&event=acquired", path=REPORT, method="POST", body=b"x")

    assert (answer.status, answer.headers, answer.body) == (204, (), b"")
    assert [line["event"] for line in doors.journal_lines(tmp_path)] == ["report"]


def test_of_a_report_only_a_hash_and_harmless_fields_are_kept(at_door, tmp_path):
    ask(at_door, f"id={ID}&event=acquired", path=REPORT, method="POST", body=STATUS)

    assert doors.journal_lines(tmp_path)[0]["said"] == {
        "sha256": hashlib.sha256(STATUS).hexdigest(),
        "product_name": "CP-8841-3PCC",
        "software_version": "sip88xx.11-2-3",
        "customization": "Acquired",
    }
    assert all(b"hunter2" not in file.read_bytes() for file in doors.journal_files(tmp_path))


@pytest.mark.parametrize(
    "body",
    [
        b"<Product_Name>hunter2\n</Product_Name>",
        b"<Product_Name>" + b"h" * 65 + b"</Product_Name>",
        b"<Product_Name>\xff\xfe</Product_Name>",
        b'<Product_Name>"}\\</Product_Name>',
        b"\x00" * 1000,
        b"\xff" * 1000,
        b"<Product_Name>" * 4000,
        b"<Product_Name " * 4000 + b">x</",
        b"<Customization" * 4000,
    ],
)
def test_a_reports_body_can_be_anything_and_is_read_at_once(at_door, tmp_path, body):
    began = time.process_time()

    answer = ask(at_door, f"id={ID}&event=acquired", path=REPORT, method="POST", body=body)

    assert answer.status == 204
    assert time.process_time() - began < 0.15
    assert list(doors.journal_lines(tmp_path)[0]["said"]) in (["sha256"], ["sha256", "product_name"])


def test_a_report_without_a_body_says_nothing_more(at_door, tmp_path):
    assert ask(at_door, f"id={ID}&event=factory_reset", path=REPORT, method="POST").status == 204

    (line,) = doors.journal_lines(tmp_path)
    assert (line["what"], line["said"], line["answered_at"]) == ("factory_reset", {}, None)


@pytest.mark.parametrize(
    ("octets", "status"), [(64 * 1024, 204), (64 * 1024 + 1, 413)], ids=["the most", "one more than the most"]
)
@pytest.mark.parametrize("declared", [True, False])
def test_a_report_is_at_most_64_kib(at_door, tmp_path, octets, status, declared):
    length = {} if declared else {"CONTENT_LENGTH": ""}

    answer = ask(at_door, f"id={ID}&event=acquired", path=REPORT, method="POST", body=b"x" * octets, **length)

    assert (answer.status, answer.body) == (status, b"")
    assert len(doors.journal_lines(tmp_path)) == (1 if status == 204 else 0)


@pytest.mark.parametrize(
    ("length", "status"),
    [
        ("9" * 400, 413),
        ("0" * 20 + "3", 413),
        ("4", 400),
        ("65536", 400),
        ("-1", 400),
        ("+3", 400),
        ("3.0", 400),
        ("x", 400),
        ("٣", 400),
        (" 3", 400),
    ],
)
def test_a_report_with_a_length_that_is_wrong_leaves_nothing(at_door, tmp_path, length, status):
    query = f"id={ID}&event=acquired"

    answer = ask(at_door, query, path=REPORT, method="POST", body=b"abc", CONTENT_LENGTH=length)

    assert (answer.status, answer.body) == (status, b"")
    assert doors.journal_lines(tmp_path) == []


@pytest.mark.parametrize("event", ["", "&event=", "&event=asked", "&event=x", "&event=acquired&event=acquired"])
def test_a_report_without_an_event_is_refused(at_door, tmp_path, event):
    answer = ask(at_door, f"id={ID}{event}", path=REPORT, method="POST", body=b"abc")

    assert (answer.status, answer.body) == (400, b"")
    assert doors.journal_lines(tmp_path) == []


@pytest.mark.parametrize("path", [EDOS, BEACON])
def test_head_is_answered_and_observes_nothing(at_door, tmp_path, path):
    answer = ask(at_door, path=path, method="HEAD")

    like = ask(at_door, path=path)
    assert (answer.status, answer.headers, answer.body) == (like.status, like.headers, b"")
    assert len(doors.journal_lines(tmp_path)) == 1


@pytest.mark.parametrize(
    ("path", "allowed"),
    [(EDOS, "GET, HEAD"), (BEACON, "GET, HEAD"), (REPORT, "POST")],
    ids=["query", "beacon", "report"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "BREW"])
def test_other_methods_are_refused_and_named(at_door, tmp_path, path, allowed, method):
    if method in allowed.split(", "):
        return

    answer = ask(at_door, path=path, method=method, body=b"abc")

    assert (answer.status, answer.header("Allow"), answer.body) == (405, allowed, b"")
    assert doors.journal_lines(tmp_path) == []


@pytest.mark.parametrize("query", ["", "id=", "id=zz", f"id={MAC}&id={MAC}", "id=" + "0" * 2000, "id=%ff", "\xff"])
def test_a_query_without_a_mac_is_refused_and_leaves_nothing(at_door, tmp_path, query):
    answer = ask(at_door, query)

    assert (answer.status, answer.headers, answer.body) == (400, (("Content-Length", "0"),), b"")
    assert doors.journal_lines(tmp_path) == []


def test_a_malformed_query_is_refused_alike_without_a_directory(tmp_path):
    assert ask(doors.make_door(tmp_path), "id=zz").status == 400


def test_other_paths_are_nobodys(at_door, tmp_path):
    for path in ("/", f"{EDOS}/", EDOS.upper(), f"{EDOS}\x00", "", "*", "/gds/activate"):
        assert (ask(at_door, path=path).status, ask(at_door, path=path).body) == (404, b"")
    assert doors.journal_lines(tmp_path) == []


def test_readiness_names_what_is_missing(tmp_path):
    door = doors.make_door(tmp_path)

    before = ask(door, path="/readyz")
    assert (before.status, orjson.loads(before.body)["ready"]) == (503, False)
    assert "directory" in orjson.loads(before.body)["missing"][0]

    doors.build(tmp_path)
    after = ask(door, path="/readyz")
    assert (after.status, orjson.loads(after.body)) == (200, {"ready": True, "missing": [], "dropped_lines": 0})


def test_readiness_says_that_the_journal_cannot_be_written_but_phones_are_answered(tmp_path):
    doors.build(tmp_path)
    (tmp_path / "journal").write_text("a file where the folder should be")
    door = doors.make_door(tmp_path)

    assert ask(door).status == 200
    said = orjson.loads(ask(door, path="/readyz").body)

    assert said["ready"] is True
    assert said["missing"][0].startswith("The journal cannot be written")
    assert said["dropped_lines"] == 1


def test_the_process_is_alive_without_anything(tmp_path):
    assert ask(doors.make_door(tmp_path / "nowhere"), path="/healthz").status == 200


_ANYTHING = st.text(st.characters(codec="latin-1"), max_size=80)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    query=st.one_of(_ANYTHING, st.builds(f"id={MAC}:{{}}&sw={{}}&t={{}}&event=acquired".format, *[_ANYTHING] * 3)),
    path=st.sampled_from([EDOS, BEACON, REPORT]),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    source=_ANYTHING,
    length=st.one_of(st.none(), _ANYTHING),
    body=st.binary(max_size=200),
)
def test_nothing_that_a_phone_sends_is_the_doors_fault(at_door, tmp_path, query, path, method, source, length, body):
    extra = {} if length is None else {"CONTENT_LENGTH": length}

    answer = ask(at_door, query, path=path, method=method, body=body, REMOTE_ADDR=source, **extra)

    assert answer.status < 500
    assert answer.status < 400 or answer.body == b""
    # Every line is JSON, whatever came in.
    doors.journal_lines(tmp_path)
