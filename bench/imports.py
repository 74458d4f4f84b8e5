"""An import of as many new devices as there are already, beside PostgreSQL's COPY of the same rows.

Alone: `manage.py import_devices` of a CSV file, which does what web server and worker do, in one process. The peer
copies the same devices into the same table (its indexes, checks and triggers as they are) of a copy of the database,
half of them before and half after, so that whatever disturbs the machine disturbs both.

Among others: a file posted to the web server and done by the Celery worker, with relay and door behind them. Meanwhile
another tenant changes a device again and again through the API, and asks the door until it answers accordingly.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg2
from django.conf import settings

from accounts import keys
from accounts.actors import Actor
from accounts.models import Organization
from bench import directories, fleet, servers
from bench.fleet import MODEL, Fleet
from bench.results import Row, progress
from onboarding.models import RedirectProfile
from operations.models import Operation

_BEFORE_SECONDS = 8.0
_PAUSE_SECONDS, _POLL_SECONDS = 0.2, 0.02
_MEBIOCTET = 1024 * 1024
_ROWS_AMONG_OTHERS = 100_000
_COLUMNS = (
    "organization_id, mac, model, serial, label, profile_id, target, proven, claimed_at, changed_at, state,"
    " state_since, evidence_machine, evidence_sequence, resets, revision"
)


def measure(phones: Fleet) -> list[Row]:
    """Four rows. Adds more devices than there are to the database."""
    owner = Organization.objects.create(name="Importer")
    profile = RedirectProfile.objects.create(
        organization=owner, name="Standard", targets=["https://cfg.example.net/$MA.xml"], parameters={}
    )
    return [*_alone(phones, profile), *_among_others(phones, profile)]


@dataclass(frozen=True)
class _Shipment:
    """New devices in a file: those of the fleet's unregistered MACs that follow `offset`."""

    phones: Fleet
    profile: RedirectProfile
    count: int
    offset: int = 1

    def mac(self, number: int) -> str:
        return f"{int(self.phones.mac(number), 16) + self.offset:012X}"

    def write(self, file: Path) -> Path:
        with file.open("w", encoding="utf-8") as lines:
            lines.write("Carton;MAC Address;S/N;Product;Profile\n")
            for number in range(self.count):
                lines.write(f"{number // 20};{self.mac(number)};NEW{number:08d};{MODEL};{self.profile.pk}\n")
        return file

    def copy_lines(self, numbers: range) -> Iterator[str]:
        now = datetime.now(UTC)
        for number in numbers:
            yield (
                f"{self.profile.organization_id}\t{self.mac(number)}\t{MODEL}\tNEW{number:08d}\t\t{self.profile.pk}\t\tt\t"
                f"{now}\t{now}\topen\t{now}\t\t0\t0\t0\n"
            )


