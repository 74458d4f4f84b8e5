"""Doors for tests: a small directory, the callable itself, and a door started alone under its real server.

Loads no Django, as the door.
"""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from onboarding.identifiers import MacAddress
from redirect.directory import DirectoryWriter, device_key, organization_key, profile_key
from redirect.door import Door
from redirect.tokens import Tokens

EDOS = "/software/edos/callhome/rc"
SHORT_CODE = "/software/edos/callhome/cda"
BEACON = "/software/edos/callhome/acquired"
REPORT = "/software/edos/callhome/report"
SECRET = "the-secret-of-these-tests-0123456789-abcdef"
TOKENS = Tokens(SECRET)

MAC = "00562B043615"
MODEL = "CP-8841-3PCC"
SERIAL = "FCH2133E8B9"
TARGET = "https://cfg.example.net/$MA.xml"
ID = f"{MAC}:{SERIAL}:{MODEL}"

# Profiles by what they are for.
PLAIN, DISABLED, STRICT, OF_SUSPENDED, CONFIRMED = 1, 2, 3, 4, 5
SUSPENDED = 9

# One device for each way to be refused; all are asked for as MODEL, except where noted.
REFUSED = {
    "unknown": "00562B0000F0",
    "not associated": "00562B0000F1",
    "profile disabled": "00562B0000F2",
    "organization suspended": "00562B0000F3",
    "another model": "00562B0000F4",
    "another serial": "00562B0000F5",
    "window is over": "00562B0000F6",
    "window is to come": "00562B0000F7",
    "certificate required": "00562B0000F8",
}
# Asks for the beacon.
CONFIRMED_MAC = "00562B0000E1"

_FAR = 4_000_000_000


def octets(mac: str) -> bytes:
    return bytes(MacAddress.parse(mac))


def device(
    mac: str,
    *,
    id: int = 1,
    organization: int = 1,
    profile: int = PLAIN,
    model: str = MODEL,
    serial: str = "",
    target: str = "",
    valid_from: int | None = None,
    valid_until: int | None = None,
) -> tuple[bytes, bytes]:
    """A device's entry, as the relay publishes it."""
    fields = [id, organization, profile, model, serial, target, valid_from, valid_until]
    return device_key(octets(mac)), orjson.dumps(fields)


def profile(
    id: int,
    *,
    organization: int = 1,
    enabled: bool = True,
    targets: Iterable[str] = (TARGET,),
    parameters: Iterable[tuple[str, str]] = (),
    confirm: str = "callback",
    identity: str = "none",
    match_model: bool = True,
) -> tuple[bytes, bytes]:
    """A profile's entry, as the relay publishes it."""
    fields = [organization, enabled, list(targets), list(parameters), confirm, identity, match_model]
    return profile_key(id), orjson.dumps(fields)


def entries() -> list[tuple[bytes, bytes]]:
    """One device that is redirected, one that confirms by beacon, and one for each refusal."""
    return [
        profile(PLAIN),
        profile(DISABLED, enabled=False),
        profile(STRICT, identity="required"),
        profile(OF_SUSPENDED, organization=SUSPENDED),
        profile(CONFIRMED, confirm="beacon", parameters=[("Report_Rule", "{report_url}")]),
        (organization_key(SUSPENDED), b"1"),
        device(MAC, id=7, organization=3, serial=SERIAL),
        device(CONFIRMED_MAC, id=8, profile=CONFIRMED),
        device(REFUSED["not associated"], profile=0),
        device(REFUSED["profile disabled"], profile=DISABLED),
        device(REFUSED["organization suspended"], profile=OF_SUSPENDED, organization=SUSPENDED),
        device(REFUSED["another model"], model="CP-6841-3PCC"),
        device(REFUSED["another serial"], serial="FCH00000001"),
        device(REFUSED["window is over"], valid_until=1),
        device(REFUSED["window is to come"], valid_from=_FAR),
        device(REFUSED["certificate required"], profile=STRICT),
    ]


def build(data_dir: Path, items: Iterable[tuple[bytes, bytes]] | None = None) -> Path:
    """Build a directory under `data_dir` and switch to it."""
    DirectoryWriter(data_dir / "directory").rebuild(sorted(entries() if items is None else items), {"last": 0})
    return data_dir


