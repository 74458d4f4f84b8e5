"""Statements written out, for the few paths that many callers take in the same minute.

PostgreSQL plans a statement whenever it is sent, which takes longer than to run it where it joins or inserts a lot. So
each is prepared once for each connection. Writes that nobody waits for the answer of may travel together.

A pooler that gives every transaction another connection (PgBouncer in transaction mode) forgets what was prepared:
there `PREPARED_STATEMENTS=0` sends them whole. SQLite is always sent them whole, one by one.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NamedTuple, Self
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connection

# Of one connection; they are forgotten together beyond that, so that no caller can make a server keep ever more.
_MOST_PREPARED = 200


class Statement(NamedTuple):
    """One statement with `%s` for its values, and what types these have in PostgreSQL, in order. Make it by `of`."""

    text: str
    kinds: tuple[str, ...]
    name: str

    @classmethod
    def of(cls, text: str, kinds: Sequence[str]) -> Self:
        """Raises ValueError where not each value has its type."""
        if text.count("%s") != len(kinds):
            raise ValueError(f"{text.count('%s')} values, {len(kinds)} types: {text}")
        name = hashlib.sha256(repr((text, tuple(kinds))).encode()).hexdigest()
        return cls(text, tuple(kinds), f"statement_{name[:24]}")

    @property
    def numbered(self) -> str:
        """The text as PREPARE wants it, with $1, $2 … for the values."""
        first, *rest = self.text.split("%s")
        return first + "".join(f"${place}{part}" for place, part in enumerate(rest, 1))


def read(statement: Statement, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run it now; gives the rows."""
    with connection.cursor() as cursor:
        cursor.execute(_commands(cursor, [statement]), _adapted(values))
        return list(cursor.fetchall())


def write(statement: Statement, values: Sequence[Any]) -> None:
    """Run it, at the end of the `together` that this is in, or now."""
    waiting = _waiting.get()
    if waiting is None:
        with connection.cursor() as cursor:
            cursor.execute(_commands(cursor, [statement]), _adapted(values))
    else:
        waiting.append((statement, values))


@contextmanager
def together() -> Iterator[None]:
    """What is written inside is sent in one go at the end, in its order; nothing of it after an exception.

    For statements of one transaction that do not read what the others write.
    """
    if connection.vendor != "postgresql" or _waiting.get() is not None:
        yield
        return
    waiting: list[tuple[Statement, Sequence[Any]]] = []
    token = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(token)
    if waiting:
        with connection.cursor() as cursor:
            commands = _commands(cursor, [statement for statement, _ in waiting])
            cursor.execute(commands, [value for _, values in waiting for value in values])


_waiting: ContextVar[list[tuple[Statement, Sequence[Any]]] | None] = ContextVar("waiting", default=None)
# What each open connection knows; the driver's own connections, as Django opens new ones in their place.
_prepared: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def _adapted(values: Sequence[Any]) -> Sequence[Any]:
    """The values as the driver takes them: SQLite's knows no times."""
    if connection.vendor == "postgresql":
        return values
    adapt = connection.ops.adapt_datetimefield_value
    return [adapt(value) if isinstance(value, datetime) else value for value in values]


def _commands(cursor: Any, wanted: Sequence[Statement]) -> str:
    """What to send: the statements, or the calls of them where they are prepared."""
    if connection.vendor != "postgresql" or not settings.PREPARED_STATEMENTS:
        return "; ".join([statement.text for statement in wanted])
    known = _prepared.setdefault(connection.connection, set())
    if any(statement.name not in known for statement in wanted):
        if len(known) + len(wanted) > _MOST_PREPARED:
            cursor.execute("DEALLOCATE ALL")
            known.clear()
        for statement in wanted:
            if statement.name not in known:
                cursor.execute(f"PREPARE {statement.name}{_listed(statement.kinds)} AS {statement.numbered}")
                known.add(statement.name)
    return "; ".join([f"EXECUTE {statement.name}{_listed(['%s'] * len(statement.kinds))}" for statement in wanted])


def _listed(texts: Sequence[str]) -> str:
    return f" ({', '.join(texts)})" if texts else ""
