"""`manage.py explain MAC`: what this phone would be answered now, and why. For the operator, who sees all devices."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from onboarding import answers, registrations, targethealth
from onboarding.answers import Links
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.registration import PhoneQuery
from trust import authorities, certificates
from trust.identity import Certified, Verdict
from trust.verifying import Verifier

# What the verdict on a certificate means here.
_VERDICTS = {
    Verdict.VALID: "The certificate is valid.",
    Verdict.EXPIRED: "The certificate has expired; the profile decides whether it counts.",
    Verdict.NOT_YET_VALID: "The certificate is not valid yet.",
    Verdict.REVOKED: "The certificate was revoked.",
    Verdict.UNTRUSTED: "No authority that is loaded vouches for the certificate (manage.py trust list).",
    Verdict.WEAK_KEY: "The certificate's key, or one above it, is too small to be believed.",
    Verdict.UNREADABLE: "The certificate cannot be read.",
}
_MARKS = {"passed": "✓", "refused": "✗", "applied": "→"}


class Command(BaseCommand):
    """Prints the rules tried, the outcome, what to do, and the document that the phone would get."""

    help = "Explain what a phone would be answered now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("mac", help="in any usual notation")
        parser.add_argument("--model", default="", help="what the phone says it is; the registered model by default")
        parser.add_argument("--serial", default="", help="what the phone says; the registered serial by default")
        parser.add_argument("--firmware", default="", help="what the phone says")
        shows = parser.add_mutually_exclusive_group()
        shows.add_argument(
            "--certificate", type=Path, metavar="FILE", help="the certificate that the phone shows (PEM or DER)"
        )
        shows.add_argument("--certified-mac", default="", metavar="MAC", help="the MAC that its certificate proves")

    def _certified(self, options: dict[str, Any]) -> Certified | None:
        """The identity that the phone's certificate proves. Raises OnboardingError, CommandError."""
        if options["certified_mac"]:
            return Certified(MacAddress.parse(options["certified_mac"]))
        if options["certificate"] is None:
            return None
        try:
            content = options["certificate"].read_bytes()
        except OSError as error:
            raise CommandError(f"{options['certificate']} cannot be read: {error.strerror}.") from error
        der = certificates.decode(content)
        shown = Verifier(authorities.present()).verify(der, at=timezone.now().timestamp())
        self.stdout.write(_VERDICTS[shown.verdict])
        if shown.weak:
            self.stdout.write("It is held together by SHA-1, which the operator allows for its root.")
        named = "names no phone: it is a generic one" if shown.subject.is_generic else f"names {shown.subject.mac}"
        if shown.verdict is not Verdict.UNREADABLE:
            self.stdout.write(f"It {named}{f', a {shown.subject.model}' if shown.subject.model else ''}.")
        return shown.certified

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            mac = MacAddress.parse(options["mac"])
            registration = registrations.for_mac(mac)
            model = ModelName.parse(options["model"]).text if options["model"] else ""
            serial = SerialNumber.parse(options["serial"]).text if options["serial"] else ""
            certified = self._certified(options)
        except OnboardingError as error:
            raise CommandError(f"{error.detail} {error.remedy}") from error
        query = PhoneQuery(
            mac,
            model or (registration.model if registration else ""),
            serial or (registration.serial if registration else ""),
            options["firmware"],
            certified,
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
