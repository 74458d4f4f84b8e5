"""`manage.py rebuild_directory`: make this machine's directory anew, while its doors go on answering."""

import sys
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from redirect import publishing
from redirect.directory import DirectoryWriter

_PATIENCE_SECONDS = 600


class Command(BaseCommand):
    """Does it itself, or has the running relay do it."""

    help = "Rebuild this machine's directory from the registry, under running doors."

    def handle(self, *args: Any, **options: Any) -> None:
        folder = settings.DOOR.directory
        try:
            with publishing.sole_writer(folder):
                count = publishing.rebuild(DirectoryWriter(folder), self._show)
        except publishing.RelayRuns:
            self._ask_relay(folder)
        else:
            self.stdout.write(f"The directory was built with {count} entries.")

    def _ask_relay(self, folder: Any) -> None:
        publishing.request_rebuild(folder)
        until = time.monotonic() + _PATIENCE_SECONDS
        while publishing.rebuild_requested(folder):
            if time.monotonic() > until:
                raise CommandError("The relay did not rebuild the directory; see its log.")
            time.sleep(0.1)
        self.stdout.write("The relay rebuilt the directory.")

    def _show(self, count: int) -> None:
        if sys.stderr.isatty():
            self.stderr.write(f"\r{count} entries", ending="")
            self.stderr.flush()
