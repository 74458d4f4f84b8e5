"""Fixtures that most tests share. Data directories are temporary; only loopback is ever contacted."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Before Django reads its settings: tests never touch the data directory of a service that runs here. In memory where
# the machine offers it, so that the database's syncing costs nothing.
_memory = Path("/dev/shm")
_data_dir = tempfile.mkdtemp(prefix="onboarding-test-", dir=_memory if os.access(_memory, os.W_OK) else None)
atexit.register(shutil.rmtree, _data_dir, ignore_errors=True)
os.environ["DATA_DIR"] = _data_dir
os.environ["PORT"] = "8000"
# Where collected static files would be: WhiteNoise warns of a folder that is not there.
(Path(_data_dir) / "static").mkdir()
# Django empties tables between tests by TRUNCATE, which the change feed refuses otherwise.
os.environ.setdefault("PGOPTIONS", "-c onboarding.truncate=allowed")

from datetime import UTC, datetime  # noqa: E402

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """A file for SQLite, not memory: other connections and other processes must see the same database."""
    from django.conf import settings

    if settings.DATABASES["default"]["ENGINE"] == "config.sqlite":
        settings.DATABASES["default"]["TEST"]["NAME"] = str(Path(_data_dir) / "registry.sqlite3")


@pytest.fixture
def at() -> datetime:
    """A moment, for everything that takes one."""
    return datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
