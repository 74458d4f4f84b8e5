"""Django's `migrate`, and then the triggers made whole: SQLite rebuilds tables without theirs."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connection

from accounts import appendonly
from accounts.models import AuditHead
from redirect import changefeed
from redirect.models import RegistryEpoch


class Command(migrate.Command):
    """Applies migrations, and reinstalls the change feed and the audit's guard."""

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        tables = connection.introspection.table_names()
        # A partial migration may stop before these tables are there.
        if AuditHead._meta.db_table in tables:
            appendonly.install()
        if RegistryEpoch._meta.db_table in tables and changefeed.install() and options["verbosity"]:
            self.stdout.write("The change feed was installed; directories will be rebuilt.")
