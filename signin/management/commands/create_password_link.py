"""`manage.py create_password_link USER`: for an operator who forgot the password or is locked out by guessers."""

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import User
from signin import passwords


class Command(BaseCommand):
    help = "Make a link to choose a new password, good once and for a day. It is printed alone on standard output."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("user", metavar="USER", help="the user name, as typed to sign in")

    def handle(self, *args: Any, **options: Any) -> None:
        person = User.objects.filter(username=options["user"], is_active=True).first()
        if person is None:
            raise CommandError(f"There is no active account with the user name {options['user']!r}.")
        parts = passwords.make_link(person, actor=Actor("command", "create_password_link"), at=timezone.now())
        self.stdout.write(f"{settings.PUBLIC_URL}{reverse('admin:new_password', args=parts)}")
