"""Django's `migrate`, and then the change feed made whole: SQLite rebuilds tables without their triggers."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connection

from redirect import changefeed
from redirect.models import RegistryEpoch


class Command(migrate.Command):
    """Applies migrations and reinstalls the change feed."""

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        # A partial migration may stop before the feed's tables are there.
        if (
            RegistryEpoch._meta.db_table in connection.introspection.table_names()
            and changefeed.install()
            and options["verbosity"]
        ):
            self.stdout.write("The change feed was installed; directories will be rebuilt.")
