"""When a delivery that failed is tried again, and how carefully an endpoint that fails is asked.

A delivery is tried eleven times within about three days. An endpoint whose last attempt failed is asked with one
delivery at a time, at most every ten minutes, until it takes one.
"""

from datetime import timedelta

# After the first failure, the second, … ; 72 hours in all. Up to a tenth more is added, so that not all come at once.
DELAYS = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=3),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(hours=24),
    timedelta(hours=26),
)
MOST_ATTEMPTS = len(DELAYS) + 1
JITTER = 0.1

# Between two probes of an endpoint, at most.
_PROBE_AT_MOST = timedelta(minutes=10)
# A receiver may ask to be left alone (Retry-After), for as long at most.
_MOST_ASKED_FOR = timedelta(hours=24)

# An endpoint that took nothing for so long, although it was asked, is paused.
PAUSED_AFTER = timedelta(days=3)


def delay(attempts: int, *, chance: float, asked: timedelta = timedelta()) -> timedelta | None:
    """How long after attempt number `attempts` (from 1) the next comes; None after the last.

    `chance` is a random number from 0 to 1, `asked` what the receiver asked for.
    """
    if attempts > len(DELAYS):
        return None
    return max(DELAYS[attempts - 1] * (1 + JITTER * chance), min(asked, _MOST_ASKED_FOR))


def gate(failures: int, *, asked: timedelta = timedelta()) -> timedelta:
    """How long an endpoint is left alone after so many failures in a row (from 1)."""
    usual = min(DELAYS[min(failures, len(DELAYS)) - 1], _PROBE_AT_MOST)
    return max(usual, min(asked, _MOST_ASKED_FOR))
