"""Servers for the length of a `with` block, on free loopback ports; each is ended by its own process id."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

HERE = Path(__file__).resolve().parent
_BIN = Path(sys.executable).parent
EDOS = "/software/edos/callhome/rc"
WORKERS = 2
# A door waits for nothing, so further threads would only wait for each other.
DOOR_FLAGS = ("--blocking-threads", "1")


@dataclass(frozen=True)
class Server:
    """A running server: where it listens, and its processes."""

    name: str
    port: int
    process: psutil.Process

    def url(self, query: str) -> str:
        return f"http://127.0.0.1:{self.port}{EDOS}?{query}"

    def fetch(self, query: str) -> tuple[str, bytes]:
        """Content type and body of what it answers."""
        with urllib.request.urlopen(self.url(query), timeout=10) as answer:
            return answer.headers["Content-Type"], answer.read()

    def processor_seconds(self) -> float:
        """What all its processes have used so far."""
        return sum(sum(process.cpu_times()[:2]) for process in (self.process, *self.process.children(recursive=True)))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(name: str, port: int, command: list[str], environment: dict[str, str], probe: str) -> Iterator[Server]:
    """Start it, wait until it answers `probe`, and end it and its children at the end."""
    child = subprocess.Popen(command, cwd=HERE.parent, env=environment, stdin=subprocess.DEVNULL)
    server = Server(name, port, psutil.Process(child.pid))
    try:
        _await(server, child, probe)
        yield server
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            for process in (*server.process.children(recursive=True), server.process):
                process.kill()
            child.wait()


def _await(server: Server, child: subprocess.Popen[bytes], probe: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{probe}", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            pass
        if child.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"{server.name} did not start; see above.")
        time.sleep(0.1)


@contextmanager
def door(
    data: Path, *, name: str = "door", workers: int = WORKERS, environment: dict[str, str] | None = None
) -> Iterator[Server]:
    """A door that runs alone, on the directory in `data`. Its environment is as small as a service manager's."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(data), "PORT": str(port), **(environment or {})}
    command = [
        str(_BIN / "granian"), "--interface", "wsgi", "--http", "1", "--no-ws", "--log-level", "warning",
        "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers), *DOOR_FLAGS,
        "config.door_alone:application",
    ]  # fmt: skip
    with running(name, port, command, environment, "/readyz") as server:
        yield server


_NGINX = """
worker_processes {workers}; daemon off; error_log stderr crit; pid {home}/pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {home}; proxy_temp_path {home}; fastcgi_temp_path {home};
    uwsgi_temp_path {home}; scgi_temp_path {home};
    map_hash_max_size 2097152; map_hash_bucket_size 256;
    map $arg_id $body {{ default ""; include {home}/answers; }}
    server {{
        listen 127.0.0.1:{port};
        location {path} {{ default_type application/xml; add_header Cache-Control no-store; return 200 $body; }}
        location /healthz {{ return 200 "alive"; }}
    }}
}}
"""


@contextmanager
def nginx(home: Path, answers: Iterator[tuple[str, str]]) -> Iterator[Server]:
    """nginx that answers from a `map` with an entry for each (id, body)."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert program is not None
    home.mkdir(exist_ok=True)
    with (home / "answers").open("w", encoding="utf-8") as file:
        for key, body in answers:
            quoted = body.replace("\\", "\\\\").replace('"', '\\"')
            file.write(f'"{key}" "{quoted}";\n')
    port = free_port()
    configuration = home / "nginx.conf"
    configuration.write_text(_NGINX.format(home=home, port=port, path=EDOS, workers=WORKERS), encoding="utf-8")
    with running(
        "nginx", port, [program, "-c", str(configuration)], {"PATH": os.environ["PATH"]}, "/healthz"
    ) as server:
        yield server


@contextmanager
def django(data: Path, database_url: str) -> Iterator[Server]:
    """The plain Django view of `peer_django` under gunicorn, as it was fastest here: one thread, kept connections."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(data),
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "bench.peer_django_settings",
    }
    command = [
        str(_BIN / "gunicorn"), "--workers", str(WORKERS), "--worker-class", "gthread", "--threads", "1",
        "--keep-alive", "60", "--bind", f"127.0.0.1:{port}", "--log-level", "critical", "--no-control-socket",
        "bench.peer_django:application",
    ]  # fmt: skip
    with running("plain Django", port, command, environment, "/healthz") as server:
        yield server
