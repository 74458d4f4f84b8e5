"""What the relay does: registry changes into the directory, and journal lines into the registry's inbox.

Both can stop between any two steps and go on later: the directory's cursor is written in the same LMDB transaction as
the entries, and a journal's position in the same database transaction as its lines.
"""

import fcntl
import logging
import os
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path

from django.db import transaction

from redirect import journal, registryfeed
from redirect.directory import DirectoryWriter, Item, scan
from redirect.models import Batch, Journal
from redirect.registryfeed import Cursor, FeedLost

logger = logging.getLogger(__name__)

# A line gets its sequence a moment before it can be read: lines younger than this may still be overtaken.
SETTLE_NANOSECONDS = 50_000_000
_FOREVER = 1 << 63
# What is taken from one journal in one round, at most.
CHUNK_OCTETS = 1024 * 1024
# Batches that may wait in the inbox: beyond, the journals themselves are the queue.
MOST_WAITING_BATCHES = 64
# Applied journals are deleted before their time when all together are larger than this.
MOST_KEPT_OCTETS = 4 * 1024**3


class RelayRuns(Exception):
    """Another relay writes this directory."""


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Be the only one that writes the directory in `folder`. Raises RelayRuns."""
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / "relay.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RelayRuns(f"Another relay writes {folder}.") from None
        yield
    finally:
        os.close(file)


def publish(writer: DirectoryWriter) -> int:
    """Carry what changed in the registry into the directory, or rebuild it; gives the number of keys looked at."""
    kept = writer.cursor()
    since = Cursor.from_dict(kept) if kept else None
    if since is None or rebuild_requested(writer.folder):
        return rebuild(writer)
    with registryfeed.snapshot():
        now = registryfeed.position()
        if since == now:
            return 0
        try:
            keys = registryfeed.changed_keys(since, now)
            return _apply(writer, keys, now)
        except FeedLost as reason:
            logger.warning("The directory is rebuilt. %s", reason)
    return rebuild(writer)


def _apply(writer: DirectoryWriter, keys: Iterator[tuple[str, str]], now: Cursor) -> int:
    """Without a change nothing is written: the old cursor is as good."""
    count = 0
    chunk = list(islice(keys, registryfeed.CHUNK_KEYS))
    while chunk:
        following = list(islice(keys, registryfeed.CHUNK_KEYS))
        puts, deletes = registryfeed.present_state(chunk)
        # The cursor goes with the last chunk; whoever dies before it applies the others again, which is harmless.
        writer.apply(puts, deletes, None if following else now.as_dict())
        count += len(chunk)
        chunk = following
    return count


def rebuild(writer: DirectoryWriter, report: Callable[[int], None] = lambda count: None) -> int:
    """Make the directory anew from one snapshot of the registry and switch to it; gives the number of entries."""
    with registryfeed.snapshot():
        cursor = registryfeed.position()
        count = writer.rebuild(_counted(registryfeed.everything(), report), cursor.as_dict())
    with suppress(FileNotFoundError):
        _request_file(writer.folder).unlink()
    logger.info("The directory was built with %d entries.", count)
    return count


def _counted(items: Iterable[Item], report: Callable[[int], None]) -> Iterator[Item]:
    count = 0
    for count, item in enumerate(items, 1):
        if count % 10_000 == 0:
            report(count)
        yield item
    report(count)


def request_rebuild(folder: Path) -> None:
    """Ask the running relay to rebuild; it answers by deleting the request."""
    _request_file(folder).touch()


def rebuild_requested(folder: Path) -> bool:
    return _request_file(folder).exists()


def _request_file(folder: Path) -> Path:
    return folder / "rebuild-requested"


@dataclass(frozen=True, slots=True)
class Difference:
    """An entry that the directory has otherwise than the registry: `missing`, `stale` or `surplus`."""

    key: bytes
    kind: str


def differences(folder: Path, *, most: int = 1000) -> list[Difference]:
    """Compare directory and registry; gives the first differences. Changes that are on their way count as such.

    Both are read in order of their keys, so that memory stays bounded. Raises DirectoryUnusable.
    """
    found: list[Difference] = []
    with registryfeed.snapshot():
        registry = registryfeed.everything()
        directory = (item for prefix in (b"c", b"d", b"o", b"p", b"r", b"s") for item in scan(folder, prefix))
        want, have = next(registry, None), next(directory, None)
        while (want or have) and len(found) < most:
            if have is None or (want is not None and want[0] < have[0]):
                assert want is not None
                found.append(Difference(want[0], "missing"))
                want = next(registry, None)
            elif want is None or have[0] < want[0]:
                found.append(Difference(have[0], "surplus"))
                have = next(directory, None)
            else:
                if want[1] != have[1]:
                    found.append(Difference(want[0], "stale"))
                want, have = next(registry, None), next(directory, None)
    return found


class JournalCollector:
    """Hands in the lines of one machine's journals, in the machine's own order, each once."""

    def __init__(self, folder: Path, *, kept: timedelta) -> None:
        self._folder = folder
        self._kept = kept

    def hand_in(self) -> int:
        """One round: put what the journals have into the inbox; gives the number of batches."""
        if Batch.objects.all()[:MOST_WAITING_BATCHES].count() >= MOST_WAITING_BATCHES:
            return 0
        clocks: dict[str, list[journal.JournalName]] = {}
        for name in self._names():
            clocks.setdefault(name.clock, []).append(name)
        boot, sent = journal.boot_id(), 0
        # Boots that are over first, whatever their wall clock said; they have no line still to come.
        for names in sorted(
            clocks.values(), key=lambda names: (names[0].boot == boot, min(n.started_at for n in names))
        ):
            running = names[0].boot == boot
            if sent and not running:
                break
            sent += self._hand_in(names, running=running)
        return sent

    def _hand_in(self, names: list[journal.JournalName], *, running: bool) -> int:
        """What stands in one order, up to where it is complete."""
        # The registry's word counts: it may be an older one than it was.
        received = dict(Journal.objects.filter(name__in=[n.text for n in names]).values_list("name", "received"))
        # Read before the files are: what is written later is younger.
        ceiling = journal.sequence() - SETTLE_NANOSECONDS if running else _FOREVER
        chunks = []
        for first, name in sorted((self._first(name, received), name) for name in names):
            # Where a journal has more than was read, nothing later than what was read of it may go first.
            if first > ceiling:
                break
            if (chunk := self._read(name, received.get(name.text, 0))) is not None:
                chunks.append(chunk)
                if chunk.cut:
                    ceiling = min(ceiling, chunk.sequences[-1])
        if not chunks:
            return 0
        round_id = uuid.uuid4()
        # A worker sees the round whole or not at all: it merges the journals by their sequence.
        with transaction.atomic():
            return sum(self._send(chunk.until(ceiling), round_id) for chunk in chunks)

    def _first(self, name: journal.JournalName, received: dict[str, int]) -> int:
        with suppress(FileNotFoundError), (self._folder / name.text).open("rb") as file:
            file.seek(received.get(name.text, 0))
            if start := file.read(40):
                return _sequence_of(start)
        return _FOREVER + 1

    def delete_done(self, *, at: float) -> int:
        """Delete applied journals whose writer is gone and whose keeping time is over (`at`: epoch seconds)."""
        applied = dict(
            Journal.objects.filter(name__in=[name.text for name in self._names()]).values_list("name", "applied")
        )
        sizes = {name.text: (self._folder / name.text).stat() for name in self._names()}
        surplus = sum(status.st_size for status in sizes.values()) - MOST_KEPT_OCTETS
        deleted = 0
        for name, status in sorted(sizes.items(), key=lambda entry: entry[1].st_mtime):
            old = at - status.st_mtime >= self._kept.total_seconds()
            done = applied.get(name, -1) >= status.st_size or (status.st_size == 0 and old)
            if (
                done
                and (old or surplus > 0)
                and _writer_is_gone(self._folder / name)
                # Asked again: the writer may have gone on until a moment ago.
                and (self._folder / name).stat().st_size == status.st_size
            ):
                (self._folder / name).unlink()
                Journal.objects.filter(name=name).delete()
                surplus -= status.st_size
                deleted += 1
        return deleted

    def _names(self) -> list[journal.JournalName]:
        try:
            texts = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return []
        return [name for text in texts if (name := journal.parse_name(text)) is not None]

    def _read(self, name: journal.JournalName, position: int) -> "_Chunk | None":
        try:
            with (self._folder / name.text).open("rb") as file:
                file.seek(position)
                content = file.read(CHUNK_OCTETS)
        except FileNotFoundError:
            return None
        whole = content.rfind(b"\n") + 1
        if whole == 0 and content:
            # No line is this long, and a writer that is gone ends none: damaged here, or torn at the end.
            if len(content) < CHUNK_OCTETS and not _writer_is_gone(self._folder / name.text):
                return None
            whole = len(content)
        return _Chunk.of(name, position, content[:whole], cut=len(content) == CHUNK_OCTETS) if whole else None

    def _send(self, chunk: "_Chunk | None", round_id: uuid.UUID) -> int:
        """Put a chunk into the inbox, if the registry received the journal up to where it begins."""
        if chunk is None:
            return 0
        end = chunk.start + len(chunk.content)
        row, _ = Journal.objects.get_or_create(machine=chunk.name.clock, name=chunk.name.text)
        if not Journal.objects.filter(pk=row.pk, received=chunk.start).update(received=end):
            # Another relay was faster.
            return 0
        Batch.objects.create(journal=row, start=chunk.start, end=end, round=round_id, content=chunk.content)
        return 1


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Whole lines of one journal from octet `start` on; `ends` and `sequences` line by line; `cut`: there is more."""

    name: journal.JournalName
    start: int
    content: bytes
    ends: list[int]
    sequences: list[int]
    cut: bool

    @classmethod
    def of(cls, name: journal.JournalName, start: int, content: bytes, *, cut: bool) -> "_Chunk":
        ends: list[int] = []
        sequences: list[int] = []
        end, latest = 0, 0
        for line in content.splitlines(keepends=True):
            end += len(line)
            # A torn line has no sequence of its own: it goes with the line before it.
            latest = max(latest, _sequence_of(line))
            ends.append(end)
            sequences.append(latest)
        return cls(name, start, content, ends, sequences, cut)

    def until(self, ceiling: int) -> "_Chunk | None":
        """The part whose sequences are not above `ceiling`; None if there is none."""
        lines = bisect_right(self.sequences, ceiling)
        if lines == 0:
            return None
        if lines == len(self.ends):
            return self
        return _Chunk(
            self.name, self.start, self.content[: self.ends[lines - 1]], self.ends[:lines], self.sequences[:lines], True
        )


_LINE_START = b'{"seq":'


def _sequence_of(line: bytes) -> int:
    """The sequence that a line begins with; 0 for one that does not."""
    if not line.startswith(_LINE_START):
        return 0
    digits = line[len(_LINE_START) : line.find(b",", 0, 40)]
    # Nineteen digits would be decades after the boot: a damaged line, which must not hold up the others.
    return int(digits) if digits.isdigit() and len(digits) < 19 else 0


def _writer_is_gone(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
