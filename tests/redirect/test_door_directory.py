"""A started door while its directory is missing, damaged, switched, or another's."""

import os
import threading
import time

import pytest

from tests.redirect import doors
from tests.redirect.doors import BEACON, ID, MAC, MODEL, REPORT, wait_until


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    with doors.started(tmp_path_factory.mktemp("directories")) as door:
        yield door


def current(door):
    return door.data_dir / "directory" / "current"


def assert_unusable(door):
    """Queries are told to come back, whatever they ask for, and everything else goes on."""
    for query in (f"id={ID}", "id=00562B0000F0"):
        answer = door.ask(query)
        assert (answer.status, answer.body) == (503, b"")
        assert 1 <= int(answer.header("retry-after") or 0) <= 60
    assert door.ask("id=zz").status == 400
    assert door.ask(path=BEACON).status == 200
    assert door.ask(f"id={ID}&event=acquired", path=REPORT, method="POST", body=b"x").status == 204
    assert door.ask("", path="/healthz").status == 200
    assert door.ask("", path="/readyz").status == 503


def assert_usable(door):
    for _ in range(4):
        assert door.ask().status == 200


def truncated(door):
    os.truncate(current(door) / "data.mdb", 9000)


def emptied(door):
    os.truncate(current(door) / "data.mdb", 0)


def unlinked(door):
    current(door).unlink()


def replaced_by_garbage(door):
    current(door).unlink()
    current(door).mkdir()
    (current(door) / "data.mdb").write_bytes(os.urandom(50_000))


def linked_to_nothing(door):
    current(door).unlink()
    current(door).symlink_to("env-0")


@pytest.mark.parametrize("damage", [truncated, emptied, unlinked, linked_to_nothing, replaced_by_garbage])
def test_a_damaged_directory_is_answered_with_503_by_living_processes_and_healed_by_a_rebuild(door, damage):
    doors.build(door.data_dir)
    # A switch is noticed within a tenth of a second, damage at once.
    time.sleep(0.15)
    assert_usable(door)
    processes = door.processes()
    lines = len(doors.journal_lines(door.data_dir))

    damage(door)
    time.sleep(0.0 if damage in {truncated, emptied} else 0.15)
    assert_unusable(door)

    assert door.processes() == processes
    # Of the queries nothing is written: nobody was answered.
    assert [line["event"] for line in doors.journal_lines(door.data_dir)[lines:]] == ["beacon", "report"]
    if damage is replaced_by_garbage:
        (current(door) / "data.mdb").unlink()
        for file in current(door).iterdir():
            file.unlink()
        current(door).rmdir()
    doors.build(door.data_dir)
    assert_usable(door)
    assert door.ask("", path="/readyz").status == 200


def test_a_door_that_starts_before_its_directory_answers_as_soon_as_there_is_one(tmp_path):
    with doors.started(tmp_path) as door:
        assert_unusable(door)
        doors.build(tmp_path)
        assert_usable(door)


def test_a_directory_switched_under_a_busy_door_gives_only_right_answers(door):
    """Phones ask all the time; whatever they get was true in one of the directories, and never again an older one."""

    def build(generation: int) -> None:
        items = [doors.profile(1, targets=[f"https://g.example/{generation}/$MA"]), doors.device(MAC)]
        doors.build(door.data_dir, items)

    build(0)
    wait_until(lambda: b"/0/" in door.ask(f"id={MAC}:{MODEL}").body, what="the first directory")
    time.sleep(0.15)
    stop = threading.Event()
    problems: list[object] = []
    asked = [0] * 4

    def phone(number: int) -> None:
        while not stop.is_set():
            answer = door.ask(f"id={MAC}:{MODEL}")
            if answer.status != 200 or b"https://g.example/" not in answer.body:
                problems.append(answer)
            asked[number] += 1

    phones = [threading.Thread(target=phone, args=(number,)) for number in range(4)]
    for thread in phones:
        thread.start()
    for generation in range(1, 100):
        build(generation)
        time.sleep(0.01)
    stop.set()
    for thread in phones:
        thread.join()

    assert problems == []
    assert min(asked) > 20
    wait_until(lambda: all(b"/99/" in door.ask(f"id={MAC}:{MODEL}").body for _ in range(6)), seconds=2, what="the last")
