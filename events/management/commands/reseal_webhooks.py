"""`manage.py reseal_webhooks`: after a new key was put in front of CODE_KEYS, put every webhook's secret under it."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.seals import Seal
from events import webhooks
from onboarding.errors import OnboardingError


class Command(BaseCommand):
    help = (
        "Put every webhook's secret under the first of CODE_KEYS, beside running traffic. "
        "Restart all processes with the new list first; take the old key off it afterwards."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = webhooks.reseal(seal=Seal(settings.CODE_KEYS, purpose=webhooks.SEALED))
        except OnboardingError as error:
            raise CommandError(f"{error.detail} {error.remedy}") from error
        self.stdout.write(f"{count:,} webhooks sealed anew.")
