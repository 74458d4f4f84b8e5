"""An import of as many new devices as there are already, beside PostgreSQL's COPY of the same rows.

The whole way: a CSV file posted to the web server, done by the Celery worker, with the relay and the door behind them.
The peer copies the same devices into the same table (its indexes, checks and triggers as they are) of a copy of the
database. Meanwhile another tenant changes a device ten times a second through the API, and the door is asked until it
answers accordingly.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
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
_PAUSE_SECONDS = 0.1
_MEBIOCTET = 1024 * 1024
_COLUMNS = (
    "organization_id, mac, model, serial, label, profile_id, target, proven, claimed_at, changed_at, state, state_since,"
    " evidence_machine, evidence_sequence, resets, revision"
)


def measure(phones: Fleet) -> list[Row]:
    """Four rows. Adds as many devices as there are to the database."""
    owner = Organization.objects.create(name="Importer")
    profile = RedirectProfile.objects.create(
        organization=owner, name="Standard", targets=["https://cfg.example.net/$MA.xml"], parameters={}
    )
    data = directories.whole()
    file = data / "shipment.csv"
    _write(file, phones, profile)
    copied = _copy(phones, owner, profile)
    progress(f"imports: COPY of {phones.devices:,} devices in {copied['indexed']:.1f} s")
    key, neighbours_key = _key(owner), _key(Organization.objects.get(pk=1))
    with _services(data) as (web, worker):
        neighbour = _Neighbour(web, neighbours_key, phones.mac(0), phones.query(phones.mac(0), 0))
        neighbour.run_for(_BEFORE_SECONDS)
        quiet = neighbour.measured()
        stop = threading.Event()
        memory = _Memory(worker, stop)
        memory.start()
        neighbour.start()
        began = time.monotonic()
        operation_id = _post(web, key, file)
        received = time.monotonic() - began
        seconds = _await(operation_id, began)
        stop.set()
        busy = neighbour.stopped()
        memory.join()
    directories.forget_journals(data)
    operation = Operation.objects.get(pk=operation_id)
    assert operation.created == phones.devices, operation.reason or vars(operation)
    progress(f"imports: {phones.devices:,} rows in {seconds:.1f} s, {received:.1f} s of them to hand the file in")
    details = {
        "rows": phones.devices,
        "seconds": seconds,
        "handing_in_seconds": received,
        "copy_seconds": copied["indexed"],
        "copy_without_indexes_seconds": copied["bare"],
        "rows_per_second": round(phones.devices / seconds),
    }
    return [
        Row("import ÷ COPY of the same devices", seconds / copied["indexed"], "×", 6.0, least=False, details=details),
        Row("memory of the worker that imports", memory.most, "MiB", 200.0, least=False),
        Row(
            "another tenant's PUT during an import ÷ before: median",
            busy["put_median"] / quiet["put_median"], "×", 5.0, least=False, details={"during": busy, "before": quiet},
        ),
        Row(
            "change → door answers, during an import: 95th percentile",
            busy["door_p95"], "s", 2.0, least=False, details={"during": busy, "before": quiet},
        ),
    ]  # fmt: skip


def _write(file: Path, phones: Fleet, profile: RedirectProfile) -> None:
    with file.open("w", encoding="utf-8") as lines:
        lines.write("Carton;MAC Address;S/N;Product;Profile\n")
        for number in range(phones.devices):
            mac = phones.unregistered_mac(number)
            lines.write(f"{number // 20};{mac};NEW{number:08d};{MODEL};{profile.pk}\n")


def _copy(phones: Fleet, owner: Organization, profile: RedirectProfile) -> dict[str, float]:
    """The seconds of copying the devices that the import makes, into their table and into one without indexes."""
    peer = psycopg2.connect(fleet.copy_database("bench_copy"))
    now = datetime.now(UTC)
    seconds = {}
    with peer, peer.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bare AS SELECT * FROM onboarding_device WITH NO DATA;ALTER TABLE bare ALTER id SET DEFAULT 0"
        )
    for name, table in (("bare", "bare"), ("indexed", "onboarding_device")):
        rows = (
            f"{owner.pk}\t{phones.unregistered_mac(number)}\t{MODEL}\tNEW{number:08d}\t\t{profile.pk}\t\tt\t"
            f"{now}\t{now}\topen\t{now}\t\t0\t0\t0\n"
            for number in range(phones.devices)
        )
        began = time.monotonic()
        with peer, peer.cursor() as cursor:
            cursor.copy_expert(f"COPY {table} ({_COLUMNS}) FROM STDIN", fleet.Lines(rows))
        seconds[name] = time.monotonic() - began
    peer.close()
    return seconds


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
        str(programs / "celery"), "--app", "config.celery", "--quiet", "worker", "--beat", "--concurrency", "1",
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
            time.sleep(0.005)
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
    """The most that the worker's largest process needs, looked at again and again."""

    def __init__(self, worker: psutil.Process, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._worker, self._stop_asked = worker, stop
        self.most = 0.0

    def run(self) -> None:
        while not self._stop_asked.wait(0.2):
            for process in self._worker.children(recursive=True):
                try:
                    self.most = max(self.most, process.memory_info().rss / _MEBIOCTET)
                except psutil.NoSuchProcess:
                    continue


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
