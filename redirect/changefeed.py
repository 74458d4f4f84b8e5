"""The change feed: triggers that write down the key of every registry row that a door must hear of.

The database writes the feed itself, so that no way of changing a row can forget it: forms, bulk updates, raw SQL. Only
keys are written, and only when a column that the door uses really differs. `install` is called by `manage.py migrate`
(SQLite drops the triggers of a table that a migration rebuilds) and by the relay at its start; where triggers were
missing, changes may have been missed, so it begins a new epoch, which makes every relay rebuild its directory.

On PostgreSQL these are statement triggers (one insert a statement), on SQLite row triggers, which is all it has.
TRUNCATE is refused on PostgreSQL, where it fires no row event; a session may allow it with
`SET onboarding.truncate = 'allowed'` and must rebuild the directories itself then.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models.functions import Greatest

from redirect.models import RegistryChange, RegistryEpoch

# A relay that was away for longer than this finds its place in the feed gone, and rebuilds.
KEPT = timedelta(days=2)
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class _Source:
    """A table, the key under which the directory has its rows, and the columns that the door uses."""

    table: str
    kind: str
    key: str
    columns: tuple[str, ...]


_SOURCES = (
    _Source(
        "onboarding_device",
        "d",
        "mac",
        (
            "id",
            "mac",
            "organization_id",
            "profile_id",
            "model",
            "serial",
            "target",
            "valid_from",
            "valid_until",
            "proven",
        ),
    ),
    _Source(
        "onboarding_redirectprofile",
        "p",
        "id",
        (
            "id",
            "organization_id",
            "enabled",
            "targets",
            "failing_targets",
            "parameters",
            "confirm",
            "identity",
            "accepts_expired_certificates",
            "match_model",
        ),
    ),
    _Source("accounts_organization", "o", "id", ("id", "suspended_at")),
    _Source(
        "onboarding_shortcode",
        "s",
        "code",
        ("id", "code", "organization_id", "profile_id", "disabled_at", "valid_until", "is_full"),
    ),
    _Source("trust_authority", "c", "id", ("id", "fingerprint", "allows_sha1")),
    _Source("trust_revocationlist", "r", "id", ("id", "mark", "digest")),
)

_INTO = "INSERT INTO redirect_registrychange (kind, key, writer, stamp, at)"

_POSTGRESQL_VALUES = (
    "SELECT '{kind}', {key}, pg_current_xact_id()::text::bigint, floor(random() * 9e18)::bigint, clock_timestamp()"
)
_POSTGRESQL_BODIES = {
    "insert": f"{_INTO} {_POSTGRESQL_VALUES.format(kind='{kind}', key='{key}')} FROM after",
    "delete": f"{_INTO} {_POSTGRESQL_VALUES.format(kind='{kind}', key='{key}')} FROM before",
    "update": (
        f"{_INTO} {_POSTGRESQL_VALUES.format(kind='{kind}', key='changed.key')} FROM (\n"
        "  SELECT DISTINCT v.key FROM before AS b FULL JOIN after AS a ON a.id = b.id\n"
        "  CROSS JOIN LATERAL (VALUES (b.{key}::text), (a.{key}::text)) AS v(key)\n"
        "  WHERE ({before}) IS DISTINCT FROM ({after}) AND v.key IS NOT NULL\n"
        ") AS changed"
    ),
}
_POSTGRESQL_REFERENCES = {
    "insert": "REFERENCING NEW TABLE AS after",
    "delete": "REFERENCING OLD TABLE AS before",
    "update": "REFERENCING OLD TABLE AS before NEW TABLE AS after",
}
_POSTGRESQL_TRUNCATE = """
    IF coalesce(current_setting('onboarding.truncate', true), '') <> 'allowed' THEN
        RAISE EXCEPTION 'TRUNCATE of % would go unnoticed by the doors; use DELETE', TG_TABLE_NAME;
    END IF
"""

_SQLITE_VALUES = "SELECT '{kind}', {key}, 0, random(), strftime('%Y-%m-%d %H:%M:%f', 'now')"


def _name(source: _Source, event: str) -> str:
    return f"change_feed_{source.table}_{event}"


def _postgresql_functions() -> dict[tuple[_Source, str], str]:
    """The body of each trigger's function."""
    bodies = {}
    for source in _SOURCES:
        names = {
            "kind": source.kind,
            "key": source.key,
            "before": ", ".join(f"b.{column}" for column in source.columns),
            "after": ", ".join(f"a.{column}" for column in source.columns),
        }
        for event, body in _POSTGRESQL_BODIES.items():
            bodies[source, event] = f"BEGIN {body.format(**names)}; RETURN NULL; END"
        bodies[source, "truncate"] = f"BEGIN {_POSTGRESQL_TRUNCATE}; RETURN NULL; END"
    return bodies


