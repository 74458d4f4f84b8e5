"""Queries with a full mutual TLS handshake each: the door behind the shipped nginx, and that nginx answering itself.

Every query is a connection of its own, with client certificates of RSA 2048 as manufacturers put into phones, from
OpenSSL's own `s_time`. Rates count what the client computes, too, on the same processors; processor time is the
servers' alone.
"""

import re
import statistics
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from accounts.actors import Actor
from bench import directories, fleet, servers
from bench.fleet import Fleet
from bench.results import Row, progress
from onboarding import flatprofile
from redirect import publishing
from redirect.directory import DirectoryWriter
from tests.edge import certificates, client, nginx
from trust import authorities

ROUNDS, SECONDS = 7, 3
CLIENTS = 4
# By so much lengths may differ: the profiles' numbers have one or two digits.
_SLACK_OCTETS = 4
_ACTOR = Actor(source="command", name="bench")


@dataclass
class Handshakes:
    """One nginx, and the door behind it if there is one, under load."""

    name: str
    port: int
    processes: list[psutil.Process]
    octets: int = 0
    rates: list[float] = field(default_factory=list)
    processor_microseconds: list[float] = field(default_factory=list)

    def look(self, certificate: Path, query: str) -> bytes:
        """The body of one answer. Raises RuntimeError if it is no profile."""
        request = f"GET {servers.EDOS}?{query} HTTP/1.0\r\n\r\n".encode()
        answer = client.send(self.port, request, certificate)
        if answer.status != 200 or b"Profile_Rule" not in answer.body:
            raise RuntimeError(f"{self.name} answers {answer.status}, {answer.body!r}")
        self.octets = answer.octets
        return answer.body

    def run(self, queries: list[tuple[Path, str]], seconds: int) -> None:
        """One round: a client for each (certificate, query). Raises RuntimeError where one got something else."""
        before, began = self._processor_seconds(), time.perf_counter()
        running = [
            subprocess.Popen(
                ["openssl", "s_time", "-connect", f"127.0.0.1:{self.port}", "-new", "-time", str(seconds),
                 "-cert", str(certificate), "-www", f"{servers.EDOS}?{query}"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for certificate, query in queries
        ]  # fmt: skip
        said = [one.communicate()[0] for one in running]
        taken = time.perf_counter() - began
        counts = [re.search(r"(\d+) connections in \d+ real seconds, (\d+) bytes read", text) for text in said]
        # Each got as much as the answer that was looked at.
        if any(count is None or abs(int(count[2]) - self.octets) > _SLACK_OCTETS for count in counts):
            raise RuntimeError(f"{self.name} failed under load: {said}")
        total = sum(int(count[1]) for count in counts if count)
        self.rates.append(round(total / taken, 1))
        self.processor_microseconds.append(round((self._processor_seconds() - before) / total * 1e6, 1))

    def _processor_seconds(self) -> float:
        every = [each for process in self.processes for each in (process, *process.children(recursive=True))]
        return sum(sum(process.cpu_times()[:2]) for process in every)

    def details(self) -> dict[str, object]:
        return {"queries_per_second": self.rates, "processor_microseconds_a_query": self.processor_microseconds}


def measure(phones: Fleet) -> list[Row]:
    """One row: the median of the rounds' ratios."""
    data = directories.whole()
    progress(f"handshakes: {ROUNDS} rounds of nginx alone and of nginx with the door behind it")
    home = data / "edge"
    home.mkdir()
    home.chmod(0o755)
    root = certificates.issue(home, certificates.name(CN="Manufacturing CA"), key=_rsa())
    authorities.add(
        actor=_ACTOR, name="Benchmarks", content=root.certificate.public_bytes(Encoding.PEM), at=datetime.now(UTC)
    )
    writer = DirectoryWriter(data / "directory")
    publishing.rebuild(writer)
    writer.close()
    server = certificates.issue(home, certificates.name(CN="localhost"), key=_rsa(), hosts=("localhost",))
    queries = [_query(home, root, phones, number) for number in range(CLIENTS)]
    with ExitStack() as stack:
        door = stack.enter_context(servers.door(data, environment={"TRUSTED_PROXIES": "127.0.0.1/32"}))
        behind = {"door": f"127.0.0.1:{door.port}", "web": f"127.0.0.1:{door.port}"}
        both = stack.enter_context(_nginx(home / "both", behind, server))
        alone = stack.enter_context(_nginx(home / "alone", behind, server, answer=_body(phones)))
        with_door = Handshakes("nginx and door", both.ports["phones"], [psutil.Process(both.process.pid), door.process])
        without = Handshakes("nginx alone", alone.ports["phones"], [psutil.Process(alone.process.pid)])
        if without.look(*queries[0]) != with_door.look(*queries[0]):
            raise RuntimeError("The two answer differently.")
        for one in (without, with_door):
            one.run(queries, 1)
            one.rates.clear()
            one.processor_microseconds.clear()
        for _ in range(ROUNDS):
            for one in (without, with_door):
                one.run(queries, SECONDS)
                directories.forget_journals(data, older_than=5.0)
    directories.forget_journals(data)
    for one in (without, with_door):
        progress(
            f"  {one.name}: {statistics.median(one.rates):.0f} queries/s,"
            f" {statistics.median(one.processor_microseconds):.0f} µs of processor each"
        )
    details = {"door": with_door.details(), "nginx": without.details()}
    rate = _median_ratio(with_door.rates, without.rates)
    return [Row("mTLS, a full handshake a query: door behind nginx ÷ nginx alone", rate, "×", 0.85, aim=0.95,
                details=details)]  # fmt: skip


def _median_ratio(mine: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(mine, others, strict=True))


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _query(home: Path, root: certificates.Issued, phones: Fleet, number: int) -> tuple[Path, str]:
    mac = phones.mac(number)
    query = phones.query(mac, number)
    _mac, serial, model = query.removeprefix("id=").partition("&")[0].split(":")
    subject = certificates.name(OU=model, L=serial, S=mac.lower())
    return certificates.issue(home, subject, by=root, key=_rsa()).pem, query


def _body(phones: Fleet) -> str:
    number = phones.profile(0)
    return flatprofile.document([("Profile_Rule", fleet.TARGET.format(number))]).decode()


def _nginx(home: Path, behind: dict[str, str], server: certificates.Issued, *, answer: str = ""):
    home.mkdir()
    home.chmod(0o755)
    # All of the load comes from one address.
    return nginx.running(
        home, upstreams=behind, certificate=(server.pem, server.pem), UNLIMITED_NETWORKS="127.0.0.0/8 0;",
        answer=answer,
    )  # fmt: skip
