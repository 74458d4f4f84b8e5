"""Replays tests/captured against a started door: the requests of real phones, as far as they are known."""

import re
from pathlib import Path

import pytest

from tests.redirect import doors

CAPTURED = sorted((Path(__file__).parent.parent / "captured").glob("*.http"))
BODIES = {"empty": b"", "beacon": b'<flat-profile><Profile_Rule_B ua="na"></Profile_Rule_B></flat-profile>'}


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    with doors.started(doors.build(tmp_path_factory.mktemp("captured"))) as door:
        yield door


@pytest.mark.parametrize("file", CAPTURED, ids=lambda file: file.stem)
def test_a_phones_request_is_answered_as_noted(door, file):
    lines = file.read_text(encoding="utf-8").splitlines()
    notes = [line for line in lines if line.startswith("#")]
    ((status, kind),) = re.findall(r"^# answer: (\d+) (\w+)$", "\n".join(notes), re.MULTILINE)
    head, _, body = "\n".join(lines[len(notes) :]).partition("\n\n")
    before = len(doors.journal_lines(door.data_dir))

    request = head.strip().replace("\n", "\r\n") + "\r\n\r\n" + body
    answer = door.exchange(request.encode())

    assert answer.status == int(status)
    if kind == "profile":
        assert doors.TARGET.encode() in answer.body
    else:
        assert answer.body == BODIES[kind]
    assert len(doors.journal_lines(door.data_dir)) == before + 1
    assert all(b"secret" not in journal.read_bytes() for journal in doors.journal_files(door.data_dir))
