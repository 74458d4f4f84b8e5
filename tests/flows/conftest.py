"""Fixtures for flows: the real processes on the test database."""

import os
from pathlib import Path

import pytest

from redirect import changefeed


@pytest.fixture(autouse=True)
def registry(transactional_db: None) -> None:
    """The test database with a whole change feed. (Emptying the tables after a test took the epoch away.)"""
    changefeed.install()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A machine's data directory, in memory where the machine offers it."""
    base = Path(os.environ["DATA_DIR"]) / tmp_path.name
    base.mkdir()
    return base
