"""Boots many phones at once and counts what became of them: a load generator whose every client behaves like a phone.

Each phone has a flash of its own, in memory, and connections of its own, as in the field.
"""

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field, replace

from virtualphone import activation, wire
from virtualphone.activation import Entry, Slip
from virtualphone.edos import Service
from virtualphone.identity import Identity, InvalidIdentity
from virtualphone.outcomes import Outcome
from virtualphone.phone import Circumstances, VirtualPhone
from virtualphone.states import State

_PROGRESS_SECONDS = 0.1
# Upper ends of the histogram's classes, in milliseconds.
_HISTOGRAM_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to boot, and how hard to press. `phones_per_second` None: as fast as `concurrency` allows.

    With `codes`, one a phone, each is typed at once: the phones stand before their activation screens. `slip_share` of
    the users mistype a digit first.
    """

    identities: Sequence[Identity]
    service: Service
    concurrency: int = 64
    phones_per_second: float | None = None
    circumstances: Circumstances = field(default_factory=Circumstances)
    codes: Sequence[Entry] = ()
    slip_share: float = 0.0
    seed: int | None = None


@dataclass(slots=True)
class Result:
    """What became of the phones. `errors` counts pairs of where and what: `("EDOS", "timeout")`."""

    phones: int = 0
    seconds: float = 0.0
    unanswered: int = 0
    # Their code was not taken in the end; a slip that was put right does not count.
    refused: int = 0
    states: Counter[State] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    answer_seconds: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        answered = [query.seconds for query in outcome.queries if query.succeeded]
        self.phones += 1
        self.states[outcome.state] += 1
        is_refused = outcome.failure is not None and outcome.failure.kind in {activation.REFUSED, activation.NOT_TRIED}
        self.refused += is_refused
        self.unanswered += not answered and not is_refused
        self.answer_seconds += answered
        self.errors.update((failure.what, failure.kind) for failure in outcome.failures)

    def percentile(self, percent: float) -> float:
        """Nearest rank, in seconds: an answer time that was really measured. 0 if there was none."""
        ordered = sorted(self.answer_seconds)
        return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else 0.0

    def histogram(self) -> list[tuple[float, int]]:
        """Upper end in seconds (infinity for the last) and count, without the empty classes at both ends."""
        ends = [*(end / 1000 for end in _HISTOGRAM_MS), math.inf]
        counts = Counter(next(end for end in ends if seconds < end) for seconds in self.answer_seconds)
        used = [index for index, end in enumerate(ends) if counts[end]]
        return [(end, counts[end]) for end in ends[used[0] : used[-1] + 1]] if used else []

    def as_json(self) -> dict[str, object]:
        """For machines. Times in milliseconds."""
        percentiles = {f"p{percent}": round(self.percentile(percent) * 1000, 3) for percent in (50, 95, 99)}
        return {
            "phones": self.phones,
            "seconds": round(self.seconds, 3),
            "unanswered": self.unanswered,
            "refused": self.refused,
            "states": {state.value: self.states[state] for state in State if self.states[state]},
            "answer_ms": {**percentiles, "max": round(self.percentile(100) * 1000, 3)},
            "histogram": [
                {"below_ms": None if math.isinf(end) else end * 1000, "count": count} for end, count in self.histogram()
            ],
            "errors": [
                {"where": where, "kind": kind, "count": count} for (where, kind), count in self.errors.most_common()
            ],
        }


def identities(mac_start: str, phones: int, model: str, firmware: str = "") -> list[Identity]:
    """Phones with MACs in a row. Raises InvalidIdentity."""
    first = Identity.parse(mac_start, model, firmware=firmware)
    start = int(first.mac, 16)
    if start + phones > 1 << 48:
        raise InvalidIdentity(f"{phones} phones from {first.mac} on are more than there are MAC addresses.")
    return [replace(first, mac=f"{start + index:012X}") for index in range(phones)]


class Swarm:
    """One run of a plan."""

    def __init__(
        self,
        plan: Plan,
        *,
        wires: Callable[[], wire.Transport] = wire.Wire,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._wires = wires
        self._timer = timer
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._waiting: Iterator[tuple[int, Identity]] = enumerate(plan.identities)
        self._begun = 0.0
        self.result = Result()

    def run(self, on_progress: Callable[[Result], None] = lambda result: None) -> Result:
        """Boot them all. After `stop` it ends with what there is."""
        self._begun = self._timer()
        workers = max(1, min(self._plan.concurrency, len(self._plan.identities)))
        with futures.ThreadPoolExecutor(workers, thread_name_prefix="phone") as pool:
            running = {pool.submit(self._work) for _ in range(workers)}
            try:
                while futures.wait(running, timeout=_PROGRESS_SECONDS).not_done:
                    self._report(on_progress)
            except BaseException:
                # Ctrl-C: the pool waits for its threads on the way out, so they must be told first.
                self.stop()
                raise
        for worker in running:
            worker.result()
        self._report(on_progress)
        return self.result

    def stop(self) -> None:
        """Let no further phone start, and wake those that wait for a retry."""
        self._stop.set()

    def _report(self, on_progress: Callable[[Result], None]) -> None:
        with self._lock:
            self.result.seconds = self._timer() - self._begun
            on_progress(self.result)

    def _work(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                index, identity = next(self._waiting, (-1, None))
            if identity is None:
                return
            try:
                self._boot(index, identity)
            except _Stopped:
                return

    def _boot(self, index: int, identity: Identity) -> None:
        if self._plan.phones_per_second:
            self._sleep(self._begun + index / self._plan.phones_per_second - self._timer())
        phone = VirtualPhone(
            identity,
            self._plan.service,
            transport=self._wires(),
            circumstances=self._plan.circumstances,
            sleep=self._sleep,
        )
        try:
            outcome = phone.activate(*self._typed(index)) if self._plan.codes else phone.power_on()
        finally:
            phone.close()
        with self._lock:
            self.result.add(outcome)

    def _typed(self, index: int) -> list[Entry]:
        """What the user of this phone types: the same in every run with the same seed, whichever thread it meets."""
        code = self._plan.codes[index]
        rng = random.Random(None if self._plan.seed is None else f"{self._plan.seed}/{index}")
        return [code.mistyped(Slip.DIGIT, rng), code] if rng.random() < self._plan.slip_share else [code]

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(max(0.0, seconds)):
            raise _Stopped


class _Stopped(Exception):
    """The run was stopped while a phone waited; it is not counted."""
