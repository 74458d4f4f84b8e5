"""What a redemption reads: the attempts taken, the code, and whether anybody has the phone.

On PostgreSQL one statement, as each one more is half the price of a redemption; on SQLite, which writes nothing inside
of a query, one after the other.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Field, Model

from accounts import pacing
from accounts.models import Organization
from accounts.pacing import Attempt, Closed
from activation.models import IssuedCode
from onboarding.models import Device, RedirectProfile, Sighting

_STATEMENT = """
    WITH taken AS ({taking})
    SELECT (SELECT array_agg(key) FROM taken), {columns}
    FROM (VALUES (1)) AS one
    LEFT JOIN activation_issuedcode ON activation_issuedcode.lookup = ANY(%s)
    LEFT JOIN onboarding_redirectprofile ON onboarding_redirectprofile.id = activation_issuedcode.profile_id
    LEFT JOIN accounts_organization ON accounts_organization.id = activation_issuedcode.organization_id
    LEFT JOIN onboarding_device ON onboarding_device.mac = %s
    LEFT JOIN onboarding_sighting ON onboarding_sighting.mac = %s
    LIMIT 1
"""
# The seal is for those who may read codes again.
_UNREAD = {"seal"}
_KINDS: tuple[type[Model], ...] = (IssuedCode, RedirectProfile, Organization, Sighting)


class Found(NamedTuple):
    """`closed` is the limit that was left no attempt. `code` comes with its profile and organization.

    `is_new` says that the phone is certainly nobody's device; `sighting` what was seen of it then.
    """

    closed: Closed | None
    code: IssuedCode | None
    is_new: bool = False
    sighting: Sighting | None = None


def take_and_find(attempts: Sequence[Attempt], lookups: Sequence[str], mac: str, *, at: float) -> Found:
    """Take one of each attempt at `at` (epoch seconds), then look for the code. Where it is right, or a limit is
    closed, the caller rolls back."""
    if connection.vendor != "postgresql":
        closed = pacing.take(attempts, at=at)
        return Found(closed, None if closed else find(lookups))
    taking, values = pacing.taking(attempts, at=at)
    with connection.cursor() as cursor:
        cursor.execute(_statement(taking), [*values, list(lookups), mac, mac])
        taken, device_id, *columns = cursor.fetchone()
    closed = pacing.closed_of(attempts, taken or (), at=at)
    if closed:
        return Found(closed, None)
    rest = iter(columns)
    code, profile, organization, sighting = (_read(kind, rest) for kind in _KINDS)
    if code is not None:
        code.profile, code.organization = profile, organization
    return Found(None, code, device_id is None, sighting)


def find(lookups: Sequence[str]) -> IssuedCode | None:
    """The code that was stored by one of these."""
    rows = IssuedCode.objects.select_related("profile", "organization").defer(*_UNREAD)
    return rows.filter(lookup__in=lookups).first()


@cache
def _fields(kind: type[Model]) -> "tuple[Field[Any, Any], ...]":
    return tuple(field for field in kind._meta.concrete_fields if field.attname not in _UNREAD)


@cache
def _statement(taking: str) -> str:
    columns = [f"{kind._meta.db_table}.{field.column}" for kind in _KINDS for field in _fields(kind)]
    return _STATEMENT.format(
        taking=taking, columns=", ".join([f"{Device._meta.db_table}.{Device._meta.pk.column}", *columns])
    )


def _read(kind: type[Model], values: Any) -> Any:
    """The next row of this kind out of a joined one; None where its key is NULL."""
    fields = _fields(kind)
    read = [next(values) for _ in fields]
    if read[0] is None:
        return None
    shown = [
        field.from_db_value(value, None, connection) if hasattr(field, "from_db_value") else value
        for field, value in zip(fields, read, strict=True)
    ]
    return kind.from_db("default", [field.attname for field in fields], shown)
