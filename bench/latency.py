"""From a commit in the registry to the door's answer, with the relay and the door as processes of their own."""

import http.client
import os
import queue
import random
import statistics
import subprocess
import sys
import threading
import time

from bench import directories, servers
from bench.fleet import Fleet
from bench.results import Row, progress
from onboarding.models import Device

_CHANGES_PER_SECOND = 100
_SECONDS = 20
# A change that no door has shown by then is lost.
_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.001


def measure(phones: Fleet) -> list[Row]:
    """Two rows: the median and the 99th percentile, of every change that was made."""
    data = directories.whole()
    directories.forget_journals(data)
    progress(f"latency: {_CHANGES_PER_SECOND} changes a second for {_SECONDS} s, through relay and door")
    with servers.door(data) as door:
        # Its environment is ours: the same database and data directory.
        relay = subprocess.Popen(
            [sys.executable, "manage.py", "relay"],
            cwd=servers.HERE.parent,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
        )
        try:
            _await_relay(phones, door)
            latencies, late = _change_and_watch(phones, door)
        finally:
            relay.terminate()
            relay.wait(30)
    directories.forget_journals(data)
    latencies.sort()
    percentile = latencies[int(len(latencies) * 0.99)]
    details = {"changes": len(latencies), "largest_seconds": round(latencies[-1], 3), "writer_behind_seconds": late}
    what = "commit → door answers, at 100 changes a second"
    return [
        Row(f"{what}: median", statistics.median(latencies), "s", 0.3, least=False, details=details),
        Row(f"{what}: 99th percentile", percentile, "s", 1.0, least=False, details=details),
    ]


def _await_relay(phones: Fleet, door: servers.Server) -> None:
    """Wait until one change got through: the relay has started, and built the directory if it had to."""
    Device.objects.filter(mac=phones.mac(0)).update(target="https://first.example.net/")
    until = time.monotonic() + 120
    while b"first.example.net" not in door.fetch(phones.query(phones.mac(0), 0))[1]:
        if time.monotonic() > until:
            raise SystemExit("The relay does not follow; see above.")
        time.sleep(0.05)


def _change_and_watch(phones: Fleet, door: servers.Server) -> tuple[list[float], float]:
    changes: queue.SimpleQueue[tuple[float, str, bytes] | None] = queue.SimpleQueue()
    latencies: list[float] = []
    watcher = threading.Thread(target=_watch, args=(door, changes, latencies))
    watcher.start()
    drawn = random.Random(2)
    began = time.monotonic()
    late = 0.0
    # Each device once: a second change would hide the first from the watcher.
    numbers = drawn.sample(range(1, phones.devices), _CHANGES_PER_SECOND * _SECONDS)
    for change, number in enumerate(numbers):
        due = began + change / _CHANGES_PER_SECOND
        late = max(late, time.monotonic() - due)
        time.sleep(max(0.0, due - time.monotonic()))
        mac, target = phones.mac(number), f"https://change-{change}.example.net/"
        Device.objects.filter(mac=mac).update(target=target)
        changes.put((time.monotonic(), phones.query(mac, number), target.encode()))
    changes.put(None)
    watcher.join()
    if len(latencies) != _CHANGES_PER_SECOND * _SECONDS:
        raise SystemExit("A change never reached the door.")
    return latencies, round(late, 3)


def _watch(door: servers.Server, changes: "queue.SimpleQueue[tuple[float, str, bytes] | None]", latencies: list[float]):
    """Ask the door for every change that it has not shown yet, over and over."""
    client = http.client.HTTPConnection("127.0.0.1", door.port, timeout=10)
    open_changes: list[tuple[float, str, bytes]] = []
    more = True
    while more or open_changes:
        while more:
            try:
                change = changes.get_nowait() if open_changes else changes.get()
            except queue.Empty:
                break
            if change is None:
                more = False
            else:
                open_changes.append(change)
        still_open = []
        for committed_at, query, target in open_changes:
            client.request("GET", f"{servers.EDOS}?{query}")
            if target in client.getresponse().read():
                latencies.append(time.monotonic() - committed_at)
            elif time.monotonic() - committed_at < _PATIENCE_SECONDS:
                still_open.append((committed_at, query, target))
        open_changes = still_open
        time.sleep(_PAUSE_SECONDS)
    client.close()
