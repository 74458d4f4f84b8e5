"""The embedded broker: a worker notices within a moment that it is to stop."""

import time
from pathlib import Path

import pytest
from kombu import Connection

from config.doorbell import Transport


def test_a_wait_for_messages_is_short_however_long_celery_would_wait(tmp_path: Path) -> None:
    folders = {"data_folder_in": str(tmp_path), "data_folder_out": str(tmp_path), "control_folder": str(tmp_path)}

    with Connection(transport=Transport, transport_options={**folders, "polling_interval": 0.05}) as connection:
        connection.SimpleQueue("celery")
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=20)

    assert time.monotonic() - began < 5