def make_door(data_dir: Path, **over: Any) -> Door:
    """The callable, without a server around it."""
    values: dict[str, Any] = {
        "directory": data_dir / "directory",
        "journal": data_dir / "journal",
        "machine": "test",
        "public_url": "http://door.example",
        "edos_path": EDOS,
        "short_code_path": SHORT_CODE,
        "beacon_path": BEACON,
        "report_path": REPORT,
        "secret_key": SECRET,
    } | over
    return Door(**values)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a door said. `headers` in their order, names as sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def ask(
    door: Any, query: str = f"id={ID}", *, method: str = "GET", path: str = EDOS, body: bytes = b"", **environ: str
) -> Answer:
    """Call the callable as a server would."""
    said: list[Any] = []
    environment = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REMOTE_ADDR": "192.0.2.7",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(body),
        **({"CONTENT_LENGTH": str(len(body))} if body else {}),
        **environ,
    }
    chunks = door(environment, lambda status, headers: said.extend([status, headers]))
    return Answer(int(said[0].split(" ")[0]), tuple(said[1]), b"".join(chunks))


def journal_files(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "journal").glob("*.jsonl"))


def journal_lines(data_dir: Path) -> list[dict[str, Any]]:
    """Every line of every file, which must be JSON, in the machine's order."""
    lines = [orjson.loads(line) for file in journal_files(data_dir) for line in file.read_bytes().split(b"\n") if line]
    return sorted(lines, key=lambda line: line["seq"])


def wait_until(condition: Callable[[], Any], *, seconds: float = 30.0, what: str) -> None:
    """Wait until a condition holds; fail the test when it does not in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class StartedDoor:
    """A door alone, with two processes, under its real server."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.log = data_dir / "door.log"
        self._environment = {
            name: value for name, value in os.environ.items() if name not in {"DJANGO_SETTINGS_MODULE", "DATABASE_URL"}
        } | {
            "DATA_DIR": str(data_dir),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "SECRET_KEY": SECRET,
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, application: str = "config.door_alone:application", ready: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(Path(sys.executable).parent / "granian"), "--interface", "wsgi", "--http", "1",
                    "--host", "127.0.0.1", "--port", str(self.port), "--workers", "2", "--blocking-threads", "4",
                    "--workers-kill-timeout", "2", "--log-level", "error", application,
                ],
                env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        if ready:
            wait_until(self.alive, what="the door's start")

    def alive(self) -> bool:
        try:
            return self.ask("", path="/healthz").status == 200
        except OSError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            if number != signal.SIGKILL:
                self.process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(10)
            # Whatever is left of the group.
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def connect(self, timeout: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def say(self, request: bytes, *, end: bool = False) -> bytes:
        """Send octets as they are, and give everything that comes until the door closes (or falls silent)."""
        with self.connect(timeout=5.0) as connection:
            received = b""
            try:
                connection.sendall(request)
                if end:
                    connection.shutdown(socket.SHUT_WR)
                while chunk := connection.recv(65536):
                    received += chunk
            except (TimeoutError, ConnectionError):
                pass
            return received

    def exchange(self, request: bytes) -> Answer:
        """Send one request as it is, and read its answer off the connection, which the door may keep open."""
        with self.connect() as connection:
            connection.sendall(request)
            received = b""
            while (expected := _length_of_answer(received)) is None or len(received) < expected:
                chunk = connection.recv(65536)
                if not chunk:
                    break
                received += chunk
            return read_answer(received)

    def ask(
        self,
        query: str = f"id={ID}",
        *,
        method: str = "GET",
        path: str = EDOS,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> Answer:
        """One well-formed request on a connection of its own."""
        target = f"{path}?{query}" if query else path
        lines = [f"{method} {target} HTTP/1.1", "Host: door", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return read_answer(self.say("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")))

    def processes(self) -> list[int]:
        """The server's processes, as the kernel lists them."""
        assert self.process is not None
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def errors(self) -> str:
        return self.log.read_text(encoding="utf-8")


def _length_of_answer(received: bytes) -> int | None:
    """How long an answer to other methods than HEAD is, once its head is there."""
    head, found, _ = received.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    return len(head) + 4 + (int(length[1]) if length else 0) if found else None


def read_answer(received: bytes) -> Answer:
    """Read one answer of a closed connection; the `Date` is left out. Raises OSError if there is none."""
    head, found, body = received.partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    if not found or match is None:
        raise OSError(f"no answer in {received[:200]!r}")
    headers = [tuple(line.decode("latin-1").split(": ", 1)) for line in head.split(b"\r\n")[1:]]
    return Answer(int(match[1]), tuple(pair for pair in headers if pair[0].lower() != "date"), body)  # type: ignore[misc]


@contextmanager
def started(data_dir: Path, *, ready: bool = True, **environment: str) -> Iterator[StartedDoor]:
    """A door alone for the length of a `with` block."""
    door = StartedDoor(data_dir, **environment)
    try:
        door.start(ready=ready)
        yield door
    finally:
        door.stop()
