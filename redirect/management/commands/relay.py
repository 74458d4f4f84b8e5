"""`manage.py relay`: keeps this machine's directory as the registry is, and hands in this machine's journals."""

import logging
import signal
import threading
import time
from datetime import timedelta
from typing import Any

import lmdb
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection

from redirect import changefeed, publishing
from redirect.directory import DirectoryUnusable, DirectoryWriter
from redirect.tasks import apply_observations

logger = logging.getLogger(__name__)

_ROUND_SECONDS = 0.05
_CLEANING_SECONDS = 60.0
# While the registry is away: soon enough to go on when it is back, seldom enough not to be in its way.
_PAUSE_SECONDS = 0.5
_STANDBY_SECONDS = 1.0


class _Stop:
    """Whether to stop. A plain flag: an Event's lock may be held by the very code that a signal handler interrupts."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, *_: object) -> None:
        self.asked = True

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


class Command(BaseCommand):
    """Runs until it is told to stop. A second relay on the same machine stands by."""

    help = "Carry registry changes to this machine's directory, and this machine's journals to the registry."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round, then exit")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = _Stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop.ask)
        while not stop.asked:
            try:
                with publishing.sole_writer(settings.DOOR.directory):
                    self._work(stop, once=options["once"])
                    return
            except publishing.RelayRuns as error:
                if options["once"]:
                    raise CommandError(f"{error} It carries everything there is; nothing is left to do.") from error
                stop.wait(_STANDBY_SECONDS)

    def _work(self, stop: _Stop, *, once: bool) -> None:
        writer = DirectoryWriter(settings.DOOR.directory)
        collector = publishing.JournalCollector(
            settings.DOOR.journal, kept=timedelta(hours=settings.JOURNAL_KEPT_HOURS)
        )
        bell = threading.Event()
        threading.Thread(target=_ring_when_asked, args=(bell, stop), name="bell", daemon=True).start()
        checked = False
        clean_at = time.monotonic()
        while not stop.asked:
            try:
                if not checked:
                    if changefeed.install():
                        logger.warning("The change feed was not whole; it was installed anew.")
                    checked = True
                published = publishing.publish(writer)
                handed_in = collector.hand_in()
                if handed_in:
                    bell.set()
                if time.monotonic() >= clean_at:
                    collector.delete_done(at=time.time())
                    clean_at = time.monotonic() + _CLEANING_SECONDS
                if once:
                    return
                if not published and not handed_in:
                    stop.wait(_ROUND_SECONDS)
            except (DirectoryUnusable, lmdb.Error) as problem:
                logger.error("%s It is rebuilt.", problem)
                writer.close()
            except OSError as problem:
                if once:
                    raise
                # Disk full, or a folder taken away: phones are answered from what there is.
                logger.error("The data directory cannot be used: %s", problem)
                writer.close()
                stop.wait(_PAUSE_SECONDS)
            except (OperationalError, InterfaceError, DatabaseError) as problem:
                if once:
                    raise
                logger.error("The registry cannot be reached: %s", str(problem).strip())
                connection.close()
                checked = False
                stop.wait(_PAUSE_SECONDS)
            close_old_connections()


def _ring_when_asked(bell: threading.Event, stop: _Stop) -> None:
    """Wake a worker, from a thread of its own: a broker that does not answer holds up nothing.

    Nothing depends on it: beat does the same every few seconds.
    """
    while not stop.asked:
        if bell.wait(1.0):
            bell.clear()
            try:
                apply_observations.apply_async(expires=2, retry=False)
            except Exception as problem:
                logger.debug("No bell was rung: %s", problem)
