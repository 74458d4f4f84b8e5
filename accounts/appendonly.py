"""Triggers that keep the audit append-only, whatever writes: forms, bulk updates, raw SQL.

An entry is never altered; only its place in the chain is set, once. It is deleted only once a checkpoint says that it
is pruned (on SQLite, whose tests empty tables row by row, one without a place may be). `install` is called by
`manage.py migrate`, since SQLite drops the triggers of a table that a migration rebuilds.

Whoever may drop triggers is not held up by them: `chaining` finds what such a person did.
"""

from django.db import connection, transaction

_COLUMNS = (
    "id", "organization_id", "at", "source", "name", "through_id", "address", "request_id", "action", "subject",
    "thing", "before", "after", "seal",
)  # fmt: skip
_TABLE = "accounts_auditentry"
_REFUSAL = "The audit is append-only"

_PRUNED = (
    "EXISTS (SELECT 1 FROM accounts_auditcheckpoint AS c WHERE c.chain = coalesce(OLD.organization_id, 0)"
    " AND c.pruned_at IS NOT NULL AND OLD.position <= c.position)"
)
_SQLITE = {
    "update": "OLD.position IS NOT NULL OR " + " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in _COLUMNS),
    "delete": f"OLD.position IS NOT NULL AND NOT {_PRUNED}",
}
_POSTGRESQL = {
    "update": "OLD.position IS NOT NULL OR ({}) IS DISTINCT FROM ({})".format(
        ", ".join(f"NEW.{column}" for column in _COLUMNS), ", ".join(f"OLD.{column}" for column in _COLUMNS)
    ),
    "delete": f"OLD.position IS NULL OR NOT {_PRUNED}",
}
_TRUNCATE = f"""
    IF coalesce(current_setting('onboarding.truncate', true), '') <> 'allowed' THEN
        RAISE EXCEPTION '{_REFUSAL}';
    END IF
"""


def _statements() -> dict[str, list[str]]:
    """Each trigger's name, and the statements that make it."""
    made: dict[str, list[str]] = {}
    if connection.vendor != "postgresql":
        for event, condition in _SQLITE.items():
            name = f"append_only_{event}"
            made[name] = [
                f"DROP TRIGGER IF EXISTS {name}",
                f"CREATE TRIGGER {name} BEFORE {event.upper()} ON {_TABLE} FOR EACH ROW WHEN {condition}"
                f" BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
            ]
        return made
    bodies = {
        event: f"BEGIN RAISE EXCEPTION '{_REFUSAL}'; END" if condition else f"BEGIN {_TRUNCATE}; RETURN NULL; END"
        for event, condition in (_POSTGRESQL | {"truncate": ""}).items()
    }
    for event, body in bodies.items():
        name = f"append_only_{event}"
        each = f"FOR EACH ROW WHEN ({_POSTGRESQL[event]})" if event == "update" else "FOR EACH STATEMENT"
        if event == "delete":
            # A trigger's condition may not ask other tables; its function may.
            body = f"BEGIN IF {_POSTGRESQL[event]} THEN RAISE EXCEPTION '{_REFUSAL}'; END IF; RETURN OLD; END"
            each = "FOR EACH ROW"
        made[name] = [
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $audit${body}$audit$",
            f"DROP TRIGGER IF EXISTS {name} ON {_TABLE}",
            f"CREATE TRIGGER {name} BEFORE {event.upper()} ON {_TABLE} {each} EXECUTE FUNCTION {name}()",
            f"ALTER TABLE {_TABLE} ENABLE ALWAYS TRIGGER {name}",
        ]
    return made


@transaction.atomic
def install() -> None:
    """Make the triggers anew."""
    with connection.cursor() as cursor:
        for statements in _statements().values():
            for statement in statements:
                cursor.execute(statement)
