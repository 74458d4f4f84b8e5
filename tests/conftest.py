"""Fixtures that most tests share. Data directories are temporary; only loopback is ever contacted."""

import os
import tempfile

# Before Django reads its settings: tests never touch the data directory of a service that runs here.
os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="onboarding-test-")

from datetime import UTC, datetime  # noqa: E402

import pytest  # noqa: E402


@pytest.fixture
def at() -> datetime:
    """A moment, for everything that takes one."""
    return datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
