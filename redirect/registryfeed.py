"""Reading the registry for the directory: everything at once, or what changed since a cursor, from one snapshot.

A cursor says how far the feed was followed:

    epoch     which life of the registry; another one, and nothing of the cursor holds
    witness   id and stamp of the newest feed row seen; when it is gone, the registry is not the one that was followed
    snapshot  PostgreSQL: the snapshot of that reading. New are exactly the rows of transactions that it did not see:
              those that ran then, and those that began later. So the order of commits does not matter, and a
              transaction that stays open holds up nobody else's change. SQLite has one writer at a time: there the
              witness's id is enough.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

import orjson
from django.db import connection

from onboarding import health
from redirect.directory import (
    Item,
    authority_item,
    authority_key,
    device_key,
    organization_key,
    profile_key,
    revocation_item,
    revocation_key,
    short_code_key,
)

# Keys that are looked up and written at once.
CHUNK_KEYS = 5000
_ROWS_AT_ONCE = 5000
_cursor_numbers = count()

_POSTGRESQL_EPOCH = """
    SELECT concat_ws(':', (SELECT system_identifier FROM pg_control_system()),
                     left(pg_walfile_name(pg_current_wal_lsn()), 8),
                     (SELECT oid FROM pg_database WHERE datname = current_database()),
                     'redirect_registrychange'::regclass::oid,
                     (SELECT epoch FROM redirect_registryepoch WHERE id = 1)),
           pg_current_snapshot()::text
"""
_SQLITE_EPOCH = "SELECT (SELECT epoch FROM redirect_registryepoch WHERE id = 1), ''"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the feed was followed; see the module."""

    epoch: str
    snapshot: str
    witness_id: int
    witness_stamp: int

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Cursor | None":
        """Read a kept cursor; None for one that another version wrote."""
        try:
            return cls(values["epoch"], values["snapshot"], values["witness_id"], values["witness_stamp"])
        except (KeyError, TypeError):
            return None


class FeedLost(Exception):
    """The registry is not the one that the cursor followed: restored, failed over, or pruned too far. Rebuild."""


def _rows(sql: str, parameters: list[object] | None = None) -> Iterator[tuple[Any, ...]]:
    """Rows of a query, a bounded number in memory at a time."""
    if connection.vendor == "postgresql":
        # WITH HOLD only because psycopg2 does not see the transaction that `snapshot` began.
        cursor = connection.connection.cursor(name=f"registryfeed_{next(_cursor_numbers)}", withhold=True)
    else:
        cursor = connection.cursor()
    cursor.execute(sql, parameters)
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        yield from rows
    # A reader that stops before the end leaves this to the end of the transaction.
    cursor.close()


@contextmanager
def snapshot() -> Iterator[None]:
    """Read everything within the block from one snapshot, holding up no writer."""
    # Not Django's atomic: on SQLite that takes the write lock, and here nothing is written.
    connection.ensure_connection()
    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if connection.vendor == "postgresql" else "BEGIN DEFERRED"
    with connection.cursor() as cursor:
        cursor.execute(begin)
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def position() -> Cursor:
    """The cursor of the present snapshot: everything that it shows was followed. Only inside `snapshot()`."""
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL_EPOCH if connection.vendor == "postgresql" else _SQLITE_EPOCH)
        epoch, present = cursor.fetchone()
        cursor.execute("SELECT id, stamp FROM redirect_registrychange ORDER BY id DESC LIMIT 1")
        witness_id, witness_stamp = cursor.fetchone() or (0, 0)
    return Cursor(str(epoch), present, witness_id, witness_stamp)


def changed_keys(since: Cursor, now: Cursor) -> Iterator[tuple[str, str]]:
    """(kind, key) of every change that `now` shows and `since` did not. Raises FeedLost. Only inside `snapshot()`."""
    if since.epoch != now.epoch:
        raise FeedLost("The registry began a new epoch.")
    if since.witness_id:
        with connection.cursor() as cursor:
            cursor.execute("SELECT stamp FROM redirect_registrychange WHERE id = %s", [since.witness_id])
            if cursor.fetchone() != (since.witness_stamp,):
                raise FeedLost("The registry does not have the change that was followed last.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pruned_id, pruned_writer FROM redirect_registryepoch WHERE id = 1")
        pruned_id, pruned_writer = cursor.fetchone() or (0, 0)
    if since == now:
        return iter(())
    columns = "SELECT kind, key FROM redirect_registrychange WHERE"
    if connection.vendor == "postgresql":
        seen_before, running = _parse_snapshot(since.snapshot)
        if pruned_writer >= seen_before or any(writer <= pruned_writer for writer in running):
            raise FeedLost("Changes that were not followed yet were pruned.")
        return _rows(f"{columns} writer >= %s OR writer = ANY(%s::bigint[])", [seen_before, running])
    if since.witness_id < pruned_id:
        raise FeedLost("Changes that were not followed yet were pruned.")
    return _rows(f"{columns} id > %s ORDER BY id", [since.witness_id])


def _parse_snapshot(text: str) -> tuple[int, list[int]]:
    """xmax and the transactions in progress of `xmin:xmax:xip,…` (PostgreSQL, pg_current_snapshot)."""
    _xmin, xmax, running = text.split(":")
    return int(xmax), [int(transaction) for transaction in running.split(",") if transaction]


