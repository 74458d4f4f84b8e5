"""The audit: who changed what, on whose behalf, from where. Written in the transaction of the change, by its verb.

Rows are only appended. Each is sealed as it is written, under a key that is not in the database, so that a row which
somebody else wrote or altered is found. Its place in the organization's chain is given by a job afterwards
(`chaining`), so that writers never wait for each other.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from django.conf import settings
from django.db.models import QuerySet

from accounts import statements
from accounts.actors import Actor
from accounts.models import AuditEntry
from accounts.statements import Statement

# A longer value is kept as its length and digest.
_LONGEST_VALUE = 8000


def record(
    actor: Actor,
    *,
    organization_id: int | None,
    action: str,
    subject: str,
    at: datetime,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    thing: str = "",
) -> None:
    """Leave an entry with the organization whose thing was changed; None for what belongs to the operator alone.

    `action` is `thing.happened`, as `key.revoked`; `subject` names the thing for people, as `API key Import (ab12…)`.
    `before` and `after` hold JSON values of what changed, never a secret. `thing`, as `profile:12`, is by what
    `of_subject` finds the entries of one thing.
    """
    entry = AuditEntry(
        organization_id=organization_id,
        at=at,
        source=actor.source[:16],
        name=actor.name[:160],
        through_id=actor.through(organization_id),
        address=actor.address[:45],
        request_id=actor.request_id[:64],
        action=action,
        subject=subject[:200],
        thing=thing,
        before=_kept(before or {}),
        after=_kept(after or {}),
    )
    entry.seal = keyed(_keys()[0], content(entry))
    _insert(entry)


_KINDS = {
    "organization_id": "bigint", "at": "timestamptz", "source": "text", "name": "text", "through_id": "bigint",
    "address": "text", "request_id": "text", "action": "text", "subject": "text", "thing": "text", "before": "jsonb",
    "after": "jsonb", "seal": "text", "digest": "text",
}  # fmt: skip
_INSERT = Statement.of(
    f"INSERT INTO accounts_auditentry ({', '.join(_KINDS)}) VALUES ({', '.join(['%s'] * len(_KINDS))})",  # noqa: S608
    tuple(_KINDS.values()),
)


def _insert(entry: AuditEntry) -> None:
    """Every change pays for this, and Django's own way of writing a row costs twice as much."""
    values = {name: getattr(entry, name) for name in _KINDS}
    values |= {"before": json.dumps(entry.before), "after": json.dumps(entry.after)}
    statements.write(_INSERT, list(values.values()))


def record_change(
    actor: Actor,
    *,
    organization_id: int | None,
    action: str,
    subject: str,
    at: datetime,
    before: Mapping[str, object],
    after: Mapping[str, object],
    thing: str = "",
) -> bool:
    """`record` with only what differs; nothing where nothing does. Gives whether an entry was left."""
    names = [name for name in after if before.get(name) != after[name]]
    if names:
        record(
            actor,
            organization_id=organization_id,
            action=action,
            subject=subject,
            at=at,
            before={name: before.get(name) for name in names},
            after={name: after[name] for name in names},
            thing=thing,
        )
    return bool(names)


def of_subject(*, organization_id: int | None, thing: str, most: int = 50) -> list[AuditEntry]:
    """The newest entries of one thing (`profile:12`), newest first: its history of changes. One indexed search."""
    entries = of_organization(organization_id).filter(thing=thing).exclude(thing="")
    return list(entries.select_related("through").order_by("-id")[:most])


def of_organization(organization_id: int | None) -> QuerySet[AuditEntry]:
    """All entries of an organization; None: those that belong to the operator alone."""
    if organization_id is None:
        return AuditEntry.objects.filter(organization=None)
    return AuditEntry.objects.filter(organization_id=organization_id)


def content(entry: AuditEntry) -> bytes:
    """What a seal is about: everything that was known when the entry was written, in one form on every database."""
    values = [
        entry.organization_id, entry.at.astimezone(UTC).isoformat(), entry.source, entry.name, entry.through_id,
        entry.address, entry.request_id, entry.action, entry.subject, entry.thing, entry.before, entry.after,
    ]  # fmt: skip
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def is_sealed(entry: AuditEntry) -> bool:
    """Whether this service wrote the entry as it stands."""
    return proves(entry.seal, content(entry))


def keyed(key: bytes, text: bytes) -> str:
    """The HMAC-SHA-256 of a text, as hexadecimal digits."""
    return hmac.digest(key, text, "sha256").hex()


def seal_of(text: bytes) -> str:
    """The seal of a text, under the present SECRET_KEY."""
    return keyed(_keys()[0], text)


def proves(seal: str, text: bytes) -> bool:
    """Whether the seal is of this text, under the present SECRET_KEY or one of SECRET_KEY_FALLBACKS."""
    return any(hmac.compare_digest(seal, keyed(key, text)) for key in _keys())


def _keys() -> list[bytes]:
    secrets: Sequence[str] = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [hmac.digest(hashlib.sha256(secret.encode()).digest(), b"accounts.audit", "sha256") for secret in secrets]


def _kept(values: Mapping[str, object]) -> dict[str, object]:
    """Values that read the same from every database, each of bounded length."""
    return {_text(name): _bounded(_plain(value)) for name, value in values.items()}


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {_text(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(_text(inner) for inner in value)
    return _text(value.isoformat() if isinstance(value, datetime) else value)


def _text(value: object) -> str:
    # What PostgreSQL keeps in no JSON: NUL, and halves of surrogate pairs.
    return str(value).encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _bounded(value: object) -> object:
    written = json.dumps(value)
    if len(written) <= _LONGEST_VALUE:
        return value
    digest = hashlib.sha256(written.encode()).hexdigest()[:16]
    return f"({len(written):,} characters, SHA-256 {digest}…)"
