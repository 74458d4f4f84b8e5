"""The backend: Django's own, on the SQLite that `pysqlite3` brings. Refuses builds that can corrupt a WAL database.

The substitution happens here, when Django loads the backend, and in no other process: the door loads no database.
"""

import sys

import pysqlite3
from django.core.exceptions import ImproperlyConfigured

# Releases before this can corrupt a database in WAL mode that several processes use (sqlite.org, "WAL-reset bug").
FIRST_SOUND_VERSION = (3, 51, 3)

if pysqlite3.sqlite_version_info < FIRST_SOUND_VERSION:
    raise ImproperlyConfigured(
        f"DATABASE_URL: SQLite {pysqlite3.sqlite_version} can corrupt the database; "
        f"{'.'.join(map(str, FIRST_SOUND_VERSION))} or later is needed. Install requirements/runtime.txt."
    )
sys.modules["sqlite3"] = pysqlite3
sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2

from django.db.backends.sqlite3 import base  # noqa: E402  (only after the substitution)

if base.Database is not pysqlite3.dbapi2:  # type: ignore[attr-defined]  # the stubs do not name it
    raise ImproperlyConfigured("DATABASE_URL: the system's SQLite was loaded before config.sqlite; load it first.")

DatabaseWrapper = base.DatabaseWrapper
