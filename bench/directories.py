"""Data directories that doors run on: the whole fleet's directory, and one of its first devices only."""

import shutil
import time
from itertools import chain, islice
from pathlib import Path

from django.conf import settings

from redirect import publishing
from redirect.directory import DirectoryWriter, scan

SMALL = 1000


def whole() -> Path:
    """The data directory of this run; its directory is built from the registry if it is not there yet."""
    data = Path(settings.DATA_DIR)
    if not (settings.DOOR.directory / "current").exists():
        publishing.rebuild(DirectoryWriter(settings.DOOR.directory))
    return data


def small() -> Path:
    """A data directory beside it, whose directory knows the first SMALL devices and every profile."""
    data = Path(settings.DATA_DIR) / "small"
    if not data.exists():
        kept = islice(scan(settings.DOOR.directory, b"d"), SMALL)
        DirectoryWriter(data / "directory").rebuild(chain(kept, scan(settings.DOOR.directory, b"p")), {})
    return data


def forget_journals(data: Path, *, older_than: float = 0.0) -> None:
    """Delete journals that nobody has written for so many seconds: a run writes gigabytes of them."""
    for path in (data / "journal").glob("*.jsonl"):
        if time.time() - path.stat().st_mtime >= older_than:
            path.unlink()


def remove(data: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)
