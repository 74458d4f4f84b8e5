"""The journal's writing side: one whole line a call, in order, whatever happens to the disk or the process."""

import errno
import fcntl
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import orjson
import pytest

from redirect import journal
from redirect.journal import Journal
from tests.redirect.doors import journal_files, journal_lines, wait_until


@pytest.fixture
def book(tmp_path):
    return Journal(tmp_path / "journal", "machine")


def run(code: str, tmp_path: Path, **options) -> "subprocess.CompletedProcess[str]":
    """Run code in a process of its own, whose limits may then be changed."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        **options,
    )


def test_a_line_begins_with_its_sequence_and_its_time(book, tmp_path):
    before = journal.sequence()

    assert book.append('"event":"query","mac":"00562B043615"')

    (file,) = journal_files(tmp_path)
    text = file.read_text()
    assert re.fullmatch(
        r'\{"seq":\d+,"at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z","event":"query","mac":"00562B043615"\}\n', text
    )
    assert before < orjson.loads(text)["seq"] < journal.sequence()


def test_a_files_name_says_machine_boot_and_start(book, tmp_path):
    book.append('"event":"x"')

    (file,) = journal_files(tmp_path)
    name = journal.parse_name(file.name)
    assert name is not None
    assert (name.machine, name.boot) == ("machine", journal.boot_id())
    assert file.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("machine", ["", "a,b", "../../x", "ä" * 3, "m" * 300, "a b\n"])
def test_any_machine_name_makes_a_name_that_can_be_read_back(tmp_path, machine):
    Journal(tmp_path / "journal", machine).append('"event":"x"')

    (file,) = journal_files(tmp_path)
    assert journal.parse_name(file.name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "machine,0a1b2c3d,1,0a1b2c3d.jsonl.gz",
        "machine,0a1b2c3d,1,0a1b2c3d.new",
        "m,0a1b2c3d,1,0a1b2c3d.jsonl\n",
    ],
)
def test_other_files_are_no_journals(name):
    assert journal.parse_name(name) is None


def test_nothing_is_made_before_the_first_line(book, tmp_path):
    assert not (tmp_path / "journal").exists()


def test_threads_write_whole_lines_in_the_order_of_their_sequence(book, tmp_path):
    def write(thread: int) -> None:
        for number in range(500):
            assert book.append(f'"thread":{thread},"number":{number}')

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (file,) = journal_files(tmp_path)
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert {(line["thread"], line["number"]) for line in lines} == {(t, n) for t in range(8) for n in range(500)}
    sequences = [line["seq"] for line in lines]
    assert sequences == sorted(set(sequences))


_WRITE_MANY = """
    import sys
    from pathlib import Path
    from redirect.journal import Journal
    book = Journal(Path(sys.argv[1]) / "journal", "machine")
    for number in range(2000):
        assert book.append(f'"number":{number}')
"""


_THEN_WAIT = """
    import time
    print("written", flush=True)
    time.sleep(60)
"""


def test_processes_write_files_of_their_own(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(_WRITE_MANY), str(tmp_path)]) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]

    files = journal_files(tmp_path)
    assert len(files) == 2
    for file in files:
        lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
        assert [line["number"] for line in lines] == list(range(2000))
        sequences = [line["seq"] for line in lines]
        assert sequences == sorted(set(sequences))


def test_a_file_is_locked_while_its_writer_lives_and_free_when_it_was_killed(tmp_path):
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITE_MANY + _THEN_WAIT), str(tmp_path)],
        stdout=subprocess.PIPE,
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        (file,) = journal_files(tmp_path)
        assert not _can_be_locked(file)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()

    assert _can_be_locked(file)
    # What was written is there, though nothing was closed.
    assert len(journal_lines(tmp_path)) == 2000


def _can_be_locked(file: Path) -> bool:
    with file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_LOOK_FOR_UNLOCKED = """
    import fcntl, os, sys
    folder, seen = sys.argv[1], set()
    print("looking", flush=True)
    while True:
        names = [name for name in os.listdir(folder) if name.endswith(".jsonl") and name not in seen]
        for name in names:
            seen.add(name)
            with open(os.path.join(folder, name), "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                # Locked and empty: nobody can have been done with it.
                if not os.fstat(file.fileno()).st_size:
                    print("unlocked", flush=True)
"""


def test_no_journal_is_ever_seen_without_its_lock(tmp_path, monkeypatch):
    """A relay may look at any moment; an unlocked journal is a dead writer's and may be deleted."""
    # A new file with every line.
    monkeypatch.setattr(journal, "LARGE_OCTETS", 1)
    (tmp_path / "journal").mkdir()
    book = Journal(tmp_path / "journal", "machine")
    looking = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_LOOK_FOR_UNLOCKED), str(tmp_path / "journal")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert looking.stdout is not None
        assert looking.stdout.readline() == "looking\n"
        written = [book.append('"event":"x"') for _ in range(3000)]
    finally:
        looking.kill()
        said, _ = looking.communicate()

    assert all(written)
    assert said == ""
    assert len(journal_lines(tmp_path)) == len(list((tmp_path / "journal").iterdir())) == 3000


