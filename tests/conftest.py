"""Fixtures that most tests share. See `isolation` for where tests keep their data."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.isolation import DATA_DIR


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """A file for SQLite, not memory: other connections and other processes must see the same database."""
    from django.conf import settings

    if settings.DATABASES["default"]["ENGINE"] == "config.sqlite":
        settings.DATABASES["default"]["TEST"]["NAME"] = str(DATA_DIR / "registry.sqlite3")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """SQLite's tables are emptied row by row after a test, which the audit resists; `migrate` installs that anew."""
    from django.db import connection

    if connection.vendor == "sqlite":
        # Of the class: threads, and pages of the browser, have connections of their own.
        operations: Any = type(connection.ops)
        flush = operations.sql_flush
        operations.sql_flush = lambda self, *tables, **options: [
            "DROP TRIGGER IF EXISTS append_only_delete",
            *flush(self, *tables, **options),
        ]


@pytest.fixture
def at() -> datetime:
    """A moment, for everything that takes one."""
    return datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
