"""Many rows at once, in the way that each database does fastest: the state of devices, and the history.

PostgreSQL gets arrays and COPY, SQLite gets JSON and `executemany`; the meaning is the same. States are written by
`customization` alone.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

import orjson
from django.db import connection

from accounts import statements
from accounts.statements import Statement
from onboarding.models import Device, Sighting


class DeviceWrite(NamedTuple):
    """The guarded write of one device's standing: applies only to the revision and state that were seen."""

    id: int
    seen_revision: int
    seen_state: str
    state: str
    state_since: datetime
    last_seen: datetime | None
    evidence_at: datetime | None
    evidence_machine: str
    evidence_sequence: int
    resets: int
    resets_since: datetime | None
    told: int
    untold: int
    told_since: datetime | None
    changed_at: datetime


class ChangeRow(NamedTuple):
    """One history row; `evidence` is JSON already."""

    device_id: int
    organization_id: int
    mac: str
    at: datetime
    recorded_at: datetime
    event: str
    before: str
    after: str
    inferred: bool
    refused: str
    source: str
    evidence: str


class Guard(NamedTuple):
    """What must hold for a device to begin, and what follows from it, in the same statement (PostgreSQL).

    `holds` is a query that gives one row if it does; `follows` a statement that may use the table `device(id)`.
    """

    holds: Statement
    holds_values: Sequence[object]
    follows: Statement
    follows_values: Sequence[object]


_WRITE_TYPES = {
    "id": "bigint",
    "seen_revision": "bigint",
    "seen_state": "text",
    "state": "text",
    "state_since": "timestamptz",
    "last_seen": "timestamptz",
    "evidence_at": "timestamptz",
    "evidence_machine": "text",
    "evidence_sequence": "bigint",
    "resets": "int",
    "resets_since": "timestamptz",
    "told": "int",
    "untold": "int",
    "told_since": "timestamptz",
    "changed_at": "timestamptz",
}
_GUARDS = ("id", "seen_revision", "seen_state")

# A changed state ends the stall, one that was left and reached again in the same write too; every write takes the
# next revision.
_UPDATE = f"""
    UPDATE onboarding_device SET
        {", ".join(f"{name} = new.{name}" for name in _WRITE_TYPES if name not in _GUARDS)},
        revision = onboarding_device.revision + 1,
        stalled_at = CASE WHEN onboarding_device.state = new.state AND onboarding_device.state_since = new.state_since
                          THEN stalled_at END
    FROM %s
    WHERE onboarding_device.id = new.id AND revision = new.seen_revision AND onboarding_device.state = new.seen_state
    RETURNING onboarding_device.id
"""  # noqa: S608  (names of our own columns)
_ARRAYS = ", ".join(f"%s::{kind}[]" for kind in _WRITE_TYPES.values())
_UPDATE_POSTGRESQL = _UPDATE % f"unnest({_ARRAYS}) AS new({', '.join(_WRITE_TYPES)})"
_FIELDS = ", ".join(f"value ->> {position} AS {name}" for position, name in enumerate(_WRITE_TYPES))
_UPDATE_SQLITE = _UPDATE % f"(SELECT {_FIELDS} FROM json_each(%s)) AS new"  # noqa: S608  (as above)

_CHANGE_COLUMNS = ", ".join(ChangeRow._fields)
_CHANGE_KINDS = {
    "device_id": "bigint",
    "organization_id": "bigint",
    "at": "timestamptz",
    "recorded_at": "timestamptz",
    "inferred": "boolean",
    "evidence": "jsonb",
}
_COPY_CHANGES = f"COPY onboarding_statechange ({_CHANGE_COLUMNS}) FROM STDIN"
_INSERT_CHANGES = (
    f"INSERT INTO onboarding_statechange ({_CHANGE_COLUMNS}) "  # noqa: S608  (names of our own columns)
    f"VALUES ({', '.join(['%s'] * len(ChangeRow._fields))})"
)
_INSERT_CHANGE = Statement.of(_INSERT_CHANGES, [_CHANGE_KINDS.get(name, "text") for name in ChangeRow._fields])
# Up to so many rows are sent as statements, which need no turn of their own; more are copied.
_FEW = 8

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def json_text(value: Mapping[str, object]) -> str:
    """Evidence as the history keeps it: without the two characters that JSON can hold and PostgreSQL cannot."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        # A lone surrogate. (Anything else that is no JSON fails again below.)
        text = orjson.dumps(_storable(value))
    return orjson.dumps(_storable(value)).decode() if b"\\u0000" in text else text.decode()


def _storable(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(str(name)): _storable(item) for name, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list | tuple) else value


def storable(text: str) -> str:
    """The text with U+FFFD for NUL and lone surrogates, which PostgreSQL refuses: no phone's word may stop a batch."""
    return _UNSTORABLE.sub("\ufffd", text)


def write_devices(writes: Sequence[DeviceWrite]) -> set[int]:
    """Write the standings whose guards hold; gives the ids of the devices that were written."""
    if not writes:
        return set()
    # In one order everywhere, so that two writers rarely wait for each other in a circle.
    writes = sorted(writes)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_UPDATE_POSTGRESQL, [_array(column) for column in zip(*writes, strict=True)])
        else:
            adapt = connection.ops.adapt_datetimefield_value
            rows = [[adapt(v) if isinstance(v, datetime) else v for v in write] for write in writes]
            cursor.execute(_UPDATE_SQLITE, [orjson.dumps(rows).decode()])
        return {row[0] for row in cursor.fetchall()}


