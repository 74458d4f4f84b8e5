"""`manage.py reseal_second_factors`: after a new key was put in front of CODE_KEYS, put people's secrets under it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from onboarding.errors import OnboardingError
from signin import factors


class Command(BaseCommand):
    help = (
        "Put the secrets of authenticator apps and recovery codes under the first of CODE_KEYS, beside running traffic."
        " Restart all processes with the new list first; take the old key off it afterwards."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        sealed, last = 0, 0
        try:
            while step := factors.reseal(after=last):
                last, count = step
                sealed += count
        except OnboardingError as error:
            raise CommandError(f"{error.detail} {error.remedy}") from error
        self.stdout.write(f"{sealed:,} secrets sealed anew.")
