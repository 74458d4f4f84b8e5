"""`manage.py trust`: which manufacturers' certificates are believed. What is expiring is said each time."""

from datetime import UTC
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.actors import Actor
from onboarding.errors import OnboardingError
from trust import authorities
from trust.models import Authority, RevocationList
from trust.verifying import MAX_LIST_OCTETS

_ACTOR = Actor("command", "trust")


class Command(BaseCommand):
    help = (
        "Load, list and remove the authorities of manufacturers by whose certificates phones prove who they are, and "
        "the lists of certificates that they revoked. Doors know within seconds."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        add = commands.add_parser("add", help="load an authority's certificate: root or intermediate")
        add.add_argument("file", type=Path, help="one certificate, PEM or DER")
        add.add_argument("--name", default="", help="default: the certificate's own")
        add.add_argument(
            "--allow-sha1", action="store_true",
            help="believe phones below this root that are signed with SHA-1, too; they are marked weak",
        )  # fmt: skip
        commands.add_parser("list", help="what is loaded, and what expires")
        remove = commands.add_parser("remove", help="believe an authority no longer")
        remove.add_argument("name", help="its name, or the beginning of its fingerprint")
        revoke = commands.add_parser("revoke", help="load an authority's list of revoked certificates")
        revoke.add_argument("file", type=Path, help="the list, PEM or DER")

    def handle(self, *args: Any, **options: Any) -> None:
        verb = {"add": self._add, "list": self._list, "remove": self._remove, "revoke": self._revoke}
        try:
            verb[options["command"]](options)
        except OnboardingError as error:
            raise CommandError(f"{error.detail} {error.remedy}") from error
        for warning in authorities.expiring(at=timezone.now()):
            self.stderr.write(f"Warning: {warning}")

    def _add(self, options: dict[str, Any]) -> None:
        row = authorities.add(
            actor=_ACTOR, name=options["name"], content=_content(options["file"]), at=timezone.now(),
            allows_sha1=options["allow_sha1"],
        )  # fmt: skip
        kind = "root" if row.is_root else "intermediate"
        self.stdout.write(f"{row.name} is loaded ({kind}, valid until {row.expires_at.astimezone(UTC):%Y-%m-%d}).")
        if not row.is_root:
            self.stdout.write("It is believed as long as the root above it is loaded.")

    def _list(self, options: dict[str, Any]) -> None:
        rows = list(Authority.objects.order_by("name"))
        if not rows:
            self.stdout.write("No authority is loaded: no certificate proves anything. Load one with `trust add FILE`.")
        lists = {row.mark: row for row in RevocationList.objects.all()}
        for row in rows:
            kind = "root" if row.is_root else "intermediate"
            weak = ", SHA-1 allowed" if row.allows_sha1 else ""
            self.stdout.write(f"{row.name}: {kind}, valid until {row.expires_at.astimezone(UTC):%Y-%m-%d}{weak}")
            self.stdout.write(f"  {row.fingerprint}")
            if revoked := lists.get(row.mark):
                self.stdout.write(f"  {revoked.revoked} revoked, list of {revoked.issued_at.astimezone(UTC):%Y-%m-%d}")

    def _remove(self, options: dict[str, Any]) -> None:
        row = authorities.get(options["name"])
        authorities.remove(row, actor=_ACTOR, at=timezone.now())
        self.stdout.write(f"{row.name} is removed: phones below it prove nothing any more.")

    def _revoke(self, options: dict[str, Any]) -> None:
        row = authorities.load_revocations(actor=_ACTOR, content=_content(options["file"]), at=timezone.now())
        self.stdout.write(f"{row.revoked} certificates of {row.issuer} are revoked.")


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as handle:
            return handle.read(MAX_LIST_OCTETS + 1)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
