"""`manage.py prepare`, which a deployment runs before the processes of a new version: any number of times."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_database


def _prepare(data: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "manage.py", "prepare"],
        env=environment | {"DATA_DIR": str(data), "ADMIN_PASSWORD": "a-password-of-this-test"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_it_makes_the_database_the_pages_files_and_one_operator_without_telling_a_given_password(
    tmp_path: Path,
) -> None:
    first, second = _prepare(tmp_path), _prepare(tmp_path)

    assert "operator is admin" in first
    assert "operator" not in second
    assert "No migrations to apply" in second
    assert "a-password-of-this-test" not in first + second
    assert (tmp_path / "registry.sqlite3").exists()
    assert any((tmp_path / "static").iterdir())
    # No demonstration: a production service has no example phones.
    assert "demo" not in first.lower()
