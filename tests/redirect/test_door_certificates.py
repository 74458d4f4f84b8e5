"""Phones that show a certificate: whose header the door believes, what it decides, and what it writes down."""

import base64
import hashlib
import ipaddress
import subprocess
import sys
import time
import urllib.parse
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from onboarding.sources import Network
from redirect.directory import authority_item, revocation_item
from tests.redirect import doors
from tests.redirect.doors import BEACON, MAC, MODEL, REPORT, SERIAL, SHORT_CODE, TOKENS, device, profile
from trust import verifying
from virtualphone.manufacturer import ENTERPRISE, GENERIC, MPP, Issued

PROXY = "192.0.2.7"
PROXIES: list[Network] = [ipaddress.ip_network("192.0.2.0/28")]
OTHER_MAC = "00562B043616"
PREFERS, LENIENT = 21, 22
STRICT_MAC, LENIENT_MAC, PREFERRED_MAC = "00562B0000F8", "00562B0000D1", "00562B0000D2"
AGO = datetime.now(UTC) - timedelta(days=100)


@cache
def root() -> Issued:
    return Issued.root()


@cache
def leaf(mac: str = STRICT_MAC, layout: str = ENTERPRISE, expired: bool = False, model: str = MODEL) -> Issued:
    return root().issue_phone(layout, mac=mac, serial=SERIAL, model=model, ends=AGO if expired else None)


def rfc_9440(issued: Issued) -> dict[str, str]:
    return {"HTTP_CLIENT_CERT": f":{base64.b64encode(issued.der).decode()}:"}


def escaped(issued: Issued) -> dict[str, str]:
    return {"HTTP_X_CLIENT_CERT_ESCAPED": urllib.parse.quote(issued.pem, safe="")}


def authority(issued: Issued, id: int = 1, sha1: bool = False):
    return authority_item(id, hashlib.sha256(issued.der).digest(), issued.der, allows_sha1=sha1)


def revocations(issuer: Issued, *revoked: Issued, id: int = 1):
    content = issuer.revoke(*(one.certificate for one in revoked))
    mark = verifying.mark_of(issuer.certificate)
    return revocation_item(id, mark, hashlib.sha256(content).digest(), content)


def lenient_profile():
    key, value = profile(LENIENT, identity="required")
    return key, value[:-1] + b",true]"


@pytest.fixture
def door(tmp_path):
    items = [
        *doors.entries(),
        profile(PREFERS, identity="preferred"),
        lenient_profile(),
        device(LENIENT_MAC, profile=LENIENT),
        device(PREFERRED_MAC, profile=PREFERS),
        authority(root()),
    ]
    doors.build(tmp_path, items)
    return doors.make_door(tmp_path, trusted_proxies=PROXIES)


def ask(door, mac, shown, **over):
    environ = {"REMOTE_ADDR": PROXY} | shown | over
    return doors.ask(door, f"id={mac}:{SERIAL}:{MODEL}", **environ)


def last_line(tmp_path):
    return doors.journal_lines(tmp_path)[-1]


@pytest.mark.parametrize("header", [rfc_9440, escaped])
@pytest.mark.parametrize("layout", [ENTERPRISE, MPP])
def test_the_phones_own_certificate_lets_it_in(door, tmp_path, layout, header):
    issued = leaf(layout=layout)

    answer = ask(door, STRICT_MAC, header(issued))

    assert b"Profile_Rule" in answer.body
    line = last_line(tmp_path)
    assert (line["outcome"], line["identity"]) == ("redirected", "certificate")
    fingerprint = hashlib.sha256(issued.der).hexdigest()
    assert line["certificate"] == {"sha256": fingerprint, "verdict": "valid", "mac": STRICT_MAC, "weak": False}


def test_without_a_certificate_the_profile_that_requires_one_gives_nothing(door, tmp_path):
    assert ask(door, STRICT_MAC, {}).body == b""
    assert (last_line(tmp_path)["outcome"], last_line(tmp_path)["identity"]) == ("identity_missing", "none")
    assert "certificate" not in last_line(tmp_path)


def test_an_empty_header_is_none(door, tmp_path):
    ask(door, STRICT_MAC, {"HTTP_CLIENT_CERT": "", "HTTP_X_CLIENT_CERT_ESCAPED": ""})

    assert last_line(tmp_path)["outcome"] == "identity_missing"


