"""`manage.py import_devices`: import, assign or release the devices of a file, in the foreground."""

import sys
import time
import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import Organization
from onboarding.errors import OnboardingError
from onboarding.models import RedirectProfile
from operations import receiving, reporting, running
from operations.models import Operation, Sheet

_MOST_SHOWN = 100
_PATIENCE_SECONDS = 1.0


class Command(BaseCommand):
    help = (
        "Import the devices of a CSV file (`-` reads standard input), or assign a profile to them, or release them. "
        "Ends with status 1 if any row fails. If it is killed, the worker goes on with what it began."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE")
        parser.add_argument("--organization", required=True, metavar="NAME")
        parser.add_argument("--profile", default="", metavar="NAME", help="for rows that name none: its name or id")
        parser.add_argument("--dry-run", action="store_true", help="tell what the run would do, and change nothing")
        kinds = parser.add_mutually_exclusive_group()
        kinds.add_argument(
            "--assign", action="store_const", dest="kind", const="assign", help="give them profiles only"
        )
        kinds.add_argument("--release", action="store_const", dest="kind", const="release", help="release them")
        parser.add_argument("--results", type=Path, metavar="FILE", help="write one line a row there, as CSV")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = Organization.objects.filter(name=options["organization"]).first()
        if organization is None:
            raise CommandError(f"There is no organization {options['organization']!r}. Create it in the admin first.")
        try:
            sheet = self._receive(organization, options["file"])
            self._tell(sheet)
            operation = running.start(
                actor=Actor("command", "import_devices"), sheet=sheet, kind=options["kind"] or "import",
                dry_run=options["dry_run"], profile=self._profile(organization, options["profile"]), at=timezone.now(),
            )  # fmt: skip
        except OnboardingError as error:
            raise CommandError(f"{error.detail} {error.remedy}") from error
        self._run(operation)
        self._report(operation, options["results"])

    def _receive(self, organization: Organization, name: str) -> Sheet:
        if name == "-":
            return receiving.receive_csv(organization=organization, stream=sys.stdin.buffer, at=timezone.now())
        try:
            with Path(name).open("rb") as file:
                return receiving.receive_csv(
                    organization=organization, stream=file, file_name=Path(name).name, at=timezone.now()
                )
        except OSError as error:
            raise CommandError(f"{name} cannot be read: {error.strerror}.") from error

    def _tell(self, sheet: Sheet) -> None:
        columns = ", ".join(f"{column} ({heading})" for column, heading in sheet.columns.items())
        self.stdout.write(f"{sheet.total:,} rows with {columns}.")
        if sheet.ignored:
            self.stdout.write(f"Ignored: {', '.join(sheet.ignored)}.")

    def _profile(self, organization: Organization, name: str) -> RedirectProfile | None:
        if not name:
            return None
        mine = RedirectProfile.objects.filter(organization=organization)
        found: RedirectProfile | None = None
        if name.isascii() and name.isdecimal() and len(name) < 19:
            found = mine.filter(pk=int(name)).first()
        found = found or mine.filter(name=name).first()
        if found is None:
            raise CommandError(f"{organization} has no profile {name!r}. Create it in the admin first.")
        return found

    def _run(self, operation: Operation) -> None:
        """Do every part here, as the worker would; it goes on with them should this process die."""
        lease = uuid.uuid4().hex
        shown_at = 0.0
        while not operation.is_over:
            at = timezone.now()
            if running.lease_it(operation, lease, at=at):
                running.do_part(operation.pk, lease, at=at, own=settings.OWN_ADDRESSES)
            else:
                # A worker is at it; or an earlier operation of the organization, which is none of ours to overtake.
                time.sleep(_PATIENCE_SECONDS)
            operation.refresh_from_db()
            if self.stderr.isatty() and time.monotonic() - shown_at > 0.2:
                shown_at = time.monotonic()
                self._show(operation)
        if self.stderr.isatty():
            self._show(operation)
            self.stderr.write("")

    def _show(self, operation: Operation) -> None:
        progress = reporting.progress(operation, at=timezone.now())
        left = f", about {progress.seconds_left} s left" if progress.seconds_left else ""
        self.stderr.write(f"\r{operation.processed:,} of {operation.total:,} rows{left}   ", ending="")
        self.stderr.flush()

    def _report(self, operation: Operation, results: Path | None) -> None:
        if results is not None:
            with results.open("wb") as file:
                file.writelines(reporting.results_csv(operation))
        counts = ", ".join(f"{getattr(operation, name):,} {name}" for name in reporting.STATUSES)
        self.stdout.write(f"{'Dry run: ' if operation.dry_run else ''}{counts}.")
        for result in reporting.results(operation, most=_MOST_SHOWN, status="failed"):
            self.stdout.write(f"row {result.row}: {result.mac or '-'}: {result.code}: {result.detail}")
        if operation.failed > _MOST_SHOWN:
            self.stdout.write(f"… and {operation.failed - _MOST_SHOWN:,} more; --results FILE writes them all.")
        if operation.status != "done":
            raise CommandError(f"The operation is {operation.status}. {operation.reason}")
        if operation.failed:
            raise CommandError(f"{operation.failed:,} of {operation.total:,} rows failed.")
