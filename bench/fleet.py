"""The registry that everything is measured on, written straight into PostgreSQL."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg2
from django.core.management import call_command
from django.db import connection

from accounts.models import Organization
from onboarding.models import RedirectProfile, ShortCode

ORGANIZATIONS = PROFILES = 10
MODEL = "CP-8841-3PCC"
# MACs are spread, as those of real phones are: neighbours in the registry are not neighbours in the number.
_FIRST_MAC, _STEP = 0x00562B000000, 13
AT = datetime(2026, 1, 1, tzinfo=UTC)
# A target without macros: nginx, the peer, cannot print a dollar sign.
SHORT_CODE = "20480016"
TARGET = "https://cfg{}.example.net/provision/phone.xml"


@dataclass(frozen=True)
class Fleet:
    """So many devices; each MAC, serial and profile follows from the device's number."""

    devices: int

    def mac(self, number: int) -> str:
        return f"{_FIRST_MAC + number * _STEP:012X}"

    def unregistered_mac(self, number: int) -> str:
        return f"{_FIRST_MAC + number * _STEP + 1:012X}"

    def serial(self, number: int) -> str:
        return f"FCH{number:08d}"

    def profile(self, number: int) -> int:
        return 1 + number % PROFILES

    def query(self, mac: str, number: int) -> str:
        """The query string of a phone that boots."""
        return f"id={mac}:{self.serial(number)}:{MODEL}&sw=12.0.1"


def register(fleet: Fleet) -> None:
    """Make the tables, and fill them by COPY."""
    if "onboarding_device" in connection.introspection.table_names():
        raise SystemExit("The database of DATABASE_URL is not empty; the benchmarks need one of their own.")
    call_command("migrate", verbosity=0, interactive=False)
    # In a new database their ids count from 1, as the rows below expect.
    for number in range(1, ORGANIZATIONS + 1):
        Organization.objects.create(name=f"Provider {number}")
    for number in range(1, PROFILES + 1):
        RedirectProfile.objects.create(
            organization_id=number, name="Standard", targets=[TARGET.format(number)], parameters={}
        )
    ShortCode.objects.create(organization_id=1, profile_id=1, code=SHORT_CODE, enabled_at=AT, enabled_by="bench")
    columns = (
        "organization_id, mac, model, serial, label, profile_id, target, proven, claimed_at, changed_at, state, "
        "state_since, evidence_machine, evidence_sequence, resets, revision"
    )
    lines = (
        f"{fleet.profile(number)}\t{fleet.mac(number)}\t{MODEL}\t{fleet.serial(number)}\t\t{fleet.profile(number)}\t\tt\t"
        f"{AT}\t{AT}\topen\t{AT}\t\t0\t0\t0\n"
        for number in range(fleet.devices)
    )
    with connection.cursor() as cursor:
        cursor.cursor.copy_expert(f"COPY onboarding_device ({columns}) FROM STDIN", Lines(lines))
        cursor.execute("VACUUM ANALYZE")


class Lines(io.TextIOBase):
    """What COPY reads from: lines made as they are asked for."""

    def __init__(self, lines):
        self._lines = lines
        self._rest = ""

    def read(self, size=-1):
        parts = [self._rest]
        length = len(self._rest)
        for line in self._lines:
            parts.append(line)
            length += len(line)
            if length >= size:
                break
        text = "".join(parts)
        self._rest = text[size:]
        return text[:size]


def copy_database(name: str) -> str:
    """Copy the database, for a peer that is to begin where we begin; gives the parameters for psycopg2."""
    parameters = connection.get_connection_params()
    present = parameters["dbname"]
    connection.close()
    server = _as_text(parameters | {"dbname": "template1"})
    administration = psycopg2.connect(server)
    administration.autocommit = True
    with administration.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{present}"')
    administration.close()
    return _as_text(parameters | {"dbname": name})


def _as_text(parameters: dict[str, object]) -> str:
    names = ("dbname", "user", "password", "host", "port")
    return " ".join(f"{name}={parameters[name]}" for name in names if parameters.get(name))
