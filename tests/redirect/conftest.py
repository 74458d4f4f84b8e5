"""Fixtures for what stands between registry and door."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from redirect import changefeed
from redirect.directory import DirectoryWriter


@pytest.fixture
def registry(transactional_db: None) -> None:
    """The test database with a whole change feed. (Emptying the tables after a test took the epoch away.)"""
    changefeed.install()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[DirectoryWriter]:
    """The writing side of an empty directory."""
    writer = DirectoryWriter(tmp_path / "directory")
    yield writer
    writer.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A machine's data directory, in memory where the machine offers it."""
    base = Path(os.environ["DATA_DIR"]) / tmp_path.name
    base.mkdir()
    return base
