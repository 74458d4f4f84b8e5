"""The journal: what the door saw, one JSON line a request, written before the answer is sent.

    {"seq":8123456789,"at":"2026-11-22T09:30:00.123456Z","event":"query","mac":"00562B043615",…}

Each process writes files of its own and never reopens one: a new file at its start, and whenever the present one is
large or old. It holds an `flock` on the file while it writes, so that others can tell whether the writer is gone. `seq`
is CLOCK_BOOTTIME in nanoseconds: it orders the lines of all processes of the machine since its boot.
File name: MACHINE,BOOT,START,RANDOM.jsonl

A short write leaves a torn line; the next line then begins with a newline, and readers skip what they cannot read.
When nothing can be written (disk full) the phone is answered all the same: lines are dropped, counted, and the count is
written as soon as there is room. A power cut costs at most the last second (`fdatasync` once a second).
"""

import fcntl
import logging
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

logger = logging.getLogger(__name__)

LARGE_OCTETS = 64 * 1024**2
OLD_SECONDS = 3600
_SYNC_SECONDS = 1.0

_NAME = re.compile(r"(?P<machine>[A-Za-z0-9._-]{1,64}),(?P<boot>[0-9a-f]{8}),(?P<start>\d{1,20}),[0-9a-f]{8}\.jsonl")


@dataclass(frozen=True, slots=True, order=True)
class JournalName:
    """What a file's name says: the machine, the boot in which its sequence counts, when it was begun (epoch, ns)."""

    text: str
    machine: str
    boot: str
    started_at: int

    @property
    def clock(self) -> str:
        """The name of the one order that all lines of this machine and boot stand in."""
        return f"{self.machine}/{self.boot}"


def parse_name(text: str) -> JournalName | None:
    """Read a file name; None for a file that is no journal."""
    match = _NAME.fullmatch(text)
    return JournalName(text, match["machine"], match["boot"], int(match["start"])) if match else None


def boot_id() -> str:
    """Eight digits that change with every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]


def sequence() -> int:
    """The position of now in the machine's one order."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Journal:
    """The writing side, for one process and all its threads. Opens its file with the first line."""

    def __init__(self, folder: Path, machine: str) -> None:
        self._folder = folder
        self._machine = re.sub(r"[^A-Za-z0-9._-]", "-", machine)[:64] or "machine"
        self._lock = threading.Lock()
        self._file = -1
        self._octets = 0
        self._opened_at = 0.0
        self._torn = False
        self._unsynced = False
        self._left: list[int] = []
        self._syncer: threading.Thread | None = None
        self._second = self._second_text = ""
        self.dropped = 0
        self._reported_at = float("-inf")
        os.register_at_fork(after_in_child=self._after_fork)

    def append(self, members: str) -> bool:
        """Write one line, with `seq` and `at` before the given JSON members; False if it had to be dropped."""
        with self._lock:
            try:
                self._ready()
                if self.dropped:
                    self._write(f'"event":"dropped","count":{self.dropped}')
                    self.dropped = 0
                self._write(members)
            except OSError as error:
                self.dropped += 1
                self._complain(error)
                return False
            return True

    def check(self) -> None:
        """Whether lines can be written now. Raises OSError."""
        with self._lock:
            self._ready()

    def _ready(self) -> None:
        if self._file < 0 or self._octets >= LARGE_OCTETS:
            self._open()

    def _open(self) -> None:
        self._close()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._machine},{boot_id()},{time.time_ns()},{secrets.token_hex(4)}.jsonl"
        # Named as a journal only once it is locked: one that is not is taken for a dead writer's.
        unlocked = path.with_suffix(".new")
        file = os.open(unlocked, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unlocked.rename(path)
        except OSError:
            os.close(file)
            raise
        self._file, self._octets, self._opened_at, self._torn = file, 0, time.monotonic(), False
        if self._syncer is None:
            self._syncer = threading.Thread(target=self._keep_synced, name="journal", daemon=True)
            self._syncer.start()

    def _close(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            if self._unsynced:
                # Left to the next syncing: a change of files must not lose what a power cut would spare.
                self._left.append(file)
            else:
                os.close(file)

    def _write(self, members: str) -> None:
        line = f'{{"seq":{sequence()},"at":"{self._now()}",{members}}}\n'.encode()
        if self._torn:
            line = b"\n" + line
        written = os.write(self._file, line)
        self._octets += written
        self._unsynced = True
        self._torn = written < len(line)
        if self._torn:
            raise OSError(f"only {written} of {len(line)} octets were written")

    def _now(self) -> str:
        # Ten digits of seconds, nine of nanoseconds: cutting the text is faster than dividing the number.
        digits = "%019d" % time.time_ns()  # noqa: UP031
        if digits[:10] != self._second:
            self._second = digits[:10]
            self._second_text = datetime.fromtimestamp(int(digits[:10]), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._second_text}.{digits[10:16]}Z"

    def _complain(self, error: OSError) -> None:
        if time.monotonic() - self._reported_at >= 60:
            self._reported_at = time.monotonic()
            logger.error("The journal cannot be written, %d lines dropped so far: %s", self.dropped, error)

    def _keep_synced(self) -> None:
        """Bound what a power cut costs, and close a file that has grown old although nobody asks."""
        while True:
            time.sleep(_SYNC_SECONDS)
            try:
                self._sync()
            except OSError as error:
                self._complain(error)

    def _sync(self) -> None:
        with self._lock:
            if self._file < 0 and not self._left:
                return
            # A duplicate, so that syncing holds up no writer and survives a change of files.
            duplicates = [*self._left, os.dup(self._file)] if self._unsynced and self._file >= 0 else self._left
            self._left, self._unsynced = [], False
            # One that somebody deleted is left too: what is written to it would be lost.
            if self._file >= 0 and (
                time.monotonic() - self._opened_at >= OLD_SECONDS or os.fstat(self._file).st_nlink == 0
            ):
                self._close()
        for duplicate in duplicates:
            try:
                os.fdatasync(duplicate)
            finally:
                os.close(duplicate)

    def _after_fork(self) -> None:
        # The file belongs to the parent: its lock says that the parent writes, and the parent reports what it dropped.
        self._lock = threading.Lock()
        self._close()
        self._syncer = None
        self.dropped = 0
