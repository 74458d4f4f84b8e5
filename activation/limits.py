"""How many wrong codes are let through: for each phone, each source network, and above all in the whole service.

GCRA, a leaky bucket in one number: the theoretical arrival time of the next attempt. Taking is a single statement
that the database makes atomic, so a limit holds exactly over all processes and machines. An attempt is taken before a
code is looked up, in the same transaction, and rolled back when the code was right: attempts at the same moment cannot
slip through together, and a process that dies in between has taken nothing.

A phone is its MAC together with its source network: with the MAC alone, anybody could lock out anybody's phone.

Anybody can close the limit of the whole service, by guessing at its pace. It then refuses everybody but phones that a
code was bound to; those have BOUND for themselves. What they may try there is one code out of 10^15, the one bound to
them, so even ten thousand such attempts a second, all year, stay below 10^-3 hits.

The time is the asking machine's: clocks that are apart by a second move a limit by a second.
"""

from collections import OrderedDict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

from django.db import connection

from activation.codes import SECONDS_A_YEAR


@dataclass(frozen=True, slots=True)
class Limit:
    """`burst` attempts at once, and one more every `seconds` seconds."""

    name: str
    burst: int
    seconds: float

    @property
    def a_second(self) -> float:
        """The most attempts a second over a year, the burst included."""
        return 1 / self.seconds + self.burst / SECONDS_A_YEAR

    def opens_at(self, arrival: float) -> float:
        """When an attempt is left again (epoch seconds), from the number in its bucket."""
        return arrival - self.seconds * (self.burst - 1)


# A user who mistypes beyond the check digit has ten tries, then one every quarter of an hour.
PHONE = Limit("phone", burst=10, seconds=900.0)
# An office behind one address.
NETWORK = Limit("network", burst=50, seconds=60.0)
# 0.25 a second: fewer than 10^-3 hits a year at 10^5 active codes (see `codes`).
SERVICE = Limit("service", burst=500, seconds=4.0)
# What stays open for codes bound to the asking phone while a limit above is closed by others.
BOUND = Limit("bound", burst=5, seconds=300.0)


class Attempt(NamedTuple):
    """What is counted, and for whom; the whole service is the subject ""."""

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
    INSERT INTO activation_bucket AS bucket (key, arrival) VALUES {rows}
    ON CONFLICT (key) DO UPDATE SET arrival = greatest(bucket.arrival, %s) + (excluded.arrival - %s)
    WHERE bucket.arrival <= %s + CASE excluded.key {spares} END
    RETURNING key
"""
_SQLITE = _POSTGRESQL.replace("greatest(", "max(")


def phone(mac: str, network: str) -> str:
    """The subject of PHONE and BOUND; it begins with the MAC, so that a phone's buckets can be found."""
    return f"{mac}@{network}"


def take(attempt: Attempt, *, at: float) -> bool:
    """Take one attempt at `at` (epoch seconds); False when there is none left, and then nothing was changed."""
    return attempt.key in _take([attempt], at=at)


def take_all(attempts: Sequence[Attempt], *, at: float) -> Closed | None:
    """Take one of each in one statement; gives the first that is closed.

    Then the caller rolls back, as the others were taken. Always in the order phone, network, service, or two
    transactions could wait for each other.
    """
    return closed_of(attempts, _take(attempts, at=at), at=at)


def _take(attempts: Sequence[Attempt], *, at: float) -> set[str]:
    """The keys of those that were taken."""
    with connection.cursor() as cursor:
        cursor.execute(*taking(attempts, at=at))
        return {key for (key,) in cursor.fetchall()}


def taking(attempts: Sequence[Attempt], *, at: float) -> tuple[str, list[Any]]:
    """The statement that takes one of each and gives the keys of those that were left, with its values."""
    rows = [value for attempt in attempts for value in (attempt.key, at + attempt.limit.seconds)]
    spares = [v for attempt in attempts for v in (attempt.key, attempt.limit.seconds * (attempt.limit.burst - 1))]
    return _statement(connection.vendor, len(attempts)), [*rows, at, at, at, *spares]


@cache
def _statement(vendor: str, attempts: int) -> str:
    return (_POSTGRESQL if vendor == "postgresql" else _SQLITE).format(
        rows=", ".join(["(%s, %s)"] * attempts), spares=" ".join(["WHEN %s THEN %s"] * attempts)
    )


def closed_of(attempts: Sequence[Attempt], taken: Container[str], *, at: float) -> Closed | None:
    """The first attempt that was not taken, as a closed limit."""
    for attempt in attempts:
        if attempt.key not in taken:
            return Closed(attempt, at + opens_in(attempt, at=at))
    return None


def opens_in(attempt: Attempt, *, at: float) -> float:
    """Seconds until an attempt is left; 0 when there is one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT arrival FROM activation_bucket WHERE key = %s", [attempt.key])
        row = cursor.fetchone()
    return max(0.0, attempt.limit.opens_at(row[0]) - at) if row else 0.0


def prune(*, at: float, limit: int = 10_000) -> int:
    """Delete buckets that have all their attempts again, which is what no bucket says too; gives how many."""
    with connection.cursor() as cursor:
        # The outer condition again: an attempt taken meanwhile keeps its bucket.
        cursor.execute(
            "DELETE FROM activation_bucket WHERE arrival <= %s AND key IN"
            " (SELECT key FROM activation_bucket WHERE arrival <= %s ORDER BY arrival LIMIT %s)",
            [at, at, limit],
        )
        return int(cursor.rowcount)


# A limit that somebody lifts opens everywhere within this time.
_REMEMBERED_SECONDS = 5.0
_MOST_REMEMBERED = 10_000


class ClosedLimits:
    """The closed limits that one process knows of, so that a flood of guesses asks the database next to nothing.

    It forgets each after a few seconds and when it opens, whichever is first; and the oldest, when there are too many.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, Closed]] = OrderedDict()
        self._lock = Lock()

    def note(self, closed: Closed, *, at: float) -> None:
        key = closed.attempt.key
        with self._lock:
            self._known[key] = (min(closed.opens_at, at + _REMEMBERED_SECONDS), closed)
            self._known.move_to_end(key)
            if len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)

    def find(self, attempts: Iterable[Attempt], *, at: float) -> Closed | None:
        """The first of these that is known to be closed at `at`."""
        for attempt in attempts:
            until, closed = self._known.get(attempt.key, (at, None))
            if closed is not None and at < until:
                return closed
        return None
