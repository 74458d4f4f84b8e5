"""The reading side of the directory: what it finds, and that no file, however damaged, ends its process."""

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import lmdb
import pytest

from onboarding.registration import Profile, Registration
from redirect.directory import Directory, DirectoryUnusable, DirectoryWriter
from tests.redirect import doors
from tests.redirect.doors import MAC, MODEL, octets


def data_file(data_dir: Path) -> Path:
    return data_dir / "directory" / "current" / "data.mdb"


def many(count: int) -> list[tuple[bytes, bytes]]:
    """Enough devices for a tree of several levels."""
    base = int(MAC, 16)
    return [doors.profile(1), *(doors.device(f"{base + n:012X}", id=n + 1) for n in range(count))]


def test_a_device_is_found_with_its_profile(tmp_path):
    doors.build(
        tmp_path,
        [
            doors.profile(4, organization=3, parameters=[("A", "b")], confirm="beacon"),
            doors.device(
                MAC, id=7, organization=3, profile=4, serial="FCH1", target="https://t", valid_from=1, valid_until=2
            ),
        ],
    )

    found = Directory(tmp_path / "directory").find(octets(MAC))

    profile = Profile(4, 3, True, (doors.TARGET,), (("A", "b"),), "beacon", "none", True)
    assert found == (Registration(7, 3, False, MODEL, "FCH1", "https://t", 1, 2, profile), True)


def test_a_suspended_owner_is_seen(tmp_path):
    doors.build(tmp_path)

    registration, known = Directory(tmp_path / "directory").find(octets(doors.REFUSED["organization suspended"]))

    assert (registration.organization_suspended, known) == (True, True)


def test_an_unknown_device_is_told_to_be_unknown(tmp_path):
    doors.build(tmp_path)

    assert Directory(tmp_path / "directory").find(octets("00562B0000F0"))[1] is False


def test_a_device_without_a_profile_has_none(tmp_path):
    doors.build(tmp_path)

    registration, known = Directory(tmp_path / "directory").find(octets(doors.REFUSED["not associated"]))

    assert (registration.profile, known) == (None, True)


def test_no_directory_is_unusable_until_there_is_one(tmp_path):
    directory = Directory(tmp_path / "directory")
    with pytest.raises(DirectoryUnusable, match="no directory yet"):
        directory.find(octets(MAC))

    doors.build(tmp_path)

    assert directory.find(octets(MAC))[1]


def test_changes_are_seen_at_once(tmp_path):
    doors.build(tmp_path)
    directory = Directory(tmp_path / "directory")
    assert directory.find(octets(MAC))[1]

    # In a process of its own, as the relay is: one process opens an environment once.
    subprocess.run([sys.executable, "-c", _APPLY, str(tmp_path)], check=True, timeout=30)

    assert directory.find(octets("00562B00ABCD"))[1]
    assert not directory.find(octets(MAC))[1]


