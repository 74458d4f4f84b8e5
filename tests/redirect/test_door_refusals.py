"""Nobody learns from the door which phones exist: through the real server every refusal is the same octets."""

import pytest

from tests.redirect import doors
from tests.redirect.doors import EDOS, MODEL, REFUSED


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    data_dir = doors.build(tmp_path_factory.mktemp("refusals"))
    with doors.started(data_dir) as door:
        yield door


def _received(door, method, mac, version):
    request = f"{method} {EDOS}?id={mac}:FCH21330000:{MODEL} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n"
    lines = door.say(request.encode()).split(b"\r\n")
    return [line for line in lines if not line.lower().startswith(b"date:")]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_all_refusals_are_the_same_octets(door, method, version):
    answers = {case: _received(door, method, mac, version) for case, mac in REFUSED.items()}

    assert set(answers) == set(REFUSED)
    unknown = answers["unknown"]
    assert unknown[0] == f"HTTP/{version} 200 OK".encode()
    assert unknown[-2:] == [b"", b""]
    assert all(answer == unknown for answer in answers.values())


def test_the_cases_are_refused_for_their_different_reasons(door):
    before = len(doors.journal_lines(door.data_dir))

    for mac in REFUSED.values():
        door.ask(f"id={mac}:FCH21330000:{MODEL}")

    outcomes = {line["mac"]: line["outcome"] for line in doors.journal_lines(door.data_dir)[before:]}
    assert set(outcomes) == set(REFUSED.values())
    assert len(set(outcomes.values())) == 8
    assert "redirected" not in outcomes.values()