@pytest.mark.parametrize(
    ("mac", "shown", "outcome", "identity"),
    [
        (STRICT_MAC, lambda: leaf(OTHER_MAC), "identity_mismatch", "none"),
        (PREFERRED_MAC, lambda: leaf(OTHER_MAC), "identity_mismatch", "none"),
        (PREFERRED_MAC, lambda: leaf(OTHER_MAC, expired=True), "identity_mismatch", "none"),
        (MAC, lambda: leaf(OTHER_MAC), "redirected", "none"),
        (STRICT_MAC, lambda: leaf(model="CP-6841-3PCC"), "identity_mismatch", "certificate"),
        (STRICT_MAC, lambda: leaf(model="CP-8841"), "redirected", "certificate"),
        (STRICT_MAC, lambda: leaf(layout=GENERIC), "identity_missing", "none"),
        (STRICT_MAC, lambda: leaf(expired=True), "identity_missing", "expired"),
        (LENIENT_MAC, lambda: leaf(LENIENT_MAC, expired=True), "redirected", "expired"),
        (LENIENT_MAC, lambda: leaf(LENIENT_MAC), "redirected", "certificate"),
        (PREFERRED_MAC, lambda: leaf(PREFERRED_MAC, expired=True), "redirected", "expired"),
        (PREFERRED_MAC, lambda: leaf(layout=GENERIC), "redirected", "none"),
        (STRICT_MAC, lambda: Issued.root("Foreign").issue_phone(MPP, mac=STRICT_MAC), "identity_missing", "none"),
        (PREFERRED_MAC, lambda: Issued.root("Foreign").issue_phone(MPP, mac=OTHER_MAC), "redirected", "none"),
    ],
)
def test_what_a_certificate_decides(door, tmp_path, mac, shown, outcome, identity):
    ask(door, mac, rfc_9440(shown()))

    assert (last_line(tmp_path)["outcome"], last_line(tmp_path)["identity"]) == (outcome, identity)


def test_refusals_for_a_certificate_look_like_any_other(door):
    unknown = ask(door, "00562B0000F0", {})
    answers = [
        ask(door, STRICT_MAC, rfc_9440(shown))
        for shown in (leaf(OTHER_MAC), leaf(expired=True), leaf(layout=GENERIC), leaf(model="CP-6841-3PCC"))
    ]

    assert answers == [unknown] * 4


@pytest.mark.parametrize("peer", ["198.51.100.1", "2001:db8::1", "127.0.0.1", "192.0.2.200"])
def test_a_header_from_anybody_else_is_ignored(door, tmp_path, peer):
    answer = ask(door, STRICT_MAC, rfc_9440(leaf()), REMOTE_ADDR=peer)

    assert answer.body == b""
    assert (last_line(tmp_path)["outcome"], last_line(tmp_path)["identity"]) == ("identity_missing", "none")
    assert "certificate" not in last_line(tmp_path)


def test_a_bad_header_from_anybody_else_is_ignored_too(door):
    assert ask(door, MAC, {"HTTP_CLIENT_CERT": "x" * 100_000}, REMOTE_ADDR="198.51.100.1").status == 200


def test_a_unix_socket_is_our_own_proxys(door, tmp_path):
    shown = rfc_9440(leaf()) | {"HTTP_X_FORWARDED_FOR": "203.0.113.9"}

    answer = ask(door, STRICT_MAC, shown, REMOTE_ADDR="")

    assert b"Profile_Rule" in answer.body
    assert (last_line(tmp_path)["identity"], last_line(tmp_path)["from"]) == ("certificate", "203.0.113.9")


def test_a_server_that_names_no_peer_is_not_a_unix_socket(tmp_path):
    doors.build(tmp_path, [*doors.entries(), authority(root())])
    door = doors.make_door(tmp_path)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": doors.EDOS, "QUERY_STRING": f"id={STRICT_MAC}", **rfc_9440(leaf())}

    assert door(environ, lambda status, headers: None) == [b""]


