"""Receivers of webhooks in one process, as quick as Python can: `python -m bench.peer_receiver PORT… -- SILENT_PORT…`.

Each POST is answered 204; a silent port takes connections and requests and never answers.
"""

import asyncio
import sys

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver(asyncio.Protocol):
    def __init__(self) -> None:
        self._came = b""

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, found, body = self._came.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        start = lower.index(b"content-length:") + len(b"content-length:")
        length = int(lower[start:].split(b"\r\n", 1)[0])
        if len(body) >= length:
            self._came = body[length:]
            self._transport.write(_ANSWER)


class Silent(asyncio.Protocol):
    """Dead, as a receiver whose process hangs."""


async def _serve(ports: list[int], silent: list[int]) -> None:
    loop = asyncio.get_running_loop()
    for port in ports:
        await loop.create_server(Receiver, "127.0.0.1", port)
    for port in silent:
        await loop.create_server(Silent, "127.0.0.1", port)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    divider = sys.argv.index("--")
    asyncio.run(_serve([int(port) for port in sys.argv[1:divider]], [int(port) for port in sys.argv[divider + 1 :]]))
