"""`manage.py verify_directory`: compare this machine's directory with the registry and name every difference."""

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from redirect import publishing
from redirect.directory import DirectoryUnusable
from redirect.publishing import Difference

_NAMES = {b"d": "device", b"p": "profile", b"o": "suspended organization"}


class Command(BaseCommand):
    """Exit status 1 and a list when they differ."""

    help = "Compare this machine's directory with the registry; list every difference."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--most", type=int, default=1000, help="stop after so many differences (default 1000)")
        parser.add_argument(
            "--settle", type=float, default=2.0, help="seconds in which a change may be on its way (default 2)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        folder = settings.DOOR.directory
        try:
            found = publishing.differences(folder, most=options["most"])
            if found:
                # What was on its way a moment ago is no difference.
                time.sleep(options["settle"])
                again = set(publishing.differences(folder, most=options["most"]))
                found = [difference for difference in found if difference in again]
        except DirectoryUnusable as problem:
            raise CommandError(str(problem)) from problem
        for difference in found:
            self.stdout.write(_line(difference))
        if found:
            raise CommandError(f"{len(found)} differences. Run manage.py rebuild_directory.")
        self.stdout.write("The directory is as the registry is.")


def _line(difference: Difference) -> str:
    kind, rest = difference.key[:1], difference.key[1:]
    name = rest.hex().upper() if kind == b"d" else str(int.from_bytes(rest, "big"))
    return f"{difference.kind:8} {_NAMES.get(kind, 'entry')} {name}"
