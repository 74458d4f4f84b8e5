"""Journal lines into the registry, beside the same rows written in bulk by psycopg2 without any logic.

Ours: lines of two doors, handed in by the relay's collector into the inbox, and applied by what the Celery job calls.
The peer: a COPY of the history rows that came of it, and one UPDATE … FROM of the devices' final states, in one
transaction, on a copy of the database from before. Both in turn, a tenth of the lines each time, so that whatever
disturbs the machine disturbs both.
"""

import io
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import psycopg2.extensions
from django.conf import settings
from django.db import connection
from django.utils import timezone

from bench import directories, fleet
from bench.fleet import Fleet
from bench.results import Row, progress
from onboarding.models import StateChange
from redirect import journal, observing
from redirect.publishing import JournalCollector

_PARTS = 10
_FILES = 2
# The lines of a busy door are this far apart.
_APART_NANOSECONDS = 40_000

_HISTORY = "device_id, organization_id, mac, at, recorded_at, event, before, after, inferred, refused, source, evidence"
_STATE = (
    "state, state_since, stalled_at, last_seen, evidence_at, evidence_machine, evidence_sequence, resets, resets_since,"
    " revision, changed_at"
)


def measure(phones: Fleet) -> list[Row]:
    """Two rows: beside the peer, and whether it slows down."""
    peer = psycopg2.connect(fleet.copy_database("bench_bulk"))
    directories.forget_journals(Path(settings.DATA_DIR))
    collector = JournalCollector(settings.DOOR.journal, kept=timedelta(days=1))
    lines = _Lines(phones, datetime.now(UTC), journal.sequence())
    ours, bulk = [], []
    for part in range(_PARTS):
        count = lines.write(settings.DOOR.journal, part)
        since = _position()
        ours.append(_apply(collector, count))
        bulk.append(_write_in_bulk(peer, since))
        progress(f"apply: {count:,} lines in {ours[-1]:.1f} s; their rows in bulk in {bulk[-1]:.1f} s")
    peer.close()
    directories.forget_journals(Path(settings.DATA_DIR))
    changes = StateChange.objects.count()
    assert changes == 2 * phones.devices, f"{changes} history rows came of {phones.devices} lines"
    details = {
        "lines": phones.devices,
        "seconds": ours,
        "bulk_seconds": bulk,
        "lines_per_second": round(phones.devices / sum(ours)),
        "ratio_of_sums": sum(bulk) / sum(ours),
        "bulk_last_to_first": bulk[0] / bulk[-1],
    }
    ratio = statistics.median(other / mine for mine, other in zip(ours, bulk, strict=True))
    return [
        Row("observations applied ÷ the same rows in bulk", ratio, "×", 0.4, details=details),
        Row("observations applied: last tenth ÷ first tenth", ours[0] / ours[-1], "×", 1.0, details=details),
    ]


@dataclass(frozen=True)
class _Lines:
    """What two door processes would have written until `at`, had every phone just booted, in no order of their MACs."""

    phones: Fleet
    at: datetime
    sequence: int

    def write(self, folder: Path, part: int) -> int:
        """Write one part's journals; gives the number of lines."""
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"bench,{journal.boot_id()},{time.time_ns()},{number:08x}.jsonl" for number in range(_FILES)]
        files = [(folder / name).open("w", encoding="ascii") for name in names]
        begin, end = (self.phones.devices * edge // _PARTS for edge in (part, part + 1))
        for number in range(begin, end):
            files[number % _FILES].write(self._line(number))
        for file in files:
            file.close()
        return end - begin

    def _line(self, line: int) -> str:
        phones = self.phones
        # A step that has no divisor in common with the number of devices visits each of them once.
        number = line * 7919 % phones.devices
        back = (phones.devices - line) * _APART_NANOSECONDS + 10**9
        at = (self.at - timedelta(microseconds=back // 1000)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        profile = phones.profile(number)
        return (
            f'{{"seq":{self.sequence - back},"at":"{at}","event":"query","mac":"{phones.mac(number)}",'
            f'"model":"{fleet.MODEL}","serial":"{phones.serial(number)}","firmware":"12.0.1",'
            f'"from":"192.0.2.{line % 250}","outcome":"redirected","device":{number + 1},"organization":{profile},'
            f'"target":"{fleet.TARGET.format(profile)}"}}\n'
        )


def _apply(collector: JournalCollector, lines: int) -> float:
    """Hand in and apply until nothing is left; gives the seconds that it took."""
    _calm()
    applied = 0
    began = time.perf_counter()
    while True:
        handed_in = collector.hand_in()
        now_applied = observing.apply_waiting(at=timezone.now())
        if not handed_in and not now_applied:
            break
        applied += now_applied
    taken = time.perf_counter() - began
    assert applied == lines, f"{applied} of {lines} lines were applied"
    return taken


def _position() -> tuple[int, int]:
    """How far history and states are written: the last row's id, and the last evidence's sequence."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce((SELECT max(id) FROM onboarding_statechange), 0), max(evidence_sequence)"
            " FROM onboarding_device"
        )
        history, sequence = cursor.fetchone()
    return history, sequence


def _write_in_bulk(peer: psycopg2.extensions.connection, since: tuple[int, int]) -> float:
    """Give the peer what came of the lines since then, and have it write that; gives the seconds that it took."""
    history, states = io.BytesIO(), io.BytesIO()
    with connection.cursor() as cursor:
        for file, query in (
            (history, f"SELECT {_HISTORY} FROM onboarding_statechange WHERE id > {since[0]} ORDER BY id"),
            (states, f"SELECT id, {_STATE} FROM onboarding_device WHERE evidence_sequence > {since[1]}"),
        ):
            cursor.cursor.copy_expert(f"COPY ({query}) TO STDOUT", file)
            file.seek(0)
    _calm()
    assignments = ", ".join(f"{name} = final.{name}" for name in _STATE.replace(" ", "").split(","))
    began = time.perf_counter()
    with peer.cursor() as cursor:
        cursor.copy_expert(f"COPY onboarding_statechange ({_HISTORY}) FROM STDIN", history)
        cursor.execute(
            f"CREATE TEMPORARY TABLE final ON COMMIT DROP AS SELECT id, {_STATE} FROM onboarding_device LIMIT 0"
        )
        cursor.copy_expert("COPY final FROM STDIN", states)
        cursor.execute(f"UPDATE onboarding_device AS device SET {assignments} FROM final WHERE final.id = device.id")
        assert cursor.rowcount * 2 == history.getvalue().count(b"\n")
    peer.commit()
    return time.perf_counter() - began


def _calm() -> None:
    """Let the server finish what was written before, so that nobody pays for somebody else's pages."""
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
