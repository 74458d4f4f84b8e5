"""One HTTP exchange at a time, over connections that are kept. Bounded in time and size; HTTP 1.0, 1.1 and chunks.

A `Wire` belongs to one phone and one thread. Redirects and logins are decided above, in `downloads`.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import quote, urlsplit

MAX_BODY_BYTES = 1 << 20
TIMEOUT_SECONDS = 10.0
_CHUNK_BYTES = 1 << 16
# What may stand in a request line as typed; everything else (blanks, letters beyond ASCII) is percent-encoded.
_KEPT = "%/:=&?~+!$,;'@()*[]#"


class WireError(Exception):
    """No HTTP answer came. `kind` is a short stable name to count by."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whole. Header names are in lower case, the last of several wins."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Transport(Protocol):
    """What a phone needs of a wire; tests may hand in their own."""

    def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Response:
        """Send one request and read its answer. Raises WireError."""
        ...

    def close(self) -> None: ...


class Wire:
    """Speaks HTTP and HTTPS, one kept connection per server."""

    def __init__(
        self,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        trust: ssl.SSLContext | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout_seconds
        self._trust = trust
        self._timer = timer
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up everywhere."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Response:
        """Send one request and read its answer. Raises WireError."""
        begun = self._timer()
        try:
            connection, path = self._connection(url)
            was_open = connection.sock is not None
            try:
                return self._once(connection, method, path, headers, body, begun)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # The server had closed the kept connection meanwhile: that is no failure of this request.
                if not was_open:
                    raise
                return self._once(connection, method, path, headers, body, begun)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _named(error) from error

    def _connection(self, url: str) -> tuple[http.client.HTTPConnection, str]:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            raise WireError("scheme not supported", f"{parts.scheme}:// is not supported by the virtual phone")
        if not parts.hostname:
            raise ValueError("the URL names no server")
        key = (parts.scheme, parts.netloc)
        if key not in self._connections:
            self._connections[key] = self._opened(parts.scheme, parts.hostname, parts.port)
        path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_KEPT)
        return self._connections[key], path

    def _opened(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        trust = self._trust or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=trust)

    def _once(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        begun: float,
    ) -> Response:
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            with connection.getresponse() as answer:
                content = self._read(answer, begun)
                found = {name.lower(): value for name, value in answer.getheaders()}
                return Response(answer.status, found, content, self._timer() - begun)
        except BaseException:
            connection.close()
            raise

    def _read(self, answer: http.client.HTTPResponse, begun: float) -> bytes:
        """The body. The timeout of the socket is per packet; a server that drips is stopped by the clock."""
        content = bytearray()
        while piece := answer.read1(_CHUNK_BYTES):
            content += piece
            if len(content) > MAX_BODY_BYTES:
                raise WireError("too large", f"more than {MAX_BODY_BYTES} bytes")
            if self._timer() - begun > self._timeout:
                raise TimeoutError
        if answer.length:
            raise http.client.IncompleteRead(bytes(content), answer.length)
        return bytes(content)


def _named(error: Exception) -> WireError:
    match error:
        case TimeoutError():
            return WireError("timeout", "no answer in time")
        case ConnectionRefusedError():
            return WireError("connection refused", "nobody listens there")
        case socket.gaierror():
            return WireError("name not found", "the server's name does not resolve")
        case ssl.SSLError():
            return WireError("TLS failed", str(error))
        case http.client.InvalidURL() | ValueError():
            return WireError("bad URL", str(error))
        case http.client.RemoteDisconnected() | http.client.IncompleteRead() | ConnectionError():
            return WireError("connection lost", "the server hung up")
        case http.client.HTTPException():
            return WireError("not HTTP", "what came is not HTTP")
    return WireError("connection failed", str(error))
