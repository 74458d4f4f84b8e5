"""A PostgreSQL of a test's own, which it may stop: for what must go on without the registry."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connections

from tests import postgresql


@contextmanager
def stoppable() -> Iterator[postgresql.Server]:
    """The test's own connection leads to it meanwhile. Close that (`forget`) before stopping the server."""
    with postgresql.running(options=("synchronous_commit=on",)) as server:
        values = connections["default"].settings_dict
        original = values.copy()
        connections["default"].close()
        values |= {
            "HOST": "127.0.0.1", "PORT": str(server.port), "USER": "onboarding", "NAME": "postgres", "PASSWORD": "",
        }  # fmt: skip
        try:
            call_command("migrate", verbosity=0)
            yield server
        finally:
            connections["default"].close()
            values.update(original)


def forget() -> None:
    """Close the test's connection; the next use opens another."""
    connections["default"].close()
