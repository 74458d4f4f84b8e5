"""Provisioning servers on this host for tests of targets: HTTP, HTTPS with certificates of a test authority, TFTP."""

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from onboarding.outbound import Rules

NETWORKS = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
RULES = Rules(allowed=NETWORKS, plain_http=True)
DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority of its own, and what it signs."""

    def __init__(self, folder: Path, name: str = "Test authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        own = self._builder(self._name, self._key, now - DAY, now + 3650 * DAY)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, since, until) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(since).not_valid_after(until)
        )  # fmt: skip

    def server(self, name: str = "localhost", *, days: float = 90, since_days: float = -1) -> ssl.SSLContext:
        """TLS of a server with a certificate for `name` that is valid for `days` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, key, min(now + since_days * DAY, now + (days - 1) * DAY), now + days * DAY)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        path = self._folder / f"{x509.random_serial_number()}.pem"
        path.write_bytes(
            builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


class ProvisioningServer:
    """Answers every GET with `status` and `headers`, or by path as `paths` has it; remembers what it was asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.paths: dict[str, tuple[int, dict[str, str]]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, dict(self.headers)))
                status, headers = outer.paths.get(self.path, (outer.status, outer.headers))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Clients that refuse a certificate hang up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls:
            # In the handler's thread, not in the one that accepts.
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._scheme = "https" if tls else "http"
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def target(self) -> str:
        return f"{self._scheme}://localhost:{self.port}/$MA.xml"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def listening(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does with each connection what it is told; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    handle(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@contextmanager
def tftp(answer: bytes | None) -> Iterator[tuple[int, list[bytes]]]:
    """A TFTP server that sends `answer` for every request, or nothing; gives its port and what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        over = threading.Event()

        def serve() -> None:
            server.settimeout(0.05)
            while not over.is_set():
                try:
                    request, sender = server.recvfrom(1024)
                except TimeoutError:
                    continue
                asked.append(request)
                if answer is not None and request[:2] == b"\x00\x01":
                    server.sendto(answer, sender)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], asked
        finally:
            over.set()
            thread.join(5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
