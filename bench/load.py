"""The client: wrk, with 32 kept connections, sending many distinct phones' queries. The same for every server."""

import os
import random
import re
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.fleet import Fleet
from bench.servers import HERE, Server

CONNECTIONS = 32
# Distinct phones in one run: far more than fit a processor's nearest caches, and little enough for the client.
_PHONES = 20_000


@dataclass
class Load:
    """One server under one list of queries, measured in several rounds."""

    server: Server
    queries: Path
    path: str = "/software/edos/callhome/rc"
    rates: list[float] = field(default_factory=list)
    processor_microseconds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    def run(self, seconds: int) -> None:
        """One round. Raises RuntimeError if anything but 200 was answered."""
        before = self.server.processor_seconds()
        command = [
            "wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s",
            "--timeout", "10s", "--script", str(HERE / "queries.lua"), f"http://127.0.0.1:{self.server.port}",
        ]  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "QUERIES": str(self.queries), "QUERIED": self.path}
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        failures = re.search(r"Non-2xx.*|Socket errors.*", done.stdout)
        requests = re.search(r"(\d+) requests in", done.stdout)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
        if failures or requests is None or rate is None:
            raise RuntimeError(f"{self.server.name} failed under load: {done.stdout}")
        self.rates.append(float(rate[1]))
        used = self.server.processor_seconds() - before
        self.processor_microseconds.append(round(used / int(requests[1]) * 1e6, 1))

    def details(self) -> dict[str, object]:
        return {"requests_per_second": self.rates, "processor_microseconds_a_request": self.processor_microseconds}


def write_queries(path: Path, fleet: Fleet, mac: Callable[[int], str], *, before: str = "") -> Path:
    """A file of queries of phones drawn at random; `before` is what stands before each phone's own."""
    drawn = random.Random(1)
    numbers = [drawn.randrange(fleet.devices) for _ in range(_PHONES)]
    path.write_text("".join(f"{before}{fleet.query(mac(number), number)}\n" for number in numbers), encoding="ascii")
    return path


def alternate(loads: Sequence[Load], *, rounds: int, seconds: int, between: Callable[[], None]) -> None:
    """A B C, A B C, …: what disturbs the machine disturbs all of them. A first, short round is not counted."""
    for load in loads:
        load.run(1)
        load.rates.clear()
        load.processor_microseconds.clear()
    for _ in range(rounds):
        for load in loads:
            load.run(seconds)
            between()


def ratio(load: Load, peer: Load) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(mine / other for mine, other in zip(load.rates, peer.rates, strict=True))