def test_a_full_disk_drops_lines_counts_them_and_says_so_when_there_is_room(tmp_path):
    """With the size of files limited: the first write beyond is short, those after it fail."""
    said = run(
        """
        import resource, sys
        from pathlib import Path
        from redirect.journal import Journal
        book = Journal(Path(sys.argv[1]) / "journal", "machine")
        assert book.append('"number":1')
        size = next((Path(sys.argv[1]) / "journal").iterdir()).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
        print([book.append(f'"number":{number}') for number in (2, 3, 4)], book.dropped)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(book.append('"number":5'), book.dropped, book.append('"number":6'))
        """,
        tmp_path,
    )

    assert said.stdout.splitlines() == ["[False, False, False] 3", "True 0 True"]
    # Said once, not for each phone.
    assert said.stderr.count("cannot be written") == 1
    (file,) = journal_files(tmp_path)
    first, torn, dropped, fifth, sixth = file.read_bytes().splitlines()
    assert orjson.loads(first)["number"] == 1
    assert torn.startswith(b'{"seq":')
    assert len(torn) == 20
    assert (orjson.loads(dropped)["event"], orjson.loads(dropped)["count"]) == ("dropped", 3)
    assert [orjson.loads(line)["number"] for line in (fifth, sixth)] == [5, 6]


