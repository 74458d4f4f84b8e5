"""Runs the service's processes in the foreground, restarts those that die, and stops them all together."""

import ctypes
import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

# All processes have stopped well before this, or are killed. The contract allows 10 s in all, on busy machines too.
_PATIENCE_SECONDS = 4.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 5.0
# A process that ran for so long did start well: its next failure is a first one.
_STEADY_SECONDS = 30.0

_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Child:
    """One process: its name for people, its command, and how it fares."""

    name: str
    command: Sequence[str]
    needed: bool = True
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    pause: float = _FIRST_PAUSE_SECONDS
    failures: int = field(default=0)


class Supervisor:
    """Keeps children running until `stop`."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = list(children)
        # A plain flag: an Event takes a lock, which a signal handler may find held by the very code it interrupts.
        self.stopping = False

    def stop(self) -> None:
        """Ask to stop; safe in a signal handler."""
        self.stopping = True

    def start(self) -> None:
        """Start every child."""
        for child in self._children:
            self._start(child)

    def watch(self, seconds: float = 0.2) -> None:
        """Look after the children once: restart what died, after a pause that grows with each failure."""
        now = time.monotonic()
        for child in self._children:
            if child.process is None:
                if now >= child.start_at:
                    self._start(child)
            elif (status := child.process.poll()) is not None:
                _end_group(child.process)
                child.process = None
                child.failures += 1
                if now - child.started_at >= _STEADY_SECONDS:
                    child.pause = _FIRST_PAUSE_SECONDS
                logger.error("%s ended with status %s; it is started again.", child.name, status)
                child.start_at = now + child.pause
                child.pause = min(child.pause * 2, _LONGEST_PAUSE_SECONDS)
        time.sleep(seconds)

    def end(self) -> None:
        """Stop all children; those that do not within the patience are killed. What they kept is safe either way."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        until = time.monotonic() + _PATIENCE_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _end_group(process)

    def _start(self, child: Child) -> None:
        # A session of its own: Ctrl-C reaches the supervisor alone, which stops the others in order.
        child.process = subprocess.Popen(  # noqa: S603  (commands of our own)
            child.command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent
        )
        child.started_at = time.monotonic()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what a child that ended left behind: a web server's own workers would go on answering on the port."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _die_with_parent() -> None:
    """Have the kernel end this process when the supervisor is killed, so that nothing is left behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os.kill(os.getpid(), signal.SIGTERM)
