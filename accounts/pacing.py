"""Pacing: how many attempts are let through, exactly, over all processes and machines. And `once`: no second time.

GCRA, a leaky bucket in one number: the theoretical arrival time of the next attempt. Taking is a single statement
that the database makes atomic. An attempt is taken before it is known whether it is right, and given back when it was:
attempts at the same moment cannot slip through together. A bucket with all its attempts left is what no row says too,
so such rows are pruned.

The time is the asking machine's: clocks that are apart by a second move a limit by a second.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from django.db import connection, transaction

from accounts import statements
from accounts.statements import Statement


@dataclass(frozen=True, slots=True)
class Limit:
    """`burst` attempts at once, and one more every `seconds` seconds."""

    name: str
    burst: int
    seconds: float

    def opens_at(self, arrival: float) -> float:
        """When an attempt is left again (epoch seconds), from the number in its bucket."""
        return arrival - self.seconds * (self.burst - 1)


class Attempt(NamedTuple):
    """What is counted, and for whom: at most 120 characters, none for what all share."""

    limit: Limit
    subject: str

    @property
    def key(self) -> str:
        return f"{self.limit.name}:{self.subject}" if self.subject else self.limit.name


class Closed(NamedTuple):
    """A limit without an attempt left, and when it has one again (epoch seconds)."""

    attempt: Attempt
    opens_at: float


_POSTGRESQL = """
    INSERT INTO accounts_bucket AS bucket (key, arrival) VALUES {rows}
    ON CONFLICT (key) DO UPDATE SET arrival = greatest(bucket.arrival, %s) + (excluded.arrival - %s)
    WHERE bucket.arrival <= %s + CASE excluded.key {spares} END
    RETURNING key
"""
_SQLITE = _POSTGRESQL.replace("greatest(", "max(")


def take(attempts: Sequence[Attempt], *, at: float) -> Closed | None:
    """Take one of each at `at` (epoch seconds), or none and give the first that is closed.

    Callers name the kinds of limits always in the same order, or two transactions could wait for each other.
    """
    with transaction.atomic():
        taken = statements.read(*taking(attempts, at=at))
        closed = closed_of(attempts, {key for (key,) in taken}, at=at)
        if closed:
            # The others, which were taken.
            transaction.set_rollback(True)
    return closed


def taking(attempts: Sequence[Attempt], *, at: float) -> tuple[Statement, list[Any]]:
    """`take` as one statement for the caller's own transaction, with its values: it gives the keys that were taken.

    Where one is missing (`closed_of`), the caller rolls back.
    """
    rows = [value for attempt in attempts for value in (attempt.key, at + attempt.limit.seconds)]
    spares = [v for attempt in attempts for v in (attempt.key, attempt.limit.seconds * (attempt.limit.burst - 1))]
    return _statement(connection.vendor, len(attempts)), [*rows, at, at, at, *spares]


@cache
def _statement(vendor: str, attempts: int) -> Statement:
    text = (_POSTGRESQL if vendor == "postgresql" else _SQLITE).format(
        rows=", ".join(["(%s, %s)"] * attempts), spares=" ".join(["WHEN %s THEN %s"] * attempts)
    )
    each, number = ("text", "double precision") * attempts, "double precision"
    return Statement.of(text, (*each, number, number, number, *each))


def closed_of(attempts: Sequence[Attempt], taken: Container[str], *, at: float) -> Closed | None:
    """The first attempt whose key was not taken, as a closed limit."""
    for attempt in attempts:
        if attempt.key not in taken:
            return Closed(attempt, at + opens_in(attempt, at=at))
    return None


def give_back(attempts: Sequence[Attempt]) -> None:
    """Undo a `take`: the attempts were right, and only wrong ones count."""
    for attempt in attempts:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE accounts_bucket SET arrival = arrival - %s WHERE key = %s", [attempt.limit.seconds, attempt.key]
            )


def once(kind: str, subject: str, *, seconds: float, at: float) -> bool:
    """Whether this has not been asked within so many seconds. `subject` has at most 120 characters."""
    return take([Attempt(Limit(kind, burst=1, seconds=seconds), subject)], at=at) is None


def opens_in(attempt: Attempt, *, at: float) -> float:
    """Seconds until an attempt is left; 0 when there is one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT arrival FROM accounts_bucket WHERE key = %s", [attempt.key])
        row = cursor.fetchone()
    return max(0.0, attempt.limit.opens_at(row[0]) - at) if row else 0.0


def prune(*, at: float, limit: int = 10_000) -> int:
    """Delete buckets that have all their attempts again; gives how many."""
    with connection.cursor() as cursor:
        # The outer condition again: an attempt taken meanwhile keeps its bucket.
        cursor.execute(
            "DELETE FROM accounts_bucket WHERE arrival <= %s AND key IN"
            " (SELECT key FROM accounts_bucket WHERE arrival <= %s ORDER BY arrival LIMIT %s)",
            [at, at, limit],
        )
        return int(cursor.rowcount)
