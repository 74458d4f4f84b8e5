"""Phones are answered in at most twice the time while others abuse the edge: the real nginx, the real door."""

import hashlib
import http.client
import multiprocessing
import os
import socket
import ssl
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from bench import servers
from redirect.directory import authority_item
from tests.edge import certificates, client, nginx
from tests.redirect import doors
from virtualphone.manufacturer import MPP, Issued, new_key

_MAC = doors.REFUSED["certificate required"]
_QUERIES = 300
# A machine that does other things too has moments of its own; a median hides them and no real slowness.
_MOST, _SLACK_SECONDS = 2.0, 0.005


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of nginx, and the certificate of a phone that must show one."""
    root = Issued.root(key=new_key("rsa-2048"))
    digest = hashlib.sha256(root.der).digest()
    data = doors.build(
        tmp_path_factory.mktemp("door"), [*doors.entries(), authority_item(1, digest, root.der, allows_sha1=False)]
    )
    home = tmp_path_factory.mktemp("edge")
    home.chmod(0o755)
    issued = root.issue_phone(MPP, mac=_MAC, key=new_key("rsa-2048"))
    phone = home / "phone.pem"
    phone.write_text(issued.pem + issued.key_pem)
    server = certificates.issue(
        home, certificates.name(CN="phones.example.net"), key=rsa.generate_private_key(65537, 2048)
    )
    with ExitStack() as stack:
        door = stack.enter_context(servers.door(data, environment={"TRUSTED_PROXIES": "127.0.0.1/32"}))
        address = f"127.0.0.1:{door.port}"
        edge = stack.enter_context(
            nginx.running(
                home, upstreams={"door": address, "web": address}, certificate=(server.pem, server.pem),
                UNLIMITED_NETWORKS="127.0.0.1/32 0;",
            )
        )  # fmt: skip
        yield edge.ports["phones"], phone


def _median_seconds(port: int, phone: Path) -> float:
    """Of queries with a full handshake each; every one must be answered with the profile."""
    times = []
    query = client.get(f"{doors.EDOS}?id={_MAC}:{doors.SERIAL}:{doors.MODEL}")
    for _ in range(_QUERIES):
        began = time.perf_counter()
        answer = client.send(port, query, phone)
        times.append(time.perf_counter() - began)
        assert answer.status == 200
        assert b"Profile_Rule" in answer.body
    return statistics.median(times)


def _connections(port: int, count: int, source: str) -> list[socket.socket]:
    """Without TLS yet; from addresses of their own, as many clients would have."""
    made = []
    for number in range(count):
        connection = socket.socket()
        connection.bind((f"{source}.{number % 250 + 1}", 0))
        connection.connect(("127.0.0.1", port))
        made.append(connection)
    return made


@contextmanager
def _idle(port: int) -> Iterator[None]:
    """Nothing is sent, not even a handshake; whoever is let go comes again at once."""
    with _in_background(lambda stopped: _keep_open(port, stopped, 10_000)):
        time.sleep(5)
        yield


def _keep_open(port: int, stopped: Event, count: int) -> None:
    held = _connections(port, count, "127.0.1")
    while not stopped.wait(8):
        for connection in held:
            connection.close()
        held = _connections(port, count, "127.0.1")
    for connection in held:
        connection.close()


@contextmanager
def _slow_headers(port: int) -> Iterator[None]:
    """A byte a second within TLS, on 500 connections."""
    with _in_background(lambda stopped: _drip(port, stopped, b"GET /software/edos/callhome/rc?id=", 500)):
        time.sleep(5)
        yield


def _drip(port: int, stopped: Event, start: bytes, count: int) -> None:
    tls = client.context()
    held = []
    for connection in _connections(port, count, "127.0.2"):
        with suppress(OSError):
            held.append(tls.wrap_socket(connection))
            held[-1].sendall(start)
    while not stopped.wait(1):
        for one in held:
            with suppress(OSError):
                one.sendall(b"0")
    for one in held:
        one.close()


@contextmanager
def _huge_bodies(port: int) -> Iterator[None]:
    """A gibibyte each, announced by its length or in chunks, again and again, on four connections."""
    with ExitStack() as stack:
        for announced in (True, False, True, False):
            stack.enter_context(_in_background(lambda stopped, announced=announced: _pour(port, stopped, announced)))
        time.sleep(1)
        yield


def _pour(port: int, stopped: Event, announced: bool) -> None:
    head = client.get(
        f"{doors.REPORT}?id={_MAC}&event=acquired",
        f"Content-Length: {1 << 30}" if announced else "Transfer-Encoding: chunked", method="POST",
    )  # fmt: skip
    part = b"x" * 16384 if announced else b"4000\r\n" + b"x" * 16384 + b"\r\n"
    while not stopped.is_set():
        with (
            suppress(OSError, ssl.SSLError),
            client.context().wrap_socket(_connections(port, 1, "127.0.3")[0]) as connection,
        ):
            connection.sendall(head)
            while not stopped.is_set():
                connection.sendall(part)
        stopped.wait(0.1)


@contextmanager
def _header_flood(port: int) -> Iterator[None]:
    """Headers without end, on four connections."""
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(_in_background(lambda stopped: _flood(port, stopped)))
        time.sleep(1)
        yield


def _flood(port: int, stopped: Event) -> None:
    while not stopped.is_set():
        with (
            suppress(OSError, ssl.SSLError),
            client.context().wrap_socket(_connections(port, 1, "127.0.4")[0]) as connection,
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            while not stopped.is_set():
                connection.sendall(b"X-%d: " % time.monotonic_ns() + b"y" * 1000 + b"\r\n")
        stopped.wait(0.1)


@contextmanager
def _in_background(work: Callable[[Event], None]) -> Iterator[None]:
    """In a process of its own that gives way to all others: who attacks computes elsewhere."""
    forking = multiprocessing.get_context("fork")
    stopped = forking.Event()

    def attack() -> None:
        os.nice(19)
        work(stopped)

    process = forking.Process(target=attack, daemon=True)
    process.start()
    try:
        yield
    finally:
        stopped.set()
        process.join(30)
        process.kill()
        process.join()


@pytest.mark.parametrize("attack", [_idle, _slow_headers, _huge_bodies, _header_flood])
def test_others_wait_at_most_twice_as_long(place: tuple[int, Path], attack: Callable[[int], contextmanager]) -> None:
    port, phone = place
    at_rest = _median_seconds(port, phone)

    with attack(port):
        under_fire = _median_seconds(port, phone)

    assert under_fire <= at_rest * _MOST + _SLACK_SECONDS, f"{at_rest * 1000:.1f} ms, now {under_fire * 1000:.1f} ms"


def test_a_client_that_sends_nothing_is_let_go_after_ten_seconds(place: tuple[int, Path]) -> None:
    port, _ = place
    began = time.monotonic()
    (silent,) = _connections(port, 1, "127.0.5")
    silent.settimeout(30)
    with suppress(ConnectionResetError):
        assert silent.recv(1) == b""

    assert 9 < time.monotonic() - began < 15
    silent.close()


def test_a_client_that_drips_its_headers_is_let_go_after_ten_seconds(place: tuple[int, Path]) -> None:
    port, _ = place
    began = time.monotonic()
    dripping = client.context().wrap_socket(_connections(port, 1, "127.0.5")[0])
    with suppress(OSError, ssl.SSLError, http.client.HTTPException):
        dripping.settimeout(1)
        while time.monotonic() - began < 30:
            dripping.sendall(b"G")
            with suppress(TimeoutError):
                if not dripping.recv(1):
                    break

    assert 9 < time.monotonic() - began < 16
    dripping.close()
