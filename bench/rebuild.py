"""Building the directory anew, beside a COPY of the same rows to a file."""

import statistics
import time
from pathlib import Path

from django.conf import settings
from django.db import connection

from bench.fleet import Fleet
from bench.results import Row, progress
from redirect import publishing
from redirect.directory import DirectoryWriter

_ROUNDS = 3
_COPY = """
    COPY (SELECT mac, id, organization_id, profile_id, model, serial, target, valid_from, valid_until
          FROM onboarding_device) TO STDOUT
"""


def measure(phones: Fleet) -> list[Row]:
    """One row: the median of the rounds' ratios."""
    writer = DirectoryWriter(settings.DOOR.directory)
    rebuilt, copied = [], []
    for number in range(_ROUNDS):
        copied.append(_copy(Path(settings.DATA_DIR) / "rows"))
        began = time.perf_counter()
        entries = publishing.rebuild(writer)
        rebuilt.append(time.perf_counter() - began)
        assert entries > phones.devices
        progress(f"rebuild: round {number + 1}: {rebuilt[-1]:.2f} s, COPY {copied[-1]:.2f} s")
    writer.close()
    ratio = statistics.median(mine / other for mine, other in zip(rebuilt, copied, strict=True))
    details = {"rebuild_seconds": rebuilt, "copy_seconds": copied}
    return [Row("rebuild of the directory ÷ COPY to a file", ratio, "×", 12, least=False, aim=6, details=details)]


def _copy(path: Path) -> float:
    with path.open("wb") as file, connection.cursor() as cursor:
        began = time.perf_counter()
        cursor.cursor.copy_expert(_COPY, file)
        file.flush()
        taken = time.perf_counter() - began
    path.unlink()
    return taken
