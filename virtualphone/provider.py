"""A small provisioning server, as a service provider runs one: a flat-profile for each phone that asks.

For demonstrations and tests, not for real phones. It can also fail in each way that a phone has to live with.
"""

import re
import secrets
import socketserver
import threading
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

_MAC = re.compile(r"(?<![0-9A-Fa-f])([0-9A-Fa-f]{12})(?![0-9A-Fa-f])")
_SUFFIXES = (".xml", ".cfg")
_MAX_REQUEST_BODY_BYTES = 1 << 16
# Longer than any client waits; the connection is then dropped without a word.
_HANG_SECONDS = 120
_GARBAGE = b"\x89PNG\r\n\x1a\n<flat-profile><Profile_Rule>"


class Fault(StrEnum):
    """How the server fails, as typed on the command line."""

    NOT_FOUND = "404"
    ERROR = "500"
    UNAVAILABLE = "503"
    UNAUTHORIZED = "401"
    TIMEOUT = "timeout"
    EMPTY = "empty"
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the server logs it. `status` 0: it was left without an answer."""

    method: str
    path: str
    user_agent: str
    status: int
    sent_bytes: int


class SampleProvider:
    """The server. Port 0 takes any free one. Usable as a context: it then serves from a thread of its own."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        fault: Fault | None = None,
        fail_first: int | None = None,
        login: tuple[str, str] | None = None,
        on_request: Callable[[Request], None] = lambda request: None,
    ) -> None:
        self._fault = fault
        self._failures_left = fail_first
        self._lock = threading.Lock()
        self.login = login
        self.on_request = on_request
        self.closing = threading.Event()
        self._server = _Server((host, port), self)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def serve(self) -> None:
        """Answer until `close`."""
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        self.closing.set()
        if self._thread:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def next_fault(self) -> Fault | None:
        """How the present request shall fail, if it shall."""
        with self._lock:
            if self._failures_left is None:
                return self._fault
            if self._failures_left == 0:
                return None
            self._failures_left -= 1
            return self._fault or Fault.UNAVAILABLE


def sample_profile(mac: str, model: str) -> bytes:
    """What this provider gives a phone: a line to register, and when to ask again."""
    extension = str(4000 + int(mac, 16) % 1000)
    parameters = {
        "Station_Name": f"{model} {extension}",
        "Display_Name_1_": f"Extension {extension}",
        "User_ID_1_": extension,
        "Proxy_1_": "sip.provider.example",
        "Resync_Periodic": "3600",
        "Peer_Firmware_Sharing": "Yes",
    }
    lines = [f'  <{name} ua="na">{escape(value)}</{name}>\n' for name, value in parameters.items()]
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<flat-profile>\n{"".join(lines)}</flat-profile>\n'.encode()


class _Server(socketserver.ThreadingTCPServer):
    """Not http.server's: that one looks up its own name in the DNS when it starts."""

    allow_reuse_address = True
    daemon_threads = True
    # A swarm connects all at once.
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], provider: SampleProvider) -> None:
        self.provider = provider
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A phone that hangs up early is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "SampleProvider"
    sys_version = ""
    timeout = 30
    # One packet for header and body: two would wait for each other on a kept connection (Nagle, delayed ACK).
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        provider = self.server.provider
        fault = provider.next_fault()
        if fault is Fault.TIMEOUT:
            self._log(0, 0)
            provider.closing.wait(_HANG_SECONDS)
            self.close_connection = True
        elif fault in {Fault.EMPTY, Fault.GARBAGE}:
            self._answer(200, b"" if fault is Fault.EMPTY else _GARBAGE)
        elif fault:
            self._answer(int(fault))
        elif provider.login and not self._is_logged_in(provider.login):
            self._answer(401)
        else:
            self._answer_with_profile()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > _MAX_REQUEST_BODY_BYTES:
            self.close_connection = True
            self._answer(413)
            return
        self.rfile.read(int(length))
        self.do_GET()

    def _answer_with_profile(self) -> None:
        path, agent = urlsplit(self.path).path, self.headers.get("User-Agent", "")
        mac = _MAC.search(path.rpartition("/")[2]) or _MAC.search(agent)
        if not path.lower().endswith(_SUFFIXES) or not mac:
            self._answer(404)
            return
        model = agent.partition("/")[0].removeprefix("Cisco-") or "phone"
        self._answer(200, sample_profile(mac[1], model))

    def _is_logged_in(self, login: tuple[str, str]) -> bool:
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        try:
            given = b64decode(encoded, validate=True)
        except Base64Error:
            return False
        return scheme.lower() == "basic" and secrets.compare_digest(given, ":".join(login).encode())

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="provisioning"')
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self._log(status, len(body))

    def _log(self, status: int, sent_bytes: int) -> None:
        request = Request(self.command, self.path, self.headers.get("User-Agent", ""), status, sent_bytes)
        self.server.provider.on_request(request)

    def log_message(self, format: str, *arguments: object) -> None:
        """`on_request` tells it better."""
