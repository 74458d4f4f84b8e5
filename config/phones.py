"""What the door needs from the environment, read without Django: a door may run alone on a machine of its own."""

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from config import env

# Answered by the door and the service themselves.
_PROBES = ("/healthz", "/readyz", "/metrics")


@dataclass(frozen=True, slots=True)
class DoorConfiguration:
    """Paths of the phones' requests, where the two local files are, and the secret that tokens are made from."""

    data_dir: Path
    public_url: str
    edos_path: str
    short_code_path: str
    activation_path: str
    beacon_path: str
    report_path: str
    secret_key: str
    trusted_proxies: tuple[env.Network, ...]

    @property
    def directory(self) -> Path:
        return self.data_dir / "directory"

    @property
    def journal(self) -> Path:
        return self.data_dir / "journal"


def data_dir() -> Path:
    """DATA_DIR, absolute."""
    return Path(env.text("DATA_DIR", "var")).absolute()


def secret_key(directory: Path) -> str:
    """SECRET_KEY, generated into the data directory once."""
    return env.secret("SECRET_KEY", directory / "secrets" / "secret_key", make=secrets.token_urlsafe(48))


def read() -> DoorConfiguration:
    """Read the environment. Raises env.ConfigurationError."""
    directory = data_dir()
    host, port = env.host("HOST", "127.0.0.1"), env.number("PORT", 8000, least=1, most=65535)
    shown = f"[{host}]" if ":" in host else host
    configuration = DoorConfiguration(
        data_dir=directory,
        public_url=env.base_url("PUBLIC_URL", f"http://{shown}:{port}"),
        edos_path=env.path("EDOS_PATH", "/software/edos/callhome/rc"),
        short_code_path=env.path("SHORT_CODE_PATH", "/software/edos/callhome/cda"),
        activation_path=env.path("ACTIVATION_PATH", "/gds/activate"),
        beacon_path=env.path("BEACON_PATH", "/software/edos/callhome/acquired"),
        report_path=env.path("REPORT_PATH", "/software/edos/callhome/report"),
        secret_key=secret_key(directory),
        trusted_proxies=tuple(env.networks("TRUSTED_PROXIES")),
    )
    names = ("EDOS_PATH", "SHORT_CODE_PATH", "ACTIVATION_PATH", "BEACON_PATH", "REPORT_PATH")
    paths = dict.fromkeys(_PROBES, "a probe")
    for name in names:
        value = getattr(configuration, name.lower())
        if value in paths:
            raise env.ConfigurationError(name, f"is the same path as that of {paths[value]}.")
        paths[value] = name
    return configuration


def read_or_stop() -> DoorConfiguration:
    """Read the environment for a server's process; one that cannot be used ends the process with one line."""
    try:
        return read()
    except env.ConfigurationError as error:
        sys.exit(f"Cannot start. {error}")


def machine_name() -> str:
    """What this machine is called in journals: stable over reboots, unique among doors."""
    return os.uname().nodename
