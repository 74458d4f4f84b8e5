"""Short codes at the door: who gets an answer, that refusals look alike, and that trying them all is slow."""

import time

import orjson
import pytest

from onboarding import guessing
from redirect import enumeration
from redirect.directory import short_code_key
from tests.redirect import doors
from tests.redirect.doors import ID, MAC, SHORT_CODE, TARGET, TOKENS

WORKING, CONFIRMED, STRANGE_MODEL = "123456", "0000000000000000", "777"
OWNER = 1
REFUSED = {
    "unknown": "%23999999",
    "disabled profile": "%23200",
    "profile is gone": "%23201",
    "suspended organization": "%23300",
    "expired": "%23400",
    "certificate required": "%23500",
    "without the #": "123456",
    "no code": "",
    "too short": "%2312",
    "too long": "%23" + "1" * 17,
    "letters": "%23abc",
    "other digits": "%23%D9%A1%D9%A2%D9%A3",
    "two #": "%23%23123456",
    "a space": "%23123456%20",
    "a newline": "%23123456%0A",
}


def code(digits, *, organization=OWNER, profile=doors.PLAIN, until=None):
    return short_code_key(digits), orjson.dumps([organization, profile, until])


@pytest.fixture
def at_door(tmp_path):
    items = [
        *doors.entries(),
        code(WORKING),
        code(CONFIRMED, profile=doors.CONFIRMED),
        code("200", profile=doors.DISABLED),
        code("201", profile=99),
        code("300", organization=doors.SUSPENDED, profile=doors.OF_SUSPENDED),
        code("400", until=1),
        code("500", profile=doors.STRICT),
    ]
    doors.build(tmp_path, items)
    return doors.make_door(tmp_path)


def ask(door, code=f"%23{WORKING}", *, id=ID, **over):
    return doors.ask(door, f"code={code}&id={id}", path=SHORT_CODE, **over)


def test_a_phone_that_uses_a_code_gets_its_profile(at_door, tmp_path):
    answer = ask(at_door, id="00562BAAAAAA:FCH2133E8B9:CP-6841-3PCC")

    assert (answer.status, answer.header("Content-Type")) == (200, "application/xml")
    assert TARGET.encode() in answer.body
    (line,) = doors.journal_lines(tmp_path)
    del line["seq"], line["at"]
    assert line == {
        "event": "short_code", "code": WORKING, "mac": "00562BAAAAAA", "model": "CP-6841-3PCC",
        "serial": "FCH2133E8B9", "firmware": "", "from": "192.0.2.7", "outcome": "redirected",
        "organization": OWNER, "profile": doors.PLAIN, "target": TARGET,
        "identity": "none",
    }  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_codes_that_do_not_work_all_look_alike(at_door, case):
    answer = ask(at_door, REFUSED[case])

    assert (answer.status, answer.headers, answer.body) == (
        404, (("Cache-Control", "no-store"), ("Content-Length", "0")), b"",
    )  # fmt: skip


def test_a_code_with_an_end_works_until_then(at_door, tmp_path):
    doors.build(tmp_path, [*doors.entries(), code("400", until=time.time() + 600)])

    assert ask(doors.make_door(tmp_path), "%23400").status == 200


@pytest.mark.parametrize(("query", "status"), [("code=%23123456", 400), ("code=%23123456&id=nonsense", 400),
                                               ("code=%231&code=%232&id=" + ID, 400), ("", 400)])  # fmt: skip
def test_a_request_without_a_readable_mac_is_refused_as_an_edos_query_is(at_door, query, status):
    answer = doors.ask(at_door, query, path=SHORT_CODE)

    assert (answer.status, answer.body) == (status, b"")


def test_head_is_answered_and_is_no_observation(at_door, tmp_path):
    answer = ask(at_door, method="HEAD")

    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.header("Content-Length")) > 0
    assert doors.journal_files(tmp_path) == []


def test_other_methods_are_refused(at_door):
    answer = ask(at_door, method="POST")

    assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD")


def test_without_a_directory_phones_come_back_later_and_no_try_is_spent(tmp_path):
    door = doors.make_door(tmp_path)

    answers = [ask(door) for _ in range(guessing.TRIES_AT_ONCE + 5)]

    assert {answer.status for answer in answers} == {503}
    assert answers[0].header("Retry-After")


