"""Fixtures that most tests share. See `isolation` for where tests keep their data."""

import os
from datetime import UTC, datetime
from typing import Any

import pytest

from tests import postgresql
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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a run of everything, leave out what the run on the other database shows.

    On PostgreSQL, what reads and writes no database, and the browser: pages look the same on both. On SQLite, codes
    typed on phones at a whole running service, which the faults and random lives run on it, too.
    """
    if config.getoption("keyword") or config.getoption("file_or_dir") != ["tests"]:
        return
    if postgresql.MARK in os.environ:
        wanted = [item for item in items if _reads_the_database(item) and "browser" not in item.path.parts]
    else:
        wanted = [item for item in items if item.path.name not in _CODES_AT_A_SERVICE or "flows" not in item.path.parts]
    kept = set(wanted)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = wanted


_CODES_AT_A_SERVICE = {"test_activation.py", "test_short_code.py"}


def _reads_the_database(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return item.get_closest_marker("django_db") is not None or not fixtures.isdisjoint({"db", "transactional_db"})
