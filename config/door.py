"""Builds the door as the environment describes it. Loads no Django."""

from config import phones
from redirect.door import Application, Door


def build(configuration: phones.DoorConfiguration, behind: Application | None = None) -> Door:
    """The door as the environment describes it."""
    return Door(
        directory=configuration.directory,
        journal=configuration.journal,
        machine=phones.machine_name(),
        public_url=configuration.public_url,
        edos_path=configuration.edos_path,
        short_code_path=configuration.short_code_path,
        beacon_path=configuration.beacon_path,
        report_path=configuration.report_path,
        secret_key=configuration.secret_key,
        trusted_proxies=configuration.trusted_proxies,
        behind=behind,
    )
