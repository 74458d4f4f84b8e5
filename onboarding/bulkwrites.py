"""Many rows at once, in the way that each database does fastest: the state of devices, and the history.

PostgreSQL gets arrays and COPY, SQLite gets JSON and `executemany`; the meaning is the same. States are written by
`customization` alone.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import orjson
from django.db import connection


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
_COPY_CHANGES = f"COPY onboarding_statechange ({_CHANGE_COLUMNS}) FROM STDIN"
_INSERT_CHANGES = (
    f"INSERT INTO onboarding_statechange ({_CHANGE_COLUMNS}) "  # noqa: S608  (names of our own columns)
    f"VALUES ({', '.join(['%s'] * len(ChangeRow._fields))})"
)


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
