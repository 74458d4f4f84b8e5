"""`manage.py reset_second_factor USER`: for whoever lost every second factor and has no administrator to ask."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import User
from signin import factors


class Command(BaseCommand):
    help = (
        "Take a person's second factors and recovery codes away and end their sessions. The password stays; where a "
        "second factor is required, the next sign-in leads to setting one up."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("user", metavar="USER", help="the user name, as typed to sign in")

    def handle(self, *args: Any, **options: Any) -> None:
        person = User.objects.filter(username=options["user"]).first()
        if person is None:
            raise CommandError(f"There is nobody with the user name {options['user']!r}.")
        taken = factors.reset(person, actor=Actor("command", "reset_second_factor"), at=timezone.now())
        self.stdout.write(
            f"{person.get_username()}: second factors taken away: {taken}. All sessions ended."
            if taken
            else f"{person.get_username()} had no second factor; all sessions are ended."
        )