def good() -> str:
    return rfc_9440(leaf())["HTTP_CLIENT_CERT"]


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_CLIENT_CERT": lambda: f"{good()},{good()}"},
        {"HTTP_CLIENT_CERT": lambda: f"{good()}, {good()}"},
        {"HTTP_CLIENT_CERT": lambda: f"{good()};a=1"},
        {"HTTP_CLIENT_CERT": lambda: f"{good()},"},
        {"HTTP_CLIENT_CERT": good, "HTTP_X_CLIENT_CERT_ESCAPED": lambda: escaped(leaf())["HTTP_X_CLIENT_CERT_ESCAPED"]},
        {"HTTP_CLIENT_CERT": lambda: good().strip(":")},
        {"HTTP_CLIENT_CERT": lambda: ":é:"},
        {"HTTP_CLIENT_CERT": lambda: "::"},
        {"HTTP_CLIENT_CERT": lambda: ":" + "A" * 100 * 1024 + ":"},
        {"HTTP_CLIENT_CERT": lambda: ":AAA:"},
        {"HTTP_X_CLIENT_CERT_ESCAPED": lambda: 2 * escaped(leaf())["HTTP_X_CLIENT_CERT_ESCAPED"]},
        {"HTTP_X_CLIENT_CERT_ESCAPED": lambda: f"{escaped(leaf())['HTTP_X_CLIENT_CERT_ESCAPED']},x"},
        {"HTTP_X_CLIENT_CERT_ESCAPED": lambda: leaf().pem},
        {"HTTP_X_CLIENT_CERT_ESCAPED": lambda: "%FF%FE"},
        {"HTTP_X_CLIENT_CERT_ESCAPED": lambda: "%2D" * 40_000},
        {"HTTP_X_CLIENT_CERT_ESCAPED": lambda: "FAILED"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [doors.EDOS, SHORT_CODE, REPORT])
def test_what_is_not_one_certificate_is_refused_whole(door, tmp_path, path, headers):
    environ = {name: make() for name, make in headers.items()}

    answer = doors.ask(
        door, f"id={STRICT_MAC}&event=acquired&code=%23123456", path=path, REMOTE_ADDR=PROXY,
        method="POST" if path == REPORT else "GET", **environ,
    )  # fmt: skip

    assert (answer.status, answer.body) == (400, b"")
    assert doors.journal_lines(tmp_path) == []


def test_octets_that_are_no_certificate_prove_nothing(door, tmp_path):
    answer = ask(door, MAC, {"HTTP_CLIENT_CERT": ":" + base64.b64encode(b"hello" * 100).decode() + ":"})

    assert b"Profile_Rule" in answer.body
    assert last_line(tmp_path)["certificate"]["verdict"] == "unreadable"


def test_a_second_query_costs_no_second_verification(door):
    for _ in range(50):
        ask(door, STRICT_MAC, rfc_9440(leaf()))
        ask(door, STRICT_MAC, escaped(leaf()))

    assert door.verifications == 1


def write_as_the_relay(tmp_path, *puts) -> None:
    """One write into the directory in use, by another process: LMDB is opened once a process."""
    code = (
        "import sys, pathlib; from redirect.directory import DirectoryWriter; o = bytes.fromhex; "
        "w = DirectoryWriter(pathlib.Path(sys.argv[1])); a = sys.argv[2:]; "
        "w.apply([(o(k), o(v)) for k, v in zip(a[::2], a[1::2])], [], None); w.close()"
    )
    arguments = [part.hex() for item in puts for part in item]
    subprocess.run([sys.executable, "-c", code, tmp_path / "directory", *arguments], check=True)


def test_an_authority_that_is_added_or_removed_counts_at_once(door, tmp_path):
    foreign = Issued.root("Foreign")
    shown = rfc_9440(foreign.issue_phone(MPP, mac=STRICT_MAC, model=MODEL))

    before = ask(door, STRICT_MAC, shown).body
    write_as_the_relay(tmp_path, authority(foreign, 2))
    added = ask(door, STRICT_MAC, shown).body
    doors.build(tmp_path, [*doors.entries(), authority(root())])
    doors.wait_until(lambda: not ask(door, STRICT_MAC, shown).body, seconds=2, what="the switch to the rebuilt one")

    assert before == b""
    assert b"Profile_Rule" in added


