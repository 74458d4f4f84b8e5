"""`manage.py reseal_codes`: after a new key was put in front of CODE_KEYS, put every code under it."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from activation import issuing
from activation.vault import Vault
from onboarding.errors import OnboardingError


class Command(BaseCommand):
    help = (
        "Put every activation code under the first of CODE_KEYS, beside running traffic. "
        "Restart all processes with the new list first; take the old key off it afterwards."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        seen = changed = 0
        try:
            for step in issuing.reseal(vault=Vault(settings.CODE_KEYS)):
                seen, changed = step
                if self.stderr.isatty():
                    self.stderr.write(f"\r{seen:,} codes", ending="")
        except OnboardingError as error:
            raise CommandError(f"{error.detail} {error.remedy}") from error
        if self.stderr.isatty() and seen:
            self.stderr.write("")
        self.stdout.write(f"{seen:,} codes, {changed:,} of them sealed anew.")
