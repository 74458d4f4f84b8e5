"""Typed readers of the environment: loud on bad values, and every secret may come from a file (`NAME_FILE`).

Each reader raises ConfigurationError, whose one line names the variable; `manage.py` and the servers print it and stop.
"""

import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ConfigurationError(Exception):
    """A variable of the environment has a value that cannot be used."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")


def text(name: str, default: str = "") -> str:
    """The value of NAME, or of the file that NAME_FILE names. Both at once are a contradiction."""
    direct, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if direct is not None and path is not None:
        raise ConfigurationError(name, f"is given twice, directly and by {name}_FILE; keep one.")
    if path is not None:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{name}_FILE", f"cannot be read: {error}") from error
    return default if direct is None or not direct.strip() else direct.strip()


def number(name: str, default: int, *, least: int, most: int) -> int:
    """A whole number between `least` and `most`."""
    value = text(name, str(default))
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
        raise ConfigurationError(name, f"{value!r} is not a whole number from {least} to {most}.")
    return int(value)


def flag(name: str, *, default: bool) -> bool:
    """`1` or `0`."""
    value = text(name, "1" if default else "0")
    if value not in {"0", "1"}:
        raise ConfigurationError(name, f"{value!r} is neither 1 nor 0.")
    return value == "1"


def words(name: str, default: Iterable[str] = ()) -> list[str]:
    """A list, divided by commas."""
    value = text(name)
    return [word.strip() for word in value.split(",") if word.strip()] if value else list(default)


def networks(name: str) -> list[Network]:
    """A list of networks in CIDR notation."""
    try:
        return [ipaddress.ip_network(word) for word in words(name)]
    except ValueError as error:
        raise ConfigurationError(name, f"{error}.") from error


def path(name: str, default: str) -> str:
    """An absolute URL path without blanks or a query."""
    value = text(name, default)
    if not value.startswith("/") or value.endswith("/") or any(mark in value for mark in " ?#%") or "//" in value:
        raise ConfigurationError(name, f"{value!r} is not a path such as {default}.")
    return value


def base_url(name: str, default: str) -> str:
    """An http or https URL without path, query or trailing slash."""
    value = text(name, default).rstrip("/")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.path or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(name, f"{value!r} is not a URL such as https://activate.example.net.")
    return value


def secret(name: str, file: Path, *, make: str) -> str:
    """A secret of at least 32 characters: given, or kept in `file`, where `make` is written the first time."""
    given = text(name)
    if given:
        if len(given) < 32 or len(set(given)) < 10:
            raise ConfigurationError(name, "is weak; give at least 32 random characters.")
        return given
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Exclusive creation: of two processes that start at once, one writes and both read the same.
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError("DATA_DIR", f"cannot be written: {error}") from error
    else:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(make)
            handle.flush()
            os.fsync(handle.fileno())
    kept = file.read_text(encoding="utf-8").strip()
    if len(kept) < 32:
        raise ConfigurationError(name, f"{file} is damaged; restore it from a backup.")
    return kept


def database(name: str, sqlite_file: Path) -> dict[str, object]:
    """Django's settings for a `postgresql://user:password@host:port/name` URL, or for SQLite in `sqlite_file`."""
    url = text(name)
    if not url:
        return {
            "ENGINE": "config.sqlite",
            "NAME": sqlite_file,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                # FULL keeps the last commits through a power cut; recursive triggers make REPLACE fire the change feed.
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA recursive_triggers=ON;",
            },
        }
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(name, f"cannot be read: {error}.") from error
    if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
        raise ConfigurationError(name, "is not postgresql://user:password@host:port/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 5},
    }
