"""What a redemption reads: the attempts taken, the code, and whether anybody has the phone.

On PostgreSQL one statement, as each one more is half the price of a redemption; on SQLite, which writes nothing inside
of a query, one after the other.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from django.db import connection
from django.db.models import Model

from accounts import pacing, rows, statements
from accounts.models import Organization
from accounts.pacing import Attempt, Closed
from accounts.statements import Statement
from activation.models import IssuedCode
from onboarding.models import RedirectProfile, Sighting

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
_UNREAD = ("seal",)
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
    (row,) = statements.read(_statement(taking), [*values, list(lookups), mac, mac])
    taken, device_id, *columns = row
    closed = pacing.closed_of(attempts, taken or (), at=at)
    if closed:
        return Found(closed, None)
    rest = iter(columns)
    code, profile = rows.read(IssuedCode, rest, *_UNREAD), rows.read(RedirectProfile, rest)
    organization, sighting = rows.read(Organization, rest), rows.read(Sighting, rest)
    if code is not None and profile is not None and organization is not None:
        code.profile, code.organization = profile, organization
    return Found(None, code, device_id is None, sighting)


def find(lookups: Sequence[str]) -> IssuedCode | None:
    """The code that was stored by one of these."""
    codes = IssuedCode.objects.select_related("profile", "organization").defer(*_UNREAD)
    return codes.filter(lookup__in=lookups).first()


@cache
def _statement(taking: Statement) -> Statement:
    columns = [rows.columns(kind, *_UNREAD) for kind in _KINDS]
    text = _STATEMENT.format(taking=taking.text, columns=", ".join(["onboarding_device.id", *columns]))
    return Statement.of(text, (*taking.kinds, "text[]", "text", "text"))
