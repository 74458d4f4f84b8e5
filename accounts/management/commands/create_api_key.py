"""`manage.py create_api_key`: make a key for an organization and print it, once."""

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts import keys
from accounts.actors import Actor
from accounts.models import Organization
from onboarding.errors import OnboardingError

_USUAL = ["devices:read", "devices:write", "profiles:read", "profiles:write"]


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 3650:
        raise argparse.ArgumentTypeError("is a whole number from 1 to 3650.")
    return int(text)


class Command(BaseCommand):
    help = "Make an API key. It is printed once, alone on standard output, and kept nowhere."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--organization", required=True, metavar="NAME")
        parser.add_argument("--name", required=True, help="what the key is for")
        parser.add_argument(
            "--scope", nargs="+", action="extend", metavar="SCOPE",
            help=f"one or more of {', '.join(keys.SCOPES)}; default: {' '.join(_USUAL)}",
        )  # fmt: skip
        parser.add_argument("--expires-days", type=_days, metavar="N", help="default: it does not expire")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = Organization.objects.filter(name=options["organization"]).first()
        if organization is None:
            raise CommandError(f"There is no organization {options['organization']!r}. Create it in the admin first.")
        name = options["name"].strip()
        if not 1 <= len(name) <= 80 or not name.isprintable():
            raise CommandError("A key's name has 1 to 80 printable characters.")
        days, at = options["expires_days"], timezone.now()
        try:
            row, key = keys.create(
                actor=Actor("command", "create_api_key"),
                organization=organization,
                name=name,
                scopes=options["scope"] or _USUAL,
                at=at,
                expires_at=at + timedelta(days=days) if days else None,
            )
        except OnboardingError as error:
            raise CommandError(f"{error.detail} {error.remedy}") from error
        scopes = ", ".join(row.scopes)
        self.stderr.write(f"{row.name}, for {organization.name}: {scopes}. Keep it; it is not shown again.")
        self.stdout.write(key)