_APPLY = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from redirect.directory import DirectoryWriter
    from tests.redirect import doors
    DirectoryWriter(Path(sys.argv[1]) / "directory").apply(
        [doors.device("00562B00ABCD")], [doors.device(doors.MAC)[0]], None
    )
    """
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"\x00" * 4096,
        b"\x00" * 100_000,
        os.urandom(4096),
        os.urandom(1_000_000),
        b"SQLite format 3\x00" * 999,
    ],
    ids=["empty", "a letter", "a page of zeros", "zeros", "a random page", "random", "something else"],
)
def test_a_file_that_is_no_directory_is_unusable(tmp_path, content):
    doors.build(tmp_path)
    data_file(tmp_path).write_bytes(content)

    with pytest.raises(DirectoryUnusable):
        Directory(tmp_path / "directory").find(octets(MAC))


def test_a_directory_of_another_version_is_unusable(tmp_path):
    data_file(tmp_path).parent.mkdir(parents=True)
    environment = lmdb.open(str(data_file(tmp_path).parent), map_size=1 << 20)
    with environment.begin(write=True) as transaction:
        transaction.put(b"mformat", b"next")
        transaction.put(*doors.device(MAC))
    environment.close()

    with pytest.raises(DirectoryUnusable, match="version"):
        Directory(tmp_path / "directory").find(octets(MAC))


_TRUNCATE = textwrap.dedent(
    """
    import os, sys, time
    from pathlib import Path
    from redirect.directory import Directory, DirectoryUnusable
    from tests.redirect.doors import octets, MAC
    folder, share, opened_before = Path(sys.argv[1]) / "directory", float(sys.argv[2]), sys.argv[3] == "open"
    directory = Directory(folder)
    if opened_before:
        assert directory.find(octets(MAC))[1]
    data = folder / "current" / "data.mdb"
    # So that the next query looks at the link first, or does not.
    time.sleep(float(sys.argv[4]))
    os.truncate(data, int(data.stat().st_size * share))
    for number in range(0, 3000, 97):
        try:
            directory.find((int(MAC, 16) + number).to_bytes(6, "big"))
        except DirectoryUnusable:
            continue
        sys.exit("found in a truncated directory")
    # Later, when it looks at the link again, too.
    time.sleep(0.12)
    try:
        directory.check()
    except DirectoryUnusable as problem:
        print(problem)
    """
)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize(("when", "pause"), [("open", 0), ("open", 0.12), ("closed", 0)])
def test_a_truncated_directory_is_unusable_and_kills_nobody(tmp_path, share, when, pause):
    doors.build(tmp_path, many(3000))

    # In a process of its own: it would be killed by SIGBUS.
    done = subprocess.run(
        [sys.executable, "-c", _TRUNCATE, str(tmp_path), str(share), when, str(pause)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_rebuilt_directory_ends_the_trouble(tmp_path):
    doors.build(tmp_path)
    directory = Directory(tmp_path / "directory")
    assert directory.find(octets(MAC))[1]
    os.truncate(data_file(tmp_path), 10_000)
    with pytest.raises(DirectoryUnusable):
        directory.find(octets(MAC))

    doors.build(tmp_path)

    assert directory.find(octets(MAC))[1]


def test_a_deleted_directory_is_noticed(tmp_path):
    doors.build(tmp_path)
    directory = Directory(tmp_path / "directory")
    assert directory.find(octets(MAC))[1]

    (tmp_path / "directory" / "current").unlink()

    with pytest.raises(DirectoryUnusable):
        directory.check()


def test_switching_again_and_again_gives_no_wrong_answer_and_no_error(tmp_path):
    """Each environment says in every entry which one it is; a reader never sees a mixture, nor an older one again."""

    def build(generation: int) -> None:
        doors.build(
            tmp_path,
            [
                doors.profile(1, targets=[f"https://p.example/{generation}"]),
                doors.device(MAC, id=generation, target=f"https://d.example/{generation}"),
            ],
        )

    build(1)
    directories = [Directory(tmp_path / "directory")]
    stop = threading.Event()
    problems: list[str] = []
    answered = [0] * 4

    def read(thread: int) -> None:
        latest = 0
        directory = directories[0]
        while not stop.is_set():
            try:
                registration, known = directory.find(octets(MAC))
            except DirectoryUnusable as problem:
                problems.append(str(problem))
                return
            generation = registration.device_id
            assert registration.profile is not None
            said = (known, registration.target, registration.profile.targets[0])
            if said != (True, f"https://d.example/{generation}", f"https://p.example/{generation}"):
                problems.append(f"a mixture: {said}")
            if generation < latest:
                problems.append(f"{generation} after {latest}")
            latest = generation
            # Look at every query whether there was a switch: the narrow place.
            directory.check()
            answered[thread] += 1

    threads = [threading.Thread(target=read, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for generation in range(2, 80):
        build(generation)
    stop.set()
    for thread in threads:
        thread.join()

    assert problems == []
    assert min(answered) > 20
    assert directories[0].find(octets(MAC))[0].device_id == 79
    assert len(list((tmp_path / "directory").glob("env-*"))) == 2


def test_two_processes_read_one_directory(tmp_path):
    doors.build(tmp_path, many(1000))
    reader = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from redirect.directory import Directory
        from tests.redirect.doors import MAC
        directory = Directory(Path(sys.argv[1]) / "directory")
        print(sum(directory.find((int(MAC, 16) + n).to_bytes(6, "big"))[1] for n in range(2000)))
        """
    )

    readers = [
        subprocess.Popen([sys.executable, "-c", reader, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]

    assert [process.communicate(timeout=30)[0] for process in readers] == ["1000\n", "1000\n"]


def test_readers_that_were_killed_leave_their_places(tmp_path):
    doors.build(tmp_path)
    reader = textwrap.dedent(
        """
        import os, signal, sys, threading
        from pathlib import Path
        from redirect.directory import Directory
        from tests.redirect.doors import MAC, octets
        directory = Directory(Path(sys.argv[1]) / "directory")
        threads = [threading.Thread(target=directory.find, args=(octets(MAC),)) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", reader, str(tmp_path)], check=False, timeout=30)

    writer = DirectoryWriter(tmp_path / "directory")
    assert writer.cursor() == {"last": 0}
    writer.close()
    environment = lmdb.open(str(data_file(tmp_path).parent.resolve()), readonly=True, create=False)
    assert "no active readers" in environment.readers()
    environment.close()
