"""The embedded broker: kombu's filesystem transport, made to put each message into its folder whole.

kombu writes a message under its final name, so a worker can read it before it is written, and ends with an error.
Celery looks whether it is to stop only when a wait for messages is over, and waits two seconds.
"""

import os
import uuid
from time import monotonic
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps

# So long does a worker that has nothing to do take to notice that it is to stop.
_LONGEST_WAIT_SECONDS = 0.25


class Channel(filesystem.Channel):
    """Writes beside, then renames: a message is there whole or not at all."""

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:  # type: ignore[override]
        # The name has kombu's own form, by which it sorts messages and finds their queue.
        name = f"{round(monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        unfinished = os.path.join(self.data_folder_out, f".{uuid.uuid4()}")
        with open(unfinished, "w", encoding="utf-8") as file:
            file.write(dumps(message))
        os.rename(unfinished, os.path.join(self.data_folder_out, name))


class Transport(filesystem.Transport):
    """The transport with that channel, and with short waits."""

    Channel = Channel

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> None:
        wait = _LONGEST_WAIT_SECONDS if timeout is None else min(timeout, _LONGEST_WAIT_SECONDS)
        super().drain_events(connection, timeout=wait, **kwargs)
