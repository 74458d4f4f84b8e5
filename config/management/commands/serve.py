"""`manage.py serve`: everything for one machine in the foreground: web and door, relay, worker, demonstration."""

import logging
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.utils import timezone

from config import demonstration
from config.supervisor import Child, Supervisor

logger = logging.getLogger(__name__)

_START_SECONDS = 120


class Command(BaseCommand):
    """Prepares the data directory and runs until Ctrl-C or SIGTERM."""

    help = "Prepare the data directory and run the whole service in the foreground."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        _require_port(settings.PORT)
        self._prepare()
        first = demonstration.prepare(demo=settings.DEMO, at=timezone.now())
        supervisor = Supervisor(_children())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.stop())
        if first is not None:
            # At once: whatever happens from here on, these were made and will not be shown again.
            self.stdout.write(demonstration.explain(first))
            self.stdout.flush()
        supervisor.start()
        try:
            self._await_ready(supervisor)
            if not supervisor.stopping:
                self.stdout.write(f"Ready: http://{_shown_host()}:{settings.PORT}/")
                self.stdout.flush()
            while not supervisor.stopping:
                supervisor.watch()
        finally:
            supervisor.end()
        self.stdout.write("Stopped.")

    def _prepare(self) -> None:
        # It holds sessions, password digests and secrets.
        settings.DATA_DIR.chmod(0o700)
        for folder in _broker_folders():
            folder.mkdir(parents=True, exist_ok=True)
        self.stdout.write("Preparing the registry …")
        try:
            call_command("migrate", verbosity=0, interactive=False)
        except OperationalError as error:
            raise CommandError(f"DATABASE_URL: {str(error).splitlines()[0]}") from error
        call_command("collectstatic", verbosity=0, interactive=False)

    def _await_ready(self, supervisor: Supervisor) -> None:
        until = time.monotonic() + _START_SECONDS
        while not supervisor.stopping and not _answers():
            if time.monotonic() > until:
                raise CommandError(f"The service was not ready within {_START_SECONDS} seconds; see above.")
            supervisor.watch()


def _require_port(port: int) -> None:
    """Refuse a port that somebody listens on: the web server would share it, and the phones, with that somebody."""
    try:
        _bind(settings.HOST, port)
    except OSError as error:
        raise CommandError(f"PORT: {settings.HOST}:{port} cannot be listened on: {error.strerror}.") from error


def _is_free(port: int) -> bool:
    """Whether the demonstration's provider can have its port; the service does without it otherwise."""
    try:
        _bind("127.0.0.1", port)
    except OSError as error:
        logger.warning("The demonstration's provider is left out: port %d: %s.", port, error.strerror)
        return False
    return True


def _bind(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _broker_folders() -> list[Path]:
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    return [Path(str(options[name])) for name in ("data_folder_in", "control_folder") if name in options]


def _shown_host() -> str:
    return f"[{settings.HOST}]" if ":" in settings.HOST else settings.HOST


def _answers() -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.HOST, _shown_host())  # noqa: S104
    try:
        with urllib.request.urlopen(f"http://{host}:{settings.PORT}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _children() -> list[Child]:
    python = sys.executable
    here = str(Path(python).parent)
    manage = str(settings.BASE_DIR / "manage.py")
    web = [
        f"{here}/granian", "--interface", "wsgi", "--host", settings.HOST, "--port", str(settings.PORT),
        "--workers", str(settings.WORKERS), "--blocking-threads", str(settings.WEB_THREADS), "--http", "1",
        "--respawn-failed-workers", "--workers-kill-timeout", "5", "--no-ws", "--log-level", "error",
        "config.wsgi:application",
    ]  # fmt: skip
    # Long bulk work, and what else is to be done beside it. SQLite has one writer at a time: they would only queue.
    jobs_at_once = "1" if connection.vendor == "sqlite" else "2"
    worker = [
        f"{here}/celery", "--app", "config.celery", "--quiet", "worker", "--beat", "--concurrency", jobs_at_once,
        "--queues", "celery", "--hostname", "worker@%h",
        "--schedule", str(settings.DATA_DIR / "beat"), "--loglevel", "WARNING",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    ]  # fmt: skip
    # Other people's servers take their time; nothing else waits for them.
    sender = [
        f"{here}/celery", "--app", "config.celery", "--quiet", "worker", "--pool", "threads",
        "--concurrency", "2", "--queues", "outbound", "--hostname", "sender@%h", "--loglevel", "WARNING",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    ]  # fmt: skip
    children = [
        Child("The relay", [python, manage, "relay"]),
        Child("The web server", web),
        Child("The worker", worker),
        Child("The sender", sender),
    ]
    if settings.DEMO and _is_free(demonstration.provider_port()):
        port = str(demonstration.provider_port())
        children.append(
            Child("The demonstration's provider", [python, "-m", "virtualphone", "provider", "--port", port])
        )
    return children