def test_a_revoked_certificate_is_worth_nothing_at_once_and_other_changes_cost_nothing(door, tmp_path):
    issued, other = (root().issue_phone(MPP, mac=STRICT_MAC, model=MODEL) for _ in range(2))

    before = ask(door, STRICT_MAC, rfc_9440(issued)).body
    write_as_the_relay(tmp_path, device("00562B00AA00"))
    ask(door, STRICT_MAC, rfc_9440(issued))
    verified = door.verifications
    write_as_the_relay(tmp_path, revocations(root(), issued))
    after = ask(door, STRICT_MAC, rfc_9440(issued)).body

    assert verified == 1
    assert b"Profile_Rule" in before
    assert after == b""
    assert last_line(tmp_path)["outcome"] == "identity_missing"
    assert last_line(tmp_path)["certificate"]["verdict"] == "revoked"
    assert b"Profile_Rule" in ask(door, STRICT_MAC, rfc_9440(other)).body


def test_sha1_is_believed_below_roots_that_allow_it(tmp_path):
    issued = root().issue_phone(MPP, mac=STRICT_MAC, model=MODEL, sha1=True)
    doors.build(tmp_path, [*doors.entries(), authority(root(), sha1=True)])
    # Dated from this very second.
    doors.wait_until(lambda: datetime.now(UTC) > issued.certificate.not_valid_before_utc, what="its beginning")

    answer = ask(doors.make_door(tmp_path, trusted_proxies=PROXIES), STRICT_MAC, rfc_9440(issued))

    assert b"Profile_Rule" in answer.body
    assert last_line(tmp_path)["certificate"]["weak"] is True


@pytest.mark.parametrize(("path", "method"), [(BEACON, "GET"), (REPORT, "POST")])
def test_beacons_and_reports_tell_how_the_phone_was_known(door, tmp_path, path, method):
    token = TOKENS.make(doors.octets(MAC), time.time())
    said = f"id={MAC}&event=acquired"

    for query, shown in (
        (said, {}), (f"{said}&t={token}", {}), (said, rfc_9440(leaf(MAC))), (f"{said}&t={token}", rfc_9440(leaf(MAC))),
        (said, rfc_9440(leaf(OTHER_MAC))), (said, rfc_9440(leaf(MAC, expired=True))),
    ):  # fmt: skip
        doors.ask(door, query, path=path, method=method, REMOTE_ADDR=PROXY, **shown)

    known = [line["identity"] for line in doors.journal_lines(tmp_path)]
    assert known == ["none", "token", "certificate", "certificate", "none", "expired"]


def test_a_beacon_with_a_bad_header_gets_the_answer_that_lets_the_phone_go_on(door, tmp_path):
    answer = doors.ask(door, f"id={MAC}", path=BEACON, REMOTE_ADDR=PROXY, HTTP_CLIENT_CERT=f"{good()},{good()}")

    assert answer.status == 200
    assert doors.journal_lines(tmp_path) == []


def test_a_beacon_with_a_certificate_is_answered_without_a_directory(tmp_path):
    door = doors.make_door(tmp_path, trusted_proxies=PROXIES)

    answer = doors.ask(door, f"id={MAC}", path=BEACON, REMOTE_ADDR=PROXY, **rfc_9440(leaf(MAC)))

    assert answer.status == 200


def test_the_proxys_own_verdict_is_never_asked(door, tmp_path):
    ask(door, STRICT_MAC, {"HTTP_X_CLIENT_CERT_VERIFY": "SUCCESS"})

    assert last_line(tmp_path)["outcome"] == "identity_missing"


class TestUnderTheRealServer:
    @pytest.fixture
    def started(self, tmp_path):
        doors.build(tmp_path, [*doors.entries(), authority(root())])
        with doors.started(tmp_path, TRUSTED_PROXIES="127.0.0.1/32") as door:
            yield door

    def test_one_header_is_believed_two_are_refused(self, started):
        header = ("Client-Cert", good())
        query = f"id={STRICT_MAC}:{SERIAL}:{MODEL}"

        one = started.ask(query, headers=[header])
        two = started.ask(query, headers=[header, header])
        long = started.ask(query, headers=[("Client-Cert", ":" + "A" * 100 * 1024 + ":")])

        assert (one.status, b"Profile_Rule" in one.body) == (200, True)
        assert (two.status, two.body) == (400, b"")
        assert (long.status, long.body) == (400, b"")