def _token(answer) -> str:
    return str(answer.body.decode()).partition("&amp;t=")[2][:19]


def test_the_beacon_of_a_code_proves_something_only_for_phones_that_nobody_else_has(at_door):
    now = time.time()

    stranger = _token(ask(at_door, f"%23{CONFIRMED}", id="00562BAAAAAA"))
    # A proven phone of another organization: everybody can type its MAC.
    others = _token(ask(at_door, f"%23{CONFIRMED}", id=MAC))

    assert TOKENS.answered_at(stranger, doors.octets("00562BAAAAAA"), now) is not None
    assert len(others) == len(stranger)
    assert TOKENS.answered_at(others, doors.octets(MAC), now) is None


# Enumeration


def _guess(door, number, **over):
    return ask(door, f"%23{number:06}", **over)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_network_that_tries_many_codes_is_slowed_also_for_right_ones(at_door, method):
    statuses = [_guess(at_door, 900_000 + n, method=method).status for n in range(guessing.TRIES_AT_ONCE + 3)]

    assert statuses == [404] * guessing.TRIES_AT_ONCE + [429] * 3
    slowed = ask(at_door, method=method)
    assert slowed.status == 429
    assert 1 <= int(slowed.header("Retry-After")) <= guessing.SECONDS_A_TRY
    assert slowed.body == b""


def test_others_are_not_slowed_by_it(at_door):
    for n in range(guessing.TRIES_AT_ONCE + 1):
        _guess(at_door, 900_000 + n)

    assert ask(at_door, REMOTE_ADDR="192.0.2.8").status == 200


def test_an_ipv6_network_is_one_guesser(at_door):
    for n in range(guessing.TRIES_AT_ONCE):
        _guess(at_door, 900_000 + n, REMOTE_ADDR=f"2001:db8:7:{n:x}::1")

    assert _guess(at_door, 1, REMOTE_ADDR="2001:db8:7:ffff::1").status == 429
    assert _guess(at_door, 1, REMOTE_ADDR="2001:db8:8::1").status == 404


def test_a_forged_header_makes_no_other_network(at_door):
    for n in range(guessing.TRIES_AT_ONCE):
        _guess(at_door, 900_000 + n, HTTP_X_FORWARDED_FOR=f"198.51.100.{n}")

    assert _guess(at_door, 1, HTTP_X_FORWARDED_FOR="203.0.113.9").status == 429


def test_any_number_of_phones_with_a_right_code_may_share_an_address(at_door):
    assert {ask(at_door).status for _ in range(10 * guessing.TRIES_AT_ONCE)} == {200}


def test_a_guesser_is_reported_once_with_the_organizations_it_found(at_door, tmp_path):
    _guess(at_door, 900_000)
    ask(at_door)
    for n in range(guessing.TRIES_AT_ONCE + 20):
        _guess(at_door, 900_001 + n)

    reports = [line for line in doors.journal_lines(tmp_path) if line["event"] == "enumeration"]

    assert [(line["network"], line["organizations"]) for line in reports] == [("192.0.2.7", [OWNER])]


def test_tries_come_back_with_time():
    tries = enumeration.Tries()
    for _ in range(guessing.TRIES_AT_ONCE):
        assert tries.wait("n", 1000.0) == 0
        tries.take("n", 1000.0)
    wait = tries.wait("n", 1000.0)

    assert wait > 0
    assert tries.wait("n", 1000.0 + wait - 0.01) > 0
    assert tries.wait("n", 1000.0 + wait) == 0
    tries.take("n", 1000.0 + wait)
    assert tries.wait("n", 1000.0 + wait) > 0


def test_memory_is_bounded_and_the_longest_silent_network_is_forgotten(monkeypatch):
    monkeypatch.setattr(enumeration, "MOST_NETWORKS", 100)
    tries = enumeration.Tries()
    for n in range(5000):
        tries.take("busy", 1.0)
        tries.take(f"network {n}", 1.0)

    assert len(tries) == 100
    assert tries.wait("busy", 1.0) > 0


def test_a_network_that_only_succeeds_leaves_nothing_behind():
    tries = enumeration.Tries()
    assert tries.wait("office", 1.0) == 0
    tries.found("office", 7)

    assert len(tries) == 0
