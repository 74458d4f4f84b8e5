"""How many wrong codes are let through: for each phone, each source network, and above all in the whole service.

An attempt (`pacing`) is taken before a code is looked up, in the same transaction, and rolled back when the code was
right: a process that dies in between has taken nothing.

A phone is its MAC together with its source network: with the MAC alone, anybody could lock out anybody's phone.

Anybody can close the limit of the whole service, by guessing at its pace. It then refuses everybody but phones that a
code was bound to; those have BOUND for themselves. What they may try there is one code out of 10^15, the one bound to
them, so even ten thousand such attempts a second, all year, stay below 10^-3 hits.
"""

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

from accounts.pacing import Attempt, Closed, Limit
from activation.codes import SECONDS_A_YEAR

# A user who mistypes beyond the check digit has ten tries, then one every quarter of an hour.
PHONE = Limit("code-phone", burst=10, seconds=900.0)
# An office behind one address.
NETWORK = Limit("code-network", burst=50, seconds=60.0)
# 0.25 a second: fewer than 10^-3 hits a year at 10^5 active codes (see `codes`).
SERVICE = Limit("code-service", burst=500, seconds=4.0)
# What stays open for codes bound to the asking phone while a limit above is closed by others.
BOUND = Limit("code-bound", burst=5, seconds=300.0)


def most_a_second(limit: Limit) -> float:
    """The most attempts a second over a year, the burst included."""
    return 1 / limit.seconds + limit.burst / SECONDS_A_YEAR


def phone(mac: str, network: str) -> str:
    """The subject of PHONE and BOUND; it begins with the MAC, so that a phone's buckets can be found."""
    return f"{mac}@{network}"


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
