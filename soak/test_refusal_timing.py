"""Time tells nobody which phones and short codes exist: every refusal takes as long as that of an unknown one.

Measured inside the process, where nothing hides a difference, with the cases in turn so that whatever disturbs the
machine disturbs all of them. The median of many is compared: what an attacker could learn by asking as often.
"""

import gc
import random
import statistics
import time
from pathlib import Path

import orjson
import pytest

from redirect.directory import short_code_key
from redirect.door import Door
from tests.redirect import doors
from tests.redirect.doors import MODEL, REFUSED, ask

ROUNDS = 6000
# Of a refusal's time. Over a network a query's time varies by some ten times its own length; a difference below this
# (about 1 µs) takes more than a million queries for one phone to be seen, and beside it stand the limits of a server.
TOLERANCE = 0.05


@pytest.fixture
def environs() -> dict[str, dict[str, str]]:
    return {case: _environ(mac) for case, mac in REFUSED.items()}


def _environ(mac: str) -> dict[str, str]:
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": doors.EDOS,
        "QUERY_STRING": f"id={mac}:FCH21330000:{MODEL}&sw=sip88xx.11-2-3",
        "REMOTE_ADDR": "192.0.2.7",
    }


def _start_response(status: str, headers: list[tuple[str, str]]) -> None:
    pass


def _medians(door: Door, environs: dict[str, dict[str, str]]) -> dict[str, float]:
    cases = list(environs)
    taken: dict[str, list[int]] = {case: [] for case in cases}
    gc.disable()
    try:
        for turn in range(ROUNDS):
            # Another network each time, so that none is slowed down for its tries.
            address = f"198.18.{turn // 250}.{turn % 250 + 1}"
            # In another order each time, so that no case always follows the same one.
            random.shuffle(cases)
            for case in cases:
                environ = environs[case]
                environ["REMOTE_ADDR"] = address
                began = time.perf_counter_ns()
                door(environ, _start_response)
                taken[case].append(time.perf_counter_ns() - began)
    finally:
        gc.enable()
    return {case: statistics.median(times) for case, times in taken.items()}


def test_every_refusal_takes_as_long_as_that_of_an_unknown_phone(
    tmp_path: Path, environs: dict[str, dict[str, str]]
) -> None:
    # Among enough others that the search goes through several pages.
    others = [doors.device(f"00562B{number:06X}", profile=doors.PLAIN) for number in range(0x100000, 0x100000 + 20_000)]
    doors.build(tmp_path, doors.entries() + others)
    door = doors.make_door(tmp_path)
    for environ in environs.values():
        door(environ, _start_response)

    medians = _medians(door, environs)

    unknown = medians["unknown"]
    apart = {case: round(median / unknown - 1, 4) for case, median in medians.items()}
    assert all(abs(difference) <= TOLERANCE for difference in apart.values()), (unknown, apart)


def test_a_difference_would_be_seen(tmp_path: Path, environs: dict[str, dict[str, str]]) -> None:
    """The measurement itself: a phone that is redirected does more, and that shows."""
    doors.build(tmp_path)
    door = doors.make_door(tmp_path)
    environs["redirected"] = _environ(doors.CONFIRMED_MAC)
    assert ask(door, environs["redirected"]["QUERY_STRING"]).body

    medians = _medians(door, environs)

    assert medians["redirected"] > medians["unknown"] * (1 + TOLERANCE)


# Rows of `short_code_key`: organization, profile, valid until.
SHORT_CODES: dict[str, tuple[str, list[int | None] | None]] = {
    "unknown": ("999999", None),
    "disabled profile": ("200200", [1, doors.DISABLED, None]),
    "profile is gone": ("201201", [1, 99, None]),
    "suspended organization": ("300300", [doors.SUSPENDED, doors.OF_SUSPENDED, None]),
    "expired": ("400400", [1, doors.PLAIN, 1]),
    "certificate required": ("500500", [1, doors.STRICT, None]),
}


def test_every_refused_short_code_takes_as_long_as_an_unknown_one(tmp_path: Path) -> None:
    rows = [(short_code_key(code), orjson.dumps(row)) for code, row in SHORT_CODES.values() if row]
    others = [(short_code_key(f"7{number:05}"), orjson.dumps([1, doors.PLAIN, None])) for number in range(20_000)]
    doors.build(tmp_path, doors.entries() + rows + others)
    door = doors.make_door(tmp_path)
    query = f"&id=00562BAAAAAA:FCH21330000:{MODEL}&sw=sip88xx.11-2-3"
    environs = {
        case: _environ("") | {"PATH_INFO": doors.SHORT_CODE, "QUERY_STRING": f"code=%23{code}{query}"}
        for case, (code, _) in SHORT_CODES.items()
    }
    for case in environs:
        assert doors.ask(door, environs[case]["QUERY_STRING"], path=doors.SHORT_CODE).status == 404, case

    medians = _medians(door, environs)

    unknown = medians["unknown"]
    apart = {case: round(median / unknown - 1, 4) for case, median in medians.items()}
    assert all(abs(difference) <= TOLERANCE for difference in apart.values()), (unknown, apart)
