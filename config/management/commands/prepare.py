"""`manage.py prepare`: what must be done before the processes of a new version start, and before the first start."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from django.utils import timezone

from config import demonstration


class Command(BaseCommand):
    """Migrates, collects static files, and makes the first operator. May be run any number of times."""

    help = (
        "Bring the database to this version, collect static files, and create the operator `admin` if there is nobody."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            call_command("migrate", verbosity=1, interactive=False, stdout=self.stdout)
        except OperationalError as error:
            raise CommandError(f"DATABASE_URL: {str(error).splitlines()[0]}") from error
        call_command("collectstatic", verbosity=0, interactive=False)
        first = demonstration.prepare(demo=False, at=timezone.now())
        if first is not None:
            self.stdout.write(f"The operator is admin, password {first.admin_password}")
