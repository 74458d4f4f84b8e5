"""A server on this host that answers as it is told, and remembers what it was asked."""

import socketserver
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

EDOS = "/software/edos/callhome/rc"
BEACON = "/software/edos/callhome/acquired"
REPORT = "/software/edos/callhome/report"
FORGET_BEACON = b'<flat-profile><Profile_Rule_B ua="na"></Profile_Rule_B></flat-profile>'


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    hangs_up: bool = False


def profile(**parameters: str) -> bytes:
    lines = "".join(f'<{name} ua="na">{value.replace("&", "&amp;")}</{name}>' for name, value in parameters.items())
    return f"<flat-profile>{lines}</flat-profile>".encode()


class Loopback:
    """`answers[path]` is a list used up from the front, its last one kept; unknown paths get 404."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: dict[str, list[Answer | Callable[[Request], Answer]]] = defaultdict(lambda: [Answer(404)])
        self.answers[REPORT] = [Answer(204)]
        self.connections = 0
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def give(self, path: str, *answers: Answer | Callable[[Request], Answer]) -> None:
        self.answers[path] = list(answers)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def reports(self) -> list[str]:
        return [request.query["event"] for request in self.asked(REPORT)]

    def assign(self, rule: str, *, token: str = "secret-token", **more: str) -> None:
        """The EDOS query gets this rule, with a beacon behind it if there is a token."""
        beacon = {"Profile_Rule_B": f"{self.url}{BEACON}?id=$MAU&t={token}"} if token else {}
        self.give(EDOS, Answer(body=profile(Profile_Rule=rule, **beacon, **more)))
        self.give(BEACON, Answer(body=FORGET_BEACON))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64
    owner: Loopback


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.owner.connections += 1

    def do_GET(self) -> None:
        owner, parts = self.server.owner, urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        request = Request(self.command, parts.path, query, dict(self.headers.items()), body)
        owner.requests.append(request)
        waiting = owner.answers[parts.path]
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        answer = answer if isinstance(answer, Answer) else answer(request)
        if answer.hangs or answer.hangs_up:
            if answer.hangs:
                owner.closing.wait(5)
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_POST = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        pass
