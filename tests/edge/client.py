"""A TLS client that sends exactly what a test says, its certificate and its faults included."""

import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What old firmware speaks; the linked OpenSSL refuses it unless it is told.
OLD = "DEFAULT:@SECLEVEL=0"


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in lower case) and body; `tls` is what was spoken."""

    status: int
    headers: dict[str, str]
    body: bytes
    tls: str
    octets: int

    @property
    def arrived(self) -> Any:
        """What the server behind nginx got, from `upstream.echo`."""
        return json.loads(self.body)

    def arrived_as(self, name: str) -> list[str]:
        """The values of a header, as the server behind nginx got it."""
        return [value for sent, value in self.arrived["headers"] if sent == name]


def context(
    certificate: Path | None = None, *, version: ssl.TLSVersion | None = None, ciphers: str = ""
) -> ssl.SSLContext:
    """A client's settings: `version` alone is spoken."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if ciphers:
        made.set_ciphers(ciphers)
    if version is not None:
        made.minimum_version = made.maximum_version = version
    if certificate is not None:
        made.load_cert_chain(certificate)
    return made


def send(
    port: int,
    request: bytes,
    certificate: Path | None = None,
    *,
    name: str = "phones.example.net",
    version: ssl.TLSVersion | None = None,
    ciphers: str = "",
) -> Answer:
    """One request on a connection of its own; `name` goes into SNI. Raises ssl.SSLError where no TLS comes about."""
    tls = context(certificate, version=version, ciphers=ciphers)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        tls.wrap_socket(plain, server_hostname=name or None) as connection,
    ):
        connection.sendall(request)
        received = b""
        while part := _receive(connection):
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return Answer(int(first.split()[1]), headers, body, str(connection.version()), len(received))


def _receive(connection: ssl.SSLSocket) -> bytes:
    try:
        return connection.recv(65536)
    except (ConnectionResetError, ssl.SSLEOFError):
        return b""


def get(path: str, *lines: str, method: str = "GET", body: bytes = b"", host: str = "phones.example.net") -> bytes:
    """A request that closes its connection, with these header lines as they are."""
    length = [f"Content-Length: {len(body)}"] if body else []
    head = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *length, *lines])
    return f"{head}\r\n\r\n".encode("latin-1") + body
