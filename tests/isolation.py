"""Loaded before anything reads its settings: tests never touch the data directory of a service that runs here."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests import postgresql

# In memory where the machine offers it, so that the database's syncing costs nothing.
_memory = Path("/dev/shm")
DATA_DIR = Path(tempfile.mkdtemp(prefix="onboarding-test-", dir=_memory if os.access(_memory, os.W_OK) else None))
atexit.register(shutil.rmtree, DATA_DIR, ignore_errors=True)
# Where collected static files would be: WhiteNoise warns of a folder that is not there.
(DATA_DIR / "static").mkdir()

os.environ["DATA_DIR"] = str(DATA_DIR)
for name in (
    "HOST",
    "PORT",
    "PUBLIC_URL",
    "SECRET_KEY",
    "CODE_KEYS",
    "ALLOWED_HOSTS",
    "TRUSTED_PROXIES",
    "CELERY_BROKER_URL",
):
    os.environ.pop(name, None)
# Django empties tables between tests by TRUNCATE, which the change feed refuses otherwise.
os.environ.setdefault("PGOPTIONS", "-c onboarding.truncate=allowed")

# Of several test processes each has a server of its own: some tests end all its connections, or look at all its
# transactions.
_server: postgresql.Server | None = None
if "PYTEST_XDIST_WORKER" in os.environ and postgresql.MARK in os.environ:
    _server = postgresql.Server()
    _server.start()
    os.environ["DATABASE_URL"] = _server.url()


def pytest_unconfigure() -> None:
    if _server is not None:
        _server.remove()
