"""Typed readers of the environment: loud on bad values, and every secret may come from a file (`NAME_FILE`).

Each reader raises ConfigurationError, whose one line names the variable; `manage.py` and the servers print it and stop.
"""

import ipaddress
import os
import re
import ssl
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"[A-Za-z0-9._-]+")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")
_BASE_URL = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


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
            kept = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{name}_FILE", f"cannot be read: {error}") from error
        if not kept:
            # Never the default instead: a secret or a database that was meant to be given would be replaced silently.
            raise ConfigurationError(f"{name}_FILE", f"{path!r} is empty.")
        return kept
    return default if direct is None or not direct.strip() else direct.strip()


def number(name: str, default: int, *, least: int, most: int) -> int:
    """A whole number between `least` and `most`."""
    value = text(name, str(default))
    if not re.fullmatch(r"[0-9]{1,12}", value) or not least <= int(value) <= most:
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


def certificates(name: str) -> str:
    """The path of a file of PEM certificates; empty for none."""
    value = text(name)
    if value:
        try:
            ssl.create_default_context().load_verify_locations(cafile=value)
        except (OSError, ValueError) as error:
            raise ConfigurationError(name, f"{value!r} cannot be read as PEM certificates: {error}") from error
    return value


def host(name: str, default: str) -> str:
    """A host name or an IP address."""
    value = text(name, default)
    try:
        usable = bool(_HOST.fullmatch(value) or ipaddress.ip_address(value))
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(name, f"{value!r} is not an address such as {default}.")
    return value


def path(name: str, default: str) -> str:
    """An absolute URL path of plain characters, without a query or a slash at its end."""
    value = text(name, default)
    if not _PATH.fullmatch(value):
        raise ConfigurationError(name, f"{value!r} is not a path such as {default}.")
    return value


def base_url(name: str, default: str) -> str:
    """An http or https URL without path, query or trailing slash."""
    value = text(name, default).rstrip("/")
    try:
        parts = urlsplit(value)
        usable = bool(_BASE_URL.fullmatch(value)) and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(name, f"{value!r} is not a URL such as https://activate.example.net.")
    return value


def host_names(name: str, default: Iterable[str]) -> list[str]:
    """Names that requests may be addressed to; `.example.net` takes all names below it, `*` any name."""
    found = words(name, default)
    for value in found:
        if value != "*" and not re.fullmatch(r"\.?[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", value):
            raise ConfigurationError(name, f"{value!r} is not a host name.")
    return found


def broker(name: str, default: str) -> str:
    """The URL of a broker that this service knows how to use."""
    value = text(name, default)
    if urlsplit(value).scheme not in {"amqp", "amqps", "redis", "rediss", "filesystem"}:
        raise ConfigurationError(name, "is not an amqp:// or redis:// URL.")
    return value


def secrets(name: str, file: Path, *, make: str) -> list[str]:
    """A list of secrets, divided by commas, each as strong as one; or the one that is kept in `file`."""
    given = words(name)
    for value in given:
        _check_strength(name, value)
    return given or [secret(name, file, make=make)]


def _check_strength(name: str, value: str) -> None:
    if len(value) < 32 or len(set(value)) < 10:
        raise ConfigurationError(name, "is weak; give at least 32 random characters.")


def secret(name: str, file: Path, *, make: str) -> str:
    """A secret of at least 32 characters: given, or kept in `file`, where `make` is written the first time."""
    given = text(name)
    if given:
        _check_strength(name, given)
        return given
    try:
        if not file.exists():
            _keep(file, make)
        kept = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError("DATA_DIR", f"cannot be used: {error}") from error
    except UnicodeDecodeError:
        kept = ""
    if len(kept) < 32:
        raise ConfigurationError(name, f"{file} is damaged; restore it from a backup.")
    return kept


def _keep(file: Path, content: str) -> None:
    """Write a new file whole or not at all: of processes that start at once, one writes and all read the same."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, unfinished = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        with suppress(FileExistsError):
            os.link(unfinished, file)
    finally:
        os.unlink(unfinished)


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
        usable = parts.scheme in {"postgresql", "postgres"} and parts.port != 0 and bool(parts.path.strip("/"))
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        # Not shown: it holds a password.
        raise ConfigurationError(name, "is not postgresql://user:password@host:port/name (special characters as %XX).")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        # A server that vanished without a word is given up within seconds, not when TCP does.
        "OPTIONS": {
            "connect_timeout": 5,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
        },
    }


def mail(name: str, default_from: str) -> dict[str, object]:
    """Django's settings for a `smtp://user:password@host:port` URL; none for none.

    `smtp` uses STARTTLS (`smtp+plain` does without, for a relay on the same machine), `smtps` TLS from the start.
    """
    url = text(name)
    sender = text("EMAIL_FROM", default_from)
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend", "DEFAULT_FROM_EMAIL": sender}
    ports = {"smtp": 587, "smtp+plain": 25, "smtps": 465}
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ports and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.path.strip("/") or parts.query or parts.fragment:
        # Not shown: it holds a password.
        raise ConfigurationError(name, "is not smtp://user:password@host:port (special characters as %XX).")
    if not re.fullmatch(r"[^\s@<>]+@[^\s@<>]+|[^@<>\r\n]+ <[^\s@]+@[^\s@]+>", sender):
        raise ConfigurationError("EMAIL_FROM", f"{sender!r} is not an address such as phones@example.net.")
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or ports[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_TIMEOUT": 10,
        "DEFAULT_FROM_EMAIL": sender,
    }
