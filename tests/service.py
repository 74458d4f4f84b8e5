"""The service's own processes for tests, on the test database with a data directory each.

`web` is what `make run` starts: the door with Django behind it; `door` is the door alone. Both take the same port.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.db import connection

from redirect.models import Batch, Journal

_PROGRAMS = Path(sys.executable).parent
EDOS_PATH = "/software/edos/callhome/rc"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], Any], *, seconds: float = 30.0, what: str = "it") -> Any:
    """Wait for a condition to give something true; fail the test when it does not in time."""
    until = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)


class Service:
    """Starts and kills the processes of one machine. Use as a context manager."""

    def __init__(
        self, data_dir: Path, *, database_url: str | None = None, environment: dict[str, str] | None = None
    ) -> None:
        self.data_dir = data_dir
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._environment = os.environ | {
            "DATA_DIR": str(data_dir),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "SECRET_KEY": "the-secret-of-these-tests-0123456789-abcdef",
            "DATABASE_URL": database_url if database_url is not None else self._test_database(),
            # What a doomed process says of a broken connection is not the test's.
            "PYTHONWARNINGS": "ignore",
            **(environment or {}),
        }
        for folder in ("queue", "control"):
            (data_dir / "broker" / folder).mkdir(parents=True, exist_ok=True)
        self._log = (data_dir / "processes.log").open("ab")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        for name in list(self.processes):
            self.kill(name)
        self._log.close()
        if failure:
            # pytest shows it with the failure.
            print((self.data_dir / "processes.log").read_text(errors="replace")[-5000:])

    def _test_database(self) -> str:
        values = connection.settings_dict
        if connection.vendor == "postgresql":
            return f"postgresql://{values['USER']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"
        # The same file under this data directory's name.
        (self.data_dir / "registry.sqlite3").symlink_to(values["NAME"])
        return ""

    def start(self, name: str) -> None:
        """Start `relay`, `relay2`, `worker`, `worker2`, `door` or `web`; it may not be ready when this returns."""
        kind = name.rstrip("0123456789")
        commands = {
            "relay": [sys.executable, "manage.py", "relay"],
            "worker": [
                str(_PROGRAMS / "celery"), "--app", "config.celery", "--quiet", "worker", "--beat",
                "--concurrency", "1", "--schedule", str(self.data_dir / f"beat-{name}"),
                "--hostname", f"{name}@%h", "--loglevel", "ERROR",
                "--without-gossip", "--without-mingle", "--without-heartbeat",
            ],
            "door": [
                str(_PROGRAMS / "granian"), "--interface", "wsgi", "--http", "1", "--host", "127.0.0.1",
                "--port", str(self.port), "--workers", "2", "--blocking-threads", "1", "--log-level", "error",
                "--respawn-failed-workers", "config.door_alone:application",
            ],
            "web": [
                str(_PROGRAMS / "granian"), "--interface", "wsgi", "--http", "1", "--host", "127.0.0.1",
                "--port", str(self.port), "--workers", "2", "--blocking-threads", "8", "--log-level", "error",
                "--respawn-failed-workers", "--no-ws", "config.wsgi:application",
            ],
        }  # fmt: skip
        self.processes[name] = subprocess.Popen(
            commands[kind],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def configure(self, **environment: str) -> None:
        """Change the environment of what is started from now on."""
        self._environment |= environment

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End a process and its children at once."""
        process = self.processes.pop(name)
        with_children = process.pid
        with suppress(ProcessLookupError):
            os.killpg(with_children, number)
        process.wait()

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a manage.py command to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def ask(self, mac: str, *, model: str = "CP-8841-3PCC", timeout: float = 5.0) -> tuple[int, bytes]:
        """One EDOS query on a connection of its own. Raises OSError or http.client.HTTPException."""
        return self.request("GET", f"{EDOS_PATH}?id={mac}:{model}", timeout=timeout)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def partner(self, key: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request of a partner, with what was answered read as JSON; None for an empty answer."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        status, answer = self.request(method, f"/api/v1/{path}", body=sent, headers=headers, timeout=20.0)
        return status, json.loads(answer) if answer else None

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 5.0,
    ) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            client.request(method, path, body=body, headers=headers or {})
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()

    def await_door(self) -> None:
        """Wait until the door can answer phones."""

        def ready() -> bool:
            try:
                return self.request("GET", "/readyz", timeout=1.0)[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        wait_until(ready, what="the door")

    def journal_lines(self) -> list[dict[str, Any]]:
        """All readable lines of this machine's journals."""
        lines = []
        for file in (self.data_dir / "journal").glob("*.jsonl"):
            for raw in file.read_bytes().split(b"\n"):
                try:
                    lines.append(json.loads(raw))
                except ValueError:
                    continue
        return lines


def all_applied(service: Service) -> bool:
    """Whether every line of every journal was applied."""
    sizes = {file.name: file.stat().st_size for file in (service.data_dir / "journal").glob("*.jsonl")}
    applied = dict(Journal.objects.values_list("name", "applied"))
    return all(applied.get(name, 0) == size for name, size in sizes.items()) and not Batch.objects.exists()


@contextmanager
def running(data_dir: Path, *names: str, **options: Any) -> Iterator[Service]:
    """A service with these processes started, its door ready."""
    with Service(data_dir, **options) as service:
        for name in names:
            service.start(name)
        if {"door", "web"} & set(names):
            service.await_door()
        yield service