def test_the_count_itself_may_be_torn_and_is_written_again(tmp_path):
    said = run(
        """
        import resource, sys
        from pathlib import Path
        from redirect.journal import Journal
        book = Journal(Path(sys.argv[1]) / "journal", "machine")
        file = lambda: next((Path(sys.argv[1]) / "journal").iterdir())
        def room(octets):
            resource.setrlimit(resource.RLIMIT_FSIZE, (file().stat().st_size + octets, resource.RLIM_INFINITY))
        book.append('"number":1')
        for octets in (0, 30, 30, 0):
            room(octets)
            assert not book.append('"number":0')
        room(1000)
        print(book.append('"number":2'), book.dropped)
        """,
        tmp_path,
    )

    assert said.stdout.split() == ["True", "0"]
    (file,) = journal_files(tmp_path)
    whole, torn = [], 0
    for line in file.read_bytes().split(b"\n"):
        try:
            whole.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            torn += bool(line)
    assert [line.get("number", line.get("count")) for line in whole] == [1, 4, 2]
    assert torn == 2


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting a disk takes root")
def test_a_phone_is_answered_while_the_disk_is_full(tmp_path):
    """A real small disk, filled by somebody else, then freed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    code = """
        import os, subprocess, sys
        from pathlib import Path
        disk = Path(sys.argv[1]) / "disk"
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
        from tests.redirect import doors
        doors.build(Path(sys.argv[1]))
        door = doors.make_door(Path(sys.argv[1]), journal=disk / "journal")
        statuses = [doors.ask(door).status]
        with open(disk / "somebody's", "wb", buffering=0) as other:
            try:
                while True:
                    other.write(b"x" * 4096)
            except OSError:
                pass
        statuses += [doors.ask(door).status for _ in range(100)]
        dropped = door._journal.dropped
        os.unlink(disk / "somebody's")
        statuses.append(doors.ask(door).status)
        content = b"".join(file.read_bytes() for file in (disk / "journal").iterdir())
        print(set(statuses), dropped > 50, door._journal.dropped, content.count(b'"event":"dropped"'),
              f'"count":{dropped}'.encode() in content)
    """
    # A mount of its own name space: it is gone with the process.
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this root may not mount")

    assert done.stdout.strip() == "{200} True 0 1 True", done.stderr


def test_when_no_file_can_be_opened_lines_are_dropped_until_one_can(tmp_path, book):
    (tmp_path / "journal").write_text("a file where the folder should be")

    assert [book.append('"number":1'), book.append('"number":2')] == [False, False]
    (tmp_path / "journal").unlink()
    assert book.append('"number":3')

    dropped, third = journal_lines(tmp_path)
    assert (dropped["event"], dropped["count"], third["number"]) == ("dropped", 2, 3)
    assert book.dropped == 0


def test_without_free_descriptors_the_journal_goes_on_and_comes_back(tmp_path):
    """Many connections can use them all up; neither lines nor the thread that syncs may be lost by that."""
    said = run(
        """
        import os, resource, sys, threading, time
        from pathlib import Path
        from redirect import journal
        journal.OLD_SECONDS = 0.0
        book = journal.Journal(Path(sys.argv[1]) / "journal", "machine")
        book.append('"number":1')
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        print(book.append('"number":2'))
        time.sleep(2.5)
        for file in taken:
            os.close(file)
        print(book.append('"number":3'))
        time.sleep(1.5)
        print([thread.name for thread in threading.enumerate()].count("journal"), book.append('"number":4'))
        print(len(list((Path(sys.argv[1]) / "journal").iterdir())) > 1)
        """,
        tmp_path,
    )

    assert said.stdout.split() == ["True", "True", "1", "True", "True"]
    assert "Traceback" not in said.stderr
    assert {line["number"] for line in journal_lines(tmp_path)} == {1, 2, 3, 4}


def test_a_large_file_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "LARGE_OCTETS", 1000)
    book = Journal(tmp_path / "journal", "machine")

    for number in range(100):
        book.append(f'"number":{number}')

    files = journal_files(tmp_path)
    assert len(files) > 5
    assert [line["number"] for line in journal_lines(tmp_path)] == list(range(100))
    # All but the last become free as soon as they are synced: their writer is done with them.
    wait_until(
        lambda: [_can_be_locked(file) for file in files] == [True] * (len(files) - 1) + [False],
        seconds=5,
        what="letting go",
    )


def test_an_old_file_is_left_although_nobody_asks(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "OLD_SECONDS", 0.1)
    book = Journal(tmp_path / "journal", "machine")

    book.append('"number":1')
    (file,) = journal_files(tmp_path)
    wait_until(lambda: _can_be_locked(file), seconds=5, what="the end of the old file")
    book.append('"number":2')

    assert len(journal_files(tmp_path)) == 2


def test_a_deleted_file_is_not_written_to_for_long(tmp_path, book):
    book.append('"number":1')
    (file,) = journal_files(tmp_path)
    file.unlink()

    def comes_back() -> bool:
        book.append('"number":2')
        return bool(journal_files(tmp_path))

    wait_until(comes_back, seconds=5, what="a new file")


def test_a_forked_child_writes_a_file_of_its_own(tmp_path, book):
    book.append('"by":"parent"')
    book.dropped = 7
    forked = multiprocessing.get_context("fork").Process(target=lambda: book.append('"by":"child"'))

    forked.start()
    forked.join(30)
    book.dropped = 0
    book.append('"by":"parent again"')

    assert forked.exitcode == 0
    contents = sorted([line["by"] for line in _lines_of(file)] for file in journal_files(tmp_path))
    # The child does not report what its parent dropped: the parent does.
    assert contents == [["child"], ["parent", "parent again"]]
    (parents,) = [file for file in journal_files(tmp_path) if len(_lines_of(file)) == 2]
    assert not _can_be_locked(parents)


def _lines_of(file: Path) -> list[dict[str, str]]:
    return [orjson.loads(line) for line in file.read_bytes().splitlines()]


def test_a_journal_that_cannot_be_written_says_so_when_asked(tmp_path, book):
    (tmp_path / "journal").write_text("a file where the folder should be")

    with pytest.raises(OSError) as caught:
        book.check()

    assert caught.value.errno in {errno.EEXIST, errno.ENOTDIR}
