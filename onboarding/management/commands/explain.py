"""`manage.py explain MAC`: what this phone would be answered now, and why. For the operator, who sees all devices."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from onboarding import answers, registrations, targethealth
from onboarding.answers import Links
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.registration import PhoneQuery

_MARKS = {"passed": "✓", "refused": "✗", "applied": "→"}


class Command(BaseCommand):
    """Prints the rules tried, the outcome, what to do, and the document that the phone would get."""

    help = "Explain what a phone would be answered now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("mac", help="in any usual notation")
        parser.add_argument("--model", default="", help="what the phone says it is; the registered model by default")
        parser.add_argument("--serial", default="", help="what the phone says; the registered serial by default")
        parser.add_argument("--firmware", default="", help="what the phone says")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            mac = MacAddress.parse(options["mac"])
            registration = registrations.for_mac(mac)
            model = ModelName.parse(options["model"]).text if options["model"] else ""
            serial = SerialNumber.parse(options["serial"]).text if options["serial"] else ""
        except OnboardingError as error:
            raise CommandError(f"{error.detail} {error.remedy}") from error
        query = PhoneQuery(
            mac,
            model or (registration.model if registration else ""),
            serial or (registration.serial if registration else ""),
            options["firmware"],
        )
        answer = answers.decide(query, registration, timezone.now().timestamp())
        for rule, result in answer.tried:
            self.stdout.write(f"  {_MARKS[result]} {rule}")
        if answer.remedy:
            self.stdout.write(answer.remedy)
        for row in targethealth.skipped(answer.profile.id, answer.target) if answer.profile else []:
            self.stdout.write(f"Passed over, since it fails: {row.target} ({targethealth.said(row)})")
        document = answers.document(
            answer, lambda: Links("(the phone's own beacon URL)", "(the phone's own report URL)")
        )
        self.stdout.write(document.decode() if document else "The phone gets an empty answer (state Unavailable).")