_DEVICE_COLUMNS = "mac, id, organization_id, coalesce(profile_id, 0), model, serial, target"
_EPOCH_SECONDS = {
    "postgresql": "extract(epoch FROM {0})::float8",
    "sqlite": "unixepoch({0}, 'subsec')",
}
_PROFILE_COLUMNS = (
    "id, organization_id, enabled, targets, failing_targets, parameters, confirm, identity, match_model, "
    "accepts_expired_certificates"
)


def _devices(where: str, parameters: list[object] | None = None) -> Iterator[Item]:
    seconds = _EPOCH_SECONDS[connection.vendor]
    columns = f"{_DEVICE_COLUMNS}, {seconds.format('valid_from')}, {seconds.format('valid_until')}"
    dumps, octets = orjson.dumps, bytes.fromhex
    # Nobody vouched for the others: they redirect nothing.
    for row in _rows(f"SELECT {columns} FROM onboarding_device WHERE proven {where}", parameters):
        yield b"d" + octets(row[0]), dumps(row[1:])


def _profiles(where: str, parameters: list[object] | None = None) -> Iterator[Item]:
    for row in _rows(f"SELECT {_PROFILE_COLUMNS} FROM onboarding_redirectprofile {where}", parameters):
        documents = (orjson.loads(value) if isinstance(value, str) else value for value in row[3:6])
        targets, failing, further = documents
        # The choice is made here, once, and not in the door for each phone: it gives the first.
        targets = health.in_order(targets, failing)
        value = [row[1], bool(row[2]), targets, sorted(further.items()), row[6], row[7], bool(row[8]), bool(row[9])]
        yield profile_key(row[0]), orjson.dumps(value)


def _suspended(where: str, parameters: list[object] | None = None) -> Iterator[Item]:
    for row in _rows(f"SELECT id FROM accounts_organization WHERE suspended_at IS NOT NULL {where}", parameters):
        yield organization_key(row[0]), b"1"


def _short_codes(where: str, parameters: list[object] | None = None) -> Iterator[Item]:
    valid_until = _EPOCH_SECONDS[connection.vendor].format("valid_until")
    columns = f"code, organization_id, profile_id, {valid_until}"
    working = "disabled_at IS NULL AND NOT is_full"
    for row in _rows(f"SELECT {columns} FROM onboarding_shortcode WHERE {working} {where}", parameters):
        yield short_code_key(row[0]), orjson.dumps(row[1:])


def _authorities(where: str, parameters: list[object] | None = None) -> Iterator[Item]:
    columns = "id, fingerprint, allows_sha1, certificate"
    for id, fingerprint, allows_sha1, certificate in _rows(
        f"SELECT {columns} FROM trust_authority {where}", parameters
    ):
        yield authority_item(id, bytes.fromhex(fingerprint), bytes(certificate), allows_sha1=bool(allows_sha1))


def _revocations(where: str, parameters: list[object] | None = None) -> Iterator[Item]:
    for id, mark, digest, content in _rows(
        f"SELECT id, mark, digest, content FROM trust_revocationlist {where}", parameters
    ):
        yield revocation_item(id, bytes.fromhex(mark), bytes.fromhex(digest), bytes(content))


def everything() -> Iterator[Item]:
    """All entries of a directory, in order of their keys. Only inside `snapshot()`."""
    # MACs are upper-case hexadecimal digits of one length, so with C's order of text they sort as their octets do.
    order = 'COLLATE "C"' if connection.vendor == "postgresql" else ""
    yield from _authorities("ORDER BY id")
    yield from _devices(f"ORDER BY mac {order}")
    yield from _suspended("ORDER BY id")
    yield from _profiles("ORDER BY id")
    yield from _revocations("ORDER BY id")
    yield from _short_codes(f"ORDER BY code {order}")


def present_state(keys: list[tuple[str, str]]) -> tuple[list[Item], list[bytes]]:
    """The entries to put and the keys to delete for changed (kind, key) pairs. Only inside `snapshot()`."""
    wanted: dict[str, set[str]] = {kind: set() for kind in "cdoprs"}
    for kind, key in keys:
        wanted[kind].add(key)
    puts = [
        *_devices(*_one_of("AND mac", wanted["d"])),
        *_profiles(*_one_of("WHERE id", wanted["p"], numbers=True)),
        *_suspended(*_one_of("AND id", wanted["o"], numbers=True)),
        *_short_codes(*_one_of("AND code", wanted["s"])),
        *_authorities(*_one_of("WHERE id", wanted["c"], numbers=True)),
        *_revocations(*_one_of("WHERE id", wanted["r"], numbers=True)),
    ]
    expected = {
        *(device_key(bytes.fromhex(mac)) for mac in wanted["d"]),
        *(profile_key(int(id)) for id in wanted["p"]),
        *(organization_key(int(id)) for id in wanted["o"]),
        *(short_code_key(code) for code in wanted["s"]),
        *(authority_key(int(id)) for id in wanted["c"]),
        *(revocation_key(int(id)) for id in wanted["r"]),
    }
    return puts, sorted(expected - {key for key, _ in puts})


def _one_of(column: str, keys: set[str], *, numbers: bool = False) -> tuple[str, list[object]]:
    values: list[Any] = sorted(map(int, keys)) if numbers else sorted(keys)
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s::{'bigint' if numbers else 'text'}[])", [values]
    return f"{column} IN (SELECT value FROM json_each(%s))", [orjson.dumps(values).decode()]
