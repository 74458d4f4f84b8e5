"""Quotas: how often something may be done in a stretch of time, counted in memory that a machine's processes share.

A stretch begins with the first use and ends after the limit's seconds; then the whole quota is there again. So
`remaining` and `resets_in` are exactly true, and two stretches that touch let at most twice the quota through.
The counts lie in a small LMDB environment that is never synced: a few microseconds a request, no database. They are
exact on one machine; N machines let N times as much through. Losing them gives everybody a new quota, nothing else.
"""

import logging
import math
import shutil
import struct
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from onboarding.errors import OnboardingError

logger = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# End of the stretch (epoch seconds), uses in it.
_ENTRY = struct.Struct("<dI")
_MAP_OCTETS = 16 * 1024 * 1024
# Beyond so many subjects of one limit the expired ones go, and then all: with as many addresses one gets new quotas.
_MOST_SUBJECTS = 20_000
_MOST_LIMITS = 16
_MOST_USES = 2**32 - 1


class Limit(NamedTuple):
    """`most` uses in `seconds` seconds, for each subject."""

    name: str
    most: int
    seconds: int


class Standing(NamedTuple):
    """What is left of a quota, and in how many seconds it is whole again. `used` may be more than the limit has."""

    limit: Limit
    used: int
    resets_in: float

    @property
    def remaining(self) -> int:
        return max(0, self.limit.most - self.used)

    @property
    def is_over(self) -> bool:
        return self.used > self.limit.most

    @property
    def is_used_up(self) -> bool:
        return self.used >= self.limit.most

    @property
    def resets_in_seconds(self) -> int:
        """In whole seconds, at least one, as headers say it."""
        return max(1, math.ceil(self.resets_in))


class TooManyRequests(OnboardingError):
    """The quota is used up. `retry_after_seconds` says when it is whole again."""

    code = "too_many_requests"
    remedy = "Repeat the request after the seconds in Retry-After, and send fewer: RateLimit-Remaining counts down."

    def __init__(self, detail: str, *, standing: Standing, remedy: str | None = None) -> None:
        super().__init__(detail, remedy=remedy)
        self.retry_after_seconds = standing.resets_in_seconds


class Counts:
    """The counts in one folder. Any number of threads and processes may use it; a killed one leaves nothing behind.

    What goes wrong with it is logged, and lets everything through: quotas protect the service, they must not stop it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._environment: lmdb.Environment | None = None
        self._tables: dict[str, Any] = {}

    def spend(self, limit: Limit, subject: str, uses: int = 1, *, at: float | None = None) -> Standing:
        """Count `uses` at `at` (epoch seconds), past the limit too; gives how it stands afterwards."""
        at = time.time() if at is None else at
        try:
            table = self._table(limit)
            environment, key = self._opened(), _key(subject)
            # One thread at a time: one that waits for LMDB's own lock would keep the interpreter from its holder.
            with self._lock, environment.begin(write=True, db=table) as transaction:
                standing = _standing(limit, transaction.get(key), at=at)
                used = min(standing.used + uses, _MOST_USES)
                if standing.used == 0 and transaction.stat(table)["entries"] >= _MOST_SUBJECTS:
                    _make_room(transaction, table, at=at)
                transaction.put(key, _ENTRY.pack(at + standing.resets_in, used))
                return Standing(limit, used, standing.resets_in)
        except (lmdb.Error, OSError):
            logger.exception("Quotas cannot be counted")
            return Standing(limit, 0, limit.seconds)

    def look(self, limit: Limit, subject: str, *, at: float | None = None) -> Standing:
        """How it stands, without a use."""
        at = time.time() if at is None else at
        try:
            table = self._table(limit)
            with self._opened().begin(db=table) as transaction:
                return _standing(limit, transaction.get(_key(subject)), at=at)
        except (lmdb.Error, OSError):
            logger.exception("Quotas cannot be read")
            return Standing(limit, 0, limit.seconds)

    def forget(self) -> None:
        """Give everybody a whole quota."""
        environment = self._opened()
        for table in self._tables.values():
            with self._lock, environment.begin(write=True) as transaction:
                transaction.drop(table, delete=False)

    def _opened(self) -> lmdb.Environment:
        if self._environment is None:
            with self._lock:
                if self._environment is None:
                    self._environment = lmdb.open(
                        str(_folder_of_this_boot(self._folder)), map_size=_MAP_OCTETS, max_dbs=_MOST_LIMITS,
                        max_readers=1024, sync=False, metasync=False, writemap=True,
                    )  # fmt: skip
        return self._environment

    def _table(self, limit: Limit) -> Any:
        table = self._tables.get(limit.name)
        if table is None:
            environment = self._opened()
            with self._lock:
                # In no other transaction of this thread: LMDB keeps the handle for the whole process.
                table = self._tables.setdefault(limit.name, environment.open_db(limit.name.encode()))
        return table


@cache
def counts(folder: Path) -> Counts:
    """This process's hold on the counts in `folder`: LMDB wants each environment opened once a process."""
    return Counts(folder)


def _folder_of_this_boot(folder: Path) -> Path:
    """A folder of its own for each boot: what was never synced may be damaged after a power cut."""
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = "any"
    for former in folder.glob("*"):
        if former.name != boot:
            shutil.rmtree(former, ignore_errors=True)
    (folder / boot).mkdir(parents=True, exist_ok=True)
    return folder / boot


def _key(subject: str) -> bytes:
    # LMDB takes no empty key, and none above 511 octets.
    return b"=" + subject.encode()[:500]


def _standing(limit: Limit, entry: bytes | None, *, at: float) -> Standing:
    ends, used = _ENTRY.unpack(entry) if entry is not None and len(entry) == _ENTRY.size else (0.0, 0)
    # An end too far ahead was written before the clock was set back.
    if not at < ends <= at + limit.seconds:
        return Standing(limit, 0, float(limit.seconds))
    return Standing(limit, used, ends - at)


def _make_room(transaction: lmdb.Transaction, table: Any, *, at: float) -> None:
    expired = [key for key, entry in transaction.cursor() if _ENTRY.unpack(entry)[0] <= at]
    for key in expired:
        transaction.delete(key)
    if not expired:
        transaction.drop(table, delete=False)