def _array(column: Sequence[object]) -> str:
    """A column as PostgreSQL reads arrays: one text costs both sides a third of an expression for each element.

    JSON's numbers, nulls, times and quoted texts are those of an array too, as long as no text holds control
    characters: ids, states, times and the names of machines do not.
    """
    return f"{{{orjson.dumps(column).decode()[1:-1]}}}"


def insert_changes(rows: Sequence[ChangeRow]) -> None:
    """Append history rows, in order."""
    if not rows:
        return
    if connection.vendor == "postgresql" and len(rows) <= _FEW:
        with statements.together():
            for row in rows:
                statements.write(_INSERT_CHANGE, row)
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Texts hold no tab, newline or backslash but inside `evidence`, where JSON escapes the first two.
            cursor.cursor.copy_expert(_COPY_CHANGES, io.StringIO("".join(_copy_lines(rows))))
        else:
            adapt = connection.ops.adapt_datetimefield_value
            cursor.executemany(
                _INSERT_CHANGES, [[adapt(v) if isinstance(v, datetime) else v for v in row] for row in rows]
            )


def _copy_lines(rows: Sequence[ChangeRow]) -> Iterator[str]:
    # The rows of one query bear one time, and those of one call were recorded at one: each is printed once.
    at = recorded_at = None
    for row in rows:
        if row.at is not at:
            at, at_text = row.at, row.at.isoformat()
        if row.recorded_at is not recorded_at:
            recorded_at, recorded_text = row.recorded_at, row.recorded_at.isoformat()
        evidence = row.evidence.replace("\\", "\\\\") if "\\" in row.evidence else row.evidence
        yield (
            f"{row.device_id}\t{row.organization_id}\t{row.mac}\t{at_text}\t{recorded_text}\t{row.event}\t{row.before}\t"
            f"{row.after}\t{'t' if row.inferred else 'f'}\t{row.refused}\t{row.source}\t{evidence}\n"
        )


# A phone that was seen again since, or for the first time, fails the guard.
_BEGIN = """
    WITH may AS MATERIALIZED ({holds}),
    device AS (
        INSERT INTO onboarding_device ({columns})
        SELECT {values} FROM may WHERE {unseen}
        ON CONFLICT DO NOTHING RETURNING id
    ),
    follows AS ({follows}),
    forgotten AS (DELETE FROM onboarding_sighting USING device WHERE mac = %s),
    history AS (
        INSERT INTO onboarding_statechange ({change_columns})
        SELECT device.id, {change_values} FROM device, (VALUES {rows}) AS told ({row_columns}) ORDER BY place
    )
    SELECT id FROM device
"""
_UNSEEN = "NOT EXISTS (SELECT FROM onboarding_sighting WHERE mac = %s)"
_SEEN = "EXISTS (SELECT FROM onboarding_sighting WHERE mac = %s AND last_at = %s AND count = %s FOR UPDATE)"
_BEGINNING = tuple(name for name in ChangeRow._fields if name != "device_id")


@cache
def _device_columns() -> dict[str, str]:
    """The columns of a new device with their types."""
    fields = [field for field in Device._meta.concrete_fields if not field.primary_key]
    return {field.attname: str(field.db_type(connection)) for field in fields}


@cache
def _begin_statement(holds: Statement, follows: Statement, seen: bool, rows: int) -> Statement:
    columns, told = _device_columns(), _BEGINNING[2:]
    one = ", ".join(f"%s::{kind}" for kind in ("int", *(_CHANGE_KINDS.get(name, "text") for name in told)))
    text = _BEGIN.format(
        holds=holds.text,
        follows=follows.text,
        columns=", ".join(columns),
        values=", ".join(["%s"] * len(columns)),
        unseen=_SEEN if seen else _UNSEEN,
        change_columns=_CHANGE_COLUMNS,
        change_values=", ".join(["%s", "%s", *(f"told.{name}" for name in told)]),
        row_columns=", ".join(["place", *told]),
        rows=", ".join([f"({one})"] * rows),
    )
    kinds = (
        *holds.kinds, *columns.values(), *(("text", "timestamptz", "bigint") if seen else ("text",)), *follows.kinds,
        "text", "bigint", "text", *(("int", *(_CHANGE_KINDS.get(name, "text") for name in told)) * rows),
    )  # fmt: skip
    return Statement.of(text, kinds)


def begin_device(device: Device, rows: Sequence[ChangeRow], *, sighting: Sighting | None, guard: Guard) -> int | None:
    """Insert a new device with its first history rows in one statement (PostgreSQL only); gives its id.

    None, and nothing is written, where the MAC is taken, the guard fails, or the phone was seen again since `sighting`
    was read, which goes.
    """
    seen = (device.mac,) if sighting is None else (device.mac, sighting.last_at, sighting.count)
    statement = _begin_statement(guard.holds, guard.follows, sighting is not None, len(rows))
    values = [
        *guard.holds_values,
        *(getattr(device, name) for name in _device_columns()),
        *seen,
        *guard.follows_values,
        device.mac,
        device.organization_id,
        device.mac,
        *(value for place, row in enumerate(rows) for value in (place, *row[3:])),
    ]
    found = statements.read(statement, values)
    return int(found[0][0]) if found else None
