"""Slowing down who tries short codes one after another: how many wrong tries a door process lets each network make.

For each source network a leaky bucket in one number (GCRA): the theoretical arrival time of the next try. Only wrong
tries are taken, so any number of phones with a right code may share an address, and cost next to nothing. While a
network's bucket is full its phones are refused unseen, also those with a right code: otherwise the wrong ones would
still show which are right.

Each process has its own buckets, so a network has the limit once for each process of each door, and a restart forgets
them; tries at the very same moment can slip through together, at most as many as the process has
threads. The memory is bounded: of more than MOST_NETWORKS the one that tried longest ago is forgotten, and may begin
anew.
"""

from collections import OrderedDict
from threading import Lock

from onboarding.guessing import SECONDS_A_TRY, TRIES_AT_ONCE

# Some hundred octets each.
MOST_NETWORKS = 10_000
# How often one network is reported, at most.
REPORT_SECONDS = 600.0
# Organizations remembered of each network, of whose codes it found one.
_MOST_FOUND = 8

_PATIENCE = SECONDS_A_TRY * (TRIES_AT_ONCE - 1)


class _Bucket:
    __slots__ = ("arrival", "found", "report_at")

    def __init__(self) -> None:
        self.arrival = 0.0
        self.report_at = 0.0
        self.found: set[int] = set()


class Tries:
    """The buckets of one process, for all its threads."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = Lock()

    def wait(self, network: str, at: float) -> float:
        """0 if `network` may try at `at` (seconds), or after how many seconds it may again."""
        bucket = self._buckets.get(network)
        return max(0.0, bucket.arrival - at - _PATIENCE) if bucket else 0.0

    def take(self, network: str, at: float) -> None:
        """Count one wrong try."""
        with self._lock:
            bucket = self._buckets.get(network)
            if bucket is None:
                bucket = self._buckets[network] = _Bucket()
                if len(self._buckets) > MOST_NETWORKS:
                    self._buckets.popitem(last=False)
            else:
                self._buckets.move_to_end(network)
            bucket.arrival = max(bucket.arrival, at) + SECONDS_A_TRY

    def found(self, network: str, organization_id: int) -> None:
        """Note whose code a network found that has tried wrong ones."""
        bucket = self._buckets.get(network)
        if bucket is not None and len(bucket.found) < _MOST_FOUND:
            with self._lock:
                bucket.found.add(organization_id)

    def report(self, network: str, at: float) -> list[int] | None:
        """The organizations of whose codes this network found one, when it is to be reported now; else None."""
        with self._lock:
            bucket = self._buckets.get(network)
            if bucket is None or at < bucket.report_at:
                return None
            bucket.report_at = at + REPORT_SECONDS
            return sorted(bucket.found)

    def __len__(self) -> int:
        return len(self._buckets)
