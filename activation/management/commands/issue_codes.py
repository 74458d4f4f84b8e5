"""`manage.py issue_codes`: issue activation codes and print them as CSV, once."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import Organization
from activation import handover, issuing
from activation.vault import Vault
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import RedirectProfile


class Command(BaseCommand):
    help = "Issue activation codes. They are printed as CSV on standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", required=True, metavar="NAME")
        parser.add_argument("--profile", required=True, metavar="NAME", help="the redirect profile's name")
        parser.add_argument("--count", type=int, default=1, metavar="N", help="from 1 to 10000; default: 1")
        parser.add_argument("--hours", type=float, default=168.0, metavar="N", help="how long they live; default: 168")
        parser.add_argument("--model", default="", help="work on phones of this model only")
        parser.add_argument("--mac", default="", help="works on this phone only")
        parser.add_argument("--serial", default="", help="works on this phone only")
        parser.add_argument("--label", default="", help="whose phones they will be, or where")
        parser.add_argument("--email", default="", help="the code is sent there")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = Organization.objects.filter(name=options["organization"]).first()
        if organization is None:
            raise CommandError(f"There is no organization {options['organization']!r}. Create it in the admin first.")
        profile = RedirectProfile.objects.filter(organization=organization, name=options["profile"]).first()
        if profile is None:
            raise CommandError(f"{organization} has no profile {options['profile']!r}. Create it in the admin first.")
        if not 0 < options["hours"] <= 8760:
            raise CommandError("--hours is more than 0 and at most 8760.")
        try:
            issued = issuing.issue(
                actor=Actor("command", "issue_codes"),
                organization=organization,
                profile=profile,
                count=options["count"],
                model=ModelName.parse(options["model"]) if options["model"] else None,
                mac=MacAddress.parse(options["mac"]) if options["mac"] else None,
                serial=SerialNumber.parse(options["serial"]) if options["serial"] else None,
                label=options["label"],
                email=options["email"],
                lifetime=timedelta(hours=options["hours"]),
                at=timezone.now(),
                vault=Vault(settings.CODE_KEYS),
            )
        except OnboardingError as error:
            raise CommandError(f"{error.detail} {error.remedy}") from error
        self.stdout.write(handover.csv_text(issued), ending="")
