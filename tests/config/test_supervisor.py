"""The supervisor restarts what dies, and leaves nobody behind."""

import os
import signal
import sys
from pathlib import Path

import pytest

from config.supervisor import Child, Supervisor
from tests.service import wait_until

# Starts a child of its own, as web servers and workers do, and writes both ids down.
_PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
with open(sys.argv[1], "a") as file: print(os.getpid(), child.pid, file=file)
time.sleep(300)
"""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that ended and was not waited for yet is as good as gone.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.fixture
def started(tmp_path):
    supervisor = Supervisor([Child("A parent", [sys.executable, "-c", _PARENT, str(tmp_path / "ids")])])
    supervisor.start()

    def generations() -> list[list[int]]:
        file = tmp_path / "ids"
        return [[int(pid) for pid in line.split()] for line in file.read_text().splitlines()] if file.exists() else []

    yield supervisor, generations
    supervisor.end()


def test_a_child_that_dies_is_started_again_and_its_own_children_go_with_it(started):
    supervisor, generations = started
    parent, orphan = wait_until(generations, what="the first start")[0]

    os.kill(parent, signal.SIGKILL)
    wait_until(lambda: supervisor.watch(0.05) or len(generations()) == 2, what="the second start")

    wait_until(lambda: not _alive(orphan), what="the orphan's end")


def test_nobody_is_left_at_the_end(started):
    supervisor, generations = started
    pids = wait_until(generations, what="the start")[0]

    supervisor.end()

    wait_until(lambda: not any(map(_alive, pids)), what="the end of all")
