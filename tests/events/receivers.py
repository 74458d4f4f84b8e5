"""A webhook's receiver, as somebody else would write one: it answers what `behave` says and keeps what came."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Received:
    """One request: its headers by lower-case names, and its body."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def verified(self, secret: str) -> Any:
        """What the standard's own library reads. Raises WebhookVerificationError."""
        return Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """Answers 204 unless `behave` is set: it is given the handler and what came, and answers by itself."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.behave: Callable[[BaseHTTPRequestHandler, Received], None] | None = None
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # The head and the body in one packet.
            wbufsize = -1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                came = Received(self.path, headers, body, time.monotonic())
                with outer._lock:
                    outer.received.append(came)
                    outer._at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer._at_once)
                try:
                    if outer.behave is None:
                        answer(self, 204)
                    else:
                        outer.behave(self, came)
                except OSError:
                    self.close_connection = True
                finally:
                    with outer._lock:
                        outer._at_once -= 1

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: Any) -> None:
                """A connection that was cut off is what some tests want."""

        self._server = Server(("127.0.0.1", 0), Handler)

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    @property
    def macs(self) -> list[str]:
        return [came.json["data"]["mac"] for came in self.received]

    @property
    def ids(self) -> list[str]:
        return [came.headers["webhook-id"] for came in self.received]

    def answers(self, *statuses: int, **headers: str) -> None:
        """Give these statuses one after another, the last one for good."""
        left = list(statuses)

        def behave(handler: BaseHTTPRequestHandler, came: Received) -> None:
            answer(handler, left.pop(0) if len(left) > 1 else left[0], **headers)

        self.behave = behave


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    if status != 204:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()
