"""The phone's memory outlives the program, and is never half written."""

import pytest

from virtualphone import edos, flash
from virtualphone.states import State

CONTENTS = flash.Contents(State.CUSTOM_PENDING, {"Profile_Rule": "https://h/$MA.xml", "Ü": "ä\n"}, "token")


@pytest.fixture
def memory(tmp_path, me):
    return flash.FlashFile(flash.path_of(tmp_path / "phones", me.mac), me, edos.Service("http://127.0.0.1:8000", "/e"))


def test_a_new_phone_is_open(memory):
    assert memory.read() == flash.Contents(State.OPEN, {}, "")
    assert not memory.path.exists()


def test_everything_survives(memory, me):
    memory.write(CONTENTS)

    found = flash.find(memory.path.parent, me.mac)

    assert found
    assert found.read() == CONTENTS
    assert (found.identity, found.service) == (memory.identity, memory.service)


def test_only_the_owner_may_read_it(memory):
    memory.write(CONTENTS)

    assert memory.path.stat().st_mode & 0o077 == 0


def test_a_write_that_fails_leaves_the_old_memory(memory):
    memory.write(CONTENTS)

    with pytest.raises(TypeError):
        memory.write(flash.Contents(State.OPEN, {"bad": object()}))  # type: ignore[dict-item]

    assert memory.read() == CONTENTS
    assert [path.name for path in memory.path.parent.iterdir()] == [memory.path.name]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"state": "nope"}', '{"state": 1, "parameters": [], "token": ""}', "\0"]
)
def test_a_damaged_file_is_said_to_be_so(memory, text):
    memory.path.parent.mkdir()
    memory.path.write_text(text)

    with pytest.raises(flash.DamagedFlash):
        memory.read()
    with pytest.raises(flash.DamagedFlash):
        flash.find(memory.path.parent, memory.identity.mac)


def test_an_unknown_phone_is_not_found(tmp_path):
    assert flash.find(tmp_path, "00562B043615") is None