def _sqlite_triggers() -> dict[str, str]:
    """Each trigger's name and the statement that creates it, as SQLite keeps it."""
    triggers = {}
    for source in _SOURCES:
        table = source.table
        new = _SQLITE_VALUES.format(kind=source.kind, key=f"NEW.{source.key}")
        old = _SQLITE_VALUES.format(kind=source.kind, key=f"OLD.{source.key}")
        differs = " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in source.columns)
        moved = f"NEW.{source.key} IS NOT OLD.{source.key}"
        for event, condition, statements in (
            ("insert", "", f"{_INTO} {new};"),
            ("delete", "", f"{_INTO} {old};"),
            ("update", f" WHEN {differs}", f"{_INTO} {new}; {_INTO} {old} WHERE {moved};"),
        ):
            name = _name(source, event)
            triggers[name] = (
                f"CREATE TRIGGER {name} AFTER {event.upper()} ON {table} FOR EACH ROW{condition} BEGIN {statements} END"
            )
    return triggers


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def missing() -> list[str]:
    """The names of triggers that are not there, switched off, or not as they should be."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT t.tgname, obj_description(t.oid, 'pg_trigger') FROM pg_trigger AS t"
                " JOIN pg_class AS c ON c.oid = t.tgrelid"
                " WHERE t.tgname LIKE 'change_feed_%' AND t.tgenabled = 'A' AND pg_table_is_visible(c.oid)"
            )
            present = dict(cursor.fetchall())
            wanted = {_name(*place): _digest(body) for place, body in _postgresql_functions().items()}
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'change_feed_%'")
            present = dict(cursor.fetchall())
            wanted = _sqlite_triggers()
    return [name for name, content in wanted.items() if present.get(name) != content]


def installed() -> bool:
    """Whether the feed is whole and the registry has an epoch."""
    return not missing() and RegistryEpoch.objects.exists()


@transaction.atomic
def install() -> bool:
    """Make the feed whole; gives whether anything was missing, in which case a new epoch has begun."""
    if installed():
        return False
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for (source, event), body in _postgresql_functions().items():
                _create_postgresql(cursor, source, event, body)
        else:
            for name, statement in _sqlite_triggers().items():
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
                cursor.execute(statement)
    begin_epoch()
    return True


def _create_postgresql(cursor, source: _Source, event: str, body: str) -> None:  # type: ignore[no-untyped-def]
    name = _name(source, event)
    references = _POSTGRESQL_REFERENCES.get(event, "")
    when = "BEFORE" if event == "truncate" else "AFTER"
    for statement in (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $feed${body}$feed$",
        f"DROP TRIGGER IF EXISTS {name} ON {source.table}",
        f"CREATE TRIGGER {name} {when} {event.upper()} ON {source.table} {references}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {name}()",
        # ALWAYS: also in a session that restores rows. (Logical replication fires no statement triggers at all.)
        f"ALTER TABLE {source.table} ENABLE ALWAYS TRIGGER {name}",
        f"COMMENT ON TRIGGER {name} ON {source.table} IS '{_digest(body)}'",
    ):
        cursor.execute(statement)


def begin_epoch() -> None:
    """Begin a new epoch: every relay rebuilds its directory and hands in the journals that the registry lacks."""
    RegistryEpoch.objects.update_or_create(pk=1, defaults={"epoch": uuid.uuid4()})


def prune(*, before: datetime, most: int = 2_000_000) -> int:
    """Delete feed rows older than `before`, but for the newest: by it relays know that this is their registry.

    What was pruned is noted in the same transaction, so that a relay that has yet to see a pruned row finds out.
    Rows of transactions that may have contemporaries still running stay.
    """
    newest = RegistryChange.objects.order_by("-id").values_list("pk", flat=True).first()
    deleted = 0
    while newest is not None and deleted < most:
        with transaction.atomic():
            old = RegistryChange.objects.filter(at__lt=before, pk__lt=newest)
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
                    old = old.filter(writer__lt=cursor.fetchone()[0])
            rows = list(old.order_by("at").values_list("pk", "writer")[:_ROWS_AT_ONCE])
            if not rows:
                break
            RegistryEpoch.objects.update(
                pruned_id=Greatest("pruned_id", max(pk for pk, _ in rows)),
                pruned_writer=Greatest("pruned_writer", max(writer for _, writer in rows)),
            )
            RegistryChange.objects.filter(pk__in=[pk for pk, _ in rows]).delete()
        deleted += len(rows)
    return deleted
