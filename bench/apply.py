"""Journal lines into the registry, beside the same rows written in bulk by psycopg2 without any logic.

Ours: lines of two doors, handed in by the relay's collector into the inbox, and applied by what the Celery job calls.
The peer: one COPY of the history rows that came of it, and one UPDATE … FROM of the devices' final states, in one
transaction, on a copy of the database from before.
"""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
from django.conf import settings
from django.db import connection
from django.utils import timezone

from bench import directories, fleet
from bench.fleet import Fleet
from bench.results import Row, progress
from onboarding.models import StateChange
from redirect import journal, observing
from redirect.publishing import JournalCollector

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
    peer = fleet.copy_database("bench_bulk")
    data = Path(settings.DATA_DIR)
    directories.forget_journals(data)
    progress(f"apply: writing {phones.devices:,} journal lines")
    _write_journals(settings.DOOR.journal, phones)
    progress("apply: through the inbox")
    marks = _apply(phones.devices)
    ours = marks[-1][1]
    changes = StateChange.objects.count()
    assert changes == 2 * phones.devices, f"{changes} history rows came of {phones.devices} lines"
    progress(f"apply: {ours:.1f} s, {phones.devices / ours:.0f} lines/s; the same rows in bulk")
    bulk = _write_in_bulk(data, peer)
    directories.forget_journals(data)
    first, last = _rate(marks, 0.0, 0.1), _rate(marks, 0.9, 1.0)
    progress(f"apply: in bulk {bulk:.1f} s; the first tenth {first:.0f} lines/s, the last {last:.0f}")
    details = {
        "seconds": ours,
        "bulk_seconds": bulk,
        "lines": phones.devices,
        "lines_per_second": [round(_rate(marks, part / 10, (part + 1) / 10)) for part in range(10)],
    }
    return [
        Row("observations applied ÷ the same rows in bulk", bulk / ours, "×", 0.4, details=details),
        Row("observations applied: last tenth ÷ first tenth", last / first, "×", 1.0, details=details),
    ]


def _write_journals(folder: Path, phones: Fleet) -> None:
    """What two door processes would have written, had every phone just booted, in no order of their MACs."""
    folder.mkdir(parents=True, exist_ok=True)
    now, sequence = datetime.now(UTC), journal.sequence()
    names = [f"bench,{journal.boot_id()},{time.time_ns()},{number:08x}.jsonl" for number in range(_FILES)]
    files = [(folder / name).open("w", encoding="ascii") for name in names]
    for line in range(phones.devices):
        # A step that has no divisor in common with the number of devices visits each of them once.
        number = line * 7919 % phones.devices
        back = (phones.devices - line) * _APART_NANOSECONDS + 10**9
        at = (now - timedelta(microseconds=back // 1000)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        profile = phones.profile(number)
        files[line % _FILES].write(
            f'{{"seq":{sequence - back},"at":"{at}","event":"query","mac":"{phones.mac(number)}",'
            f'"model":"{fleet.MODEL}","serial":"{phones.serial(number)}","firmware":"12.0.1",'
            f'"from":"192.0.2.{line % 250}","outcome":"redirected","device":{number + 1},"organization":{profile},'
            f'"target":"{fleet.TARGET.format(profile)}"}}\n'
        )
    for file in files:
        file.close()


def _apply(lines: int) -> list[tuple[int, float]]:
    """Hand in and apply until nothing is left; gives (lines applied, seconds) after each round."""
    collector = JournalCollector(settings.DOOR.journal, kept=timedelta(days=1))
    _calm()
    marks = [(0, 0.0)]
    began = time.perf_counter()
    while True:
        handed_in = collector.hand_in()
        applied = observing.apply_waiting(at=timezone.now())
        if not handed_in and not applied:
            break
        marks.append((marks[-1][0] + applied, time.perf_counter() - began))
    assert marks[-1][0] == lines, f"{marks[-1][0]} of {lines} lines were applied"
    return marks


def _rate(marks: list[tuple[int, float]], begin: float, end: float) -> float:
    """Lines a second between two parts of all lines."""
    total = marks[-1][0]
    inside = [mark for mark in marks if begin * total <= mark[0] <= end * total]
    if len(inside) < 2:
        inside = [marks[0], marks[-1]]
    (lines_before, before), (lines_after, after) = inside[0], inside[-1]
    return (lines_after - lines_before) / (after - before)


def _write_in_bulk(data: Path, peer: str) -> float:
    history, states = data / "history.copy", data / "states.copy"
    with connection.cursor() as cursor:
        for path, query in (
            (history, f"SELECT {_HISTORY} FROM onboarding_statechange ORDER BY id"),
            (
                states,
                f"SELECT id, {_STATE} FROM onboarding_device WHERE evidence_at IS NOT NULL ORDER BY evidence_sequence",
            ),
        ):
            with path.open("wb") as file:
                cursor.cursor.copy_expert(f"COPY ({query}) TO STDOUT", file)
    _calm()
    other = psycopg2.connect(peer)
    with other.cursor() as cursor, history.open("rb") as rows, states.open("rb") as final:
        began = time.perf_counter()
        cursor.copy_expert(f"COPY onboarding_statechange ({_HISTORY}) FROM STDIN", rows)
        cursor.execute(f"CREATE TEMPORARY TABLE final AS SELECT id, {_STATE} FROM onboarding_device LIMIT 0")
        cursor.copy_expert("COPY final FROM STDIN", final)
        assignments = ", ".join(f"{name} = final.{name}" for name in _STATE.replace(" ", "").split(","))
        cursor.execute(f"UPDATE onboarding_device AS device SET {assignments} FROM final WHERE final.id = device.id")
        other.commit()
        taken = time.perf_counter() - began
    other.close()
    history.unlink()
    states.unlink()
    return taken


def _calm() -> None:
    """Let the server finish what was written before, so that nobody pays for somebody else's pages."""
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