def _alone(phones: Fleet, profile: RedirectProfile) -> list[Row]:
    shipment = _Shipment(phones, profile, phones.devices)
    file = shipment.write(Path(settings.DATA_DIR) / "shipment.csv")
    peer = psycopg2.connect(fleet.copy_database("bench_copy"))
    half = phones.devices // 2
    copy = _copy(peer, shipment, range(half))
    progress(f"imports: COPY of half the devices in {copy:.1f} s")
    began = time.monotonic()
    command = [sys.executable, "manage.py", "import_devices", str(file), "--organization", "Importer"]
    importing = subprocess.Popen(
        command, cwd=servers.HERE.parent, env=dict(os.environ), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    memory = _Memory(psutil.Process(importing.pid))
    memory.start()
    assert importing.wait() == 0
    seconds = time.monotonic() - began
    memory.stop()
    progress(f"imports: {phones.devices:,} rows in {seconds:.1f} s")
    copy += _copy(peer, shipment, range(half, phones.devices))
    peer.close()
    progress(f"imports: COPY of all the devices in {copy:.1f} s")
    details = {
        "rows": phones.devices,
        "seconds": seconds,
        "copy_seconds": copy,
        "rows_per_second": round(phones.devices / seconds),
    }
    return [
        Row("import ÷ COPY of the same devices", seconds / copy, "×", 6.0, least=False, details=details),
        Row("memory of the process that imports", memory.most, "MiB", 200.0, least=False, details=details),
    ]


def _copy(peer: psycopg2.extensions.connection, shipment: _Shipment, numbers: range) -> float:
    began = time.monotonic()
    with peer, peer.cursor() as cursor:
        cursor.copy_expert(f"COPY onboarding_device ({_COLUMNS}) FROM STDIN", fleet.Lines(shipment.copy_lines(numbers)))
    return time.monotonic() - began


def _among_others(phones: Fleet, profile: RedirectProfile) -> list[Row]:
    data = directories.whole()
    shipment = _Shipment(phones, profile, min(phones.devices, _ROWS_AMONG_OTHERS), offset=2)
    file = shipment.write(data / "second.csv")
    key, neighbours_key = _key(profile.organization), _key(Organization.objects.get(pk=1))
    with _services(data) as (web, worker):
        neighbour = _Neighbour(web, neighbours_key, phones.mac(0), phones.query(phones.mac(0), 0))
        neighbour.run_for(_BEFORE_SECONDS)
        quiet = neighbour.measured()
        memory = _Memory(worker)
        memory.start()
        neighbour.start()
        began = time.monotonic()
        operation_id = _post(web, key, file)
        received = time.monotonic() - began
        seconds = _await(operation_id, began)
        busy = neighbour.stopped()
        memory.stop()
    directories.forget_journals(data)
    operation = Operation.objects.get(pk=operation_id)
    assert operation.created == shipment.count, operation.reason or vars(operation)
    progress(f"imports: {shipment.count:,} rows among others in {seconds:.1f} s, {received:.1f} s to hand them in")
    details = {"rows": shipment.count, "seconds": seconds, "worker_mib": memory.most, "during": busy, "before": quiet}
    return [
        Row(
            "another tenant's PUT during an import ÷ before: median",
            busy["put_median"] / quiet["put_median"], "×", 5.0, least=False, details=details,
        ),
        Row(
            "change → door answers, during an import: 95th percentile",
            busy["door_p95"], "s", 2.0, least=False, details=details,
        ),
    ]  # fmt: skip


def _key(organization: Organization) -> str:
    made = keys.create(
        actor=Actor("command", "bench"), organization=organization, name="bench", scopes=list(keys.SCOPES),
        at=datetime.now(UTC),
    )  # fmt: skip
    return made[1]


@contextmanager
def _services(data: Path):
    """Web server with the door, relay and worker on this database, as `serve` starts them."""
    programs = Path(sys.executable).parent
    port = servers.free_port()
    for folder in ("queue", "control"):
        (data / "broker" / folder).mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PORT": str(port), "API_REQUESTS_PER_MINUTE": "1000000"}
    worker = [
        str(programs / "celery"), "--app", "config.celery", "--quiet", "worker", "--beat", "--concurrency", "2",
        "--schedule", str(data / "beat"), "--loglevel", "ERROR",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    ]  # fmt: skip
    web = [
        str(programs / "granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "2",
        "--blocking-threads", str(settings.WEB_THREADS), "--http", "1", "--no-ws", "--log-level", "error",
        "config.wsgi:application",
    ]  # fmt: skip
    children = [
        subprocess.Popen(command, cwd=servers.HERE.parent, env=environment, stdin=subprocess.DEVNULL)
        for command in ([sys.executable, "manage.py", "relay"], worker)
    ]
    try:
        with servers.running("the web server", port, web, environment, "/readyz") as server:
            yield server, psutil.Process(children[1].pid)
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(30)


class _Neighbour(threading.Thread):
    """Another tenant, who gives a device a new target over and over, and asks the door until it says so."""

    def __init__(self, web: servers.Server, key: str, mac: str, query: str) -> None:
        super().__init__(daemon=True)
        self._web, self._mac, self._query = web, mac, query
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._stop_asked = threading.Event()
        self._number = 0
        self.puts: list[float] = []
        self.doors: list[float] = []

    def run(self) -> None:
        while not self._stop_asked.is_set():
            self._once()

    def run_for(self, seconds: float) -> None:
        # The first one opens connections and builds the directory.
        self._once()
        self.puts.clear()
        self.doors.clear()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._once()

    def _once(self) -> None:
        self._number += 1
        target = f"https://change-{self._number}.example.net/"
        body = json.dumps({"model": MODEL, "profile": 1, "target": target})
        began = time.monotonic()
        status, answer = _request(self._web, "PUT", f"/api/v1/devices/{self._mac}/", body, self._headers)
        done = time.monotonic()
        assert status == 200, answer
        self.puts.append(done - began)
        client = http.client.HTTPConnection("127.0.0.1", self._web.port, timeout=30)
        while True:
            client.request("GET", f"{servers.EDOS}?{self._query}")
            if target.encode() in client.getresponse().read():
                break
            if time.monotonic() - done > 120:
                raise SystemExit("A change never reached the door.")
            time.sleep(_POLL_SECONDS)
        client.close()
        self.doors.append(time.monotonic() - done)
        time.sleep(_PAUSE_SECONDS)

    def stopped(self) -> dict[str, float]:
        self._stop_asked.set()
        self.join()
        return self.measured()

    def measured(self) -> dict[str, float]:
        """What was measured since the last time this was asked."""
        puts, doors = sorted(self.puts), sorted(self.doors)
        self.puts, self.doors = [], []
        return {
            "changes": len(puts),
            "put_median": statistics.median(puts),
            "put_p95": puts[int(len(puts) * 0.95)],
            "put_most": puts[-1],
            "door_median": statistics.median(doors),
            "door_p95": doors[int(len(doors) * 0.95)],
            "door_most": doors[-1],
        }


class _Memory(threading.Thread):
    """The most that one of a process and its children needs, looked at again and again."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._stop_asked = threading.Event()
        self.most = 0.0

    def run(self) -> None:
        while not self._stop_asked.wait(0.1):
            try:
                for process in (self._process, *self._process.children(recursive=True)):
                    self.most = max(self.most, process.memory_info().rss / _MEBIOCTET)
            except psutil.NoSuchProcess:
                continue

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()


def _request(web: servers.Server, method: str, path: str, body, headers: dict[str, str]) -> tuple[int, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=600)
    try:
        client.request(method, path, body=body, headers=headers)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def _post(web: servers.Server, key: str, file: Path) -> int:
    headers = {
        "Authorization": f"Bearer {key}", "Content-Type": "text/csv", "Content-Length": str(file.stat().st_size),
    }  # fmt: skip
    with file.open("rb") as rows:
        status, answer = _request(web, "POST", "/api/v1/operations/?kind=import", rows, headers)
    assert status == 202, answer
    return int(json.loads(answer)["id"])


def _await(operation_id: int, began: float) -> float:
    while not Operation.objects.filter(pk=operation_id).exclude(finished_at=None).exists():
        time.sleep(0.1)
        if time.monotonic() - began > 3600:
            raise SystemExit("The import does not end.")
    return time.monotonic() - began
