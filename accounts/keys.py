"""API keys: made once, shown once, kept as a digest.

A key is `zt_PREFIX_SECRET`. The prefix (8 letters and digits) finds the row, the secret (43 characters, 256 random
bits) proves it. A plain SHA-256 is enough for 256 random bits: there is nothing to guess (OWASP ASVS 6.5.2 asks for a
password hash only below 112 bits).
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts import auditing
from accounts.actors import Actor
from accounts.models import ApiKey, Organization
from onboarding.errors import OnboardingError

SCOPES = (
    "devices:read",
    "devices:write",
    "profiles:read",
    "profiles:write",
    "codes:read",
    "codes:issue",
    "codes:reveal",
    "events:read",
    "webhooks:write",
    "audit:read",
    "organization:admin",
)

_FORM = re.compile(r"zt_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
# A key that was made elsewhere, for scripted first starts: any text that fits into a header.
_GIVEN = re.compile(r"[\x21-\x7e]{8,128}")
_PREFIX_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
# Writing every use down would make a write of every read; this is exact enough to find unused keys.
_LAST_USED_RESOLUTION = timedelta(minutes=5)

# Keys of one organization that are not revoked; a key for each program is far less.
MOST_LIVE = 1000
# From when on a key is marked as about to expire, and as unused.
EXPIRING, UNUSED = timedelta(days=14), timedelta(days=60)
# How long a rotated key and its successor are both good.
USUAL_OVERLAP, LONGEST_OVERLAP = timedelta(hours=24), timedelta(days=30)


class Standing(StrEnum):
    """How a key stands; only the last four are let in."""

    REVOKED = "revoked"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    REPLACED = "replaced"
    EXPIRING = "expiring"
    UNUSED = "unused"
    GOOD = "good"


class UnknownScope(OnboardingError):
    """A scope that this service does not know."""

    code = "unknown_scope"
    remedy = f"Scopes are: {', '.join(SCOPES)}."


class ScopeNotHeld(OnboardingError):
    """Somebody would give scopes that they do not hold themselves."""

    code = "scope_not_held"
    remedy = "Use a key that has these scopes, or let an administrator do it on the admin site."


class InvalidKeyRequest(OnboardingError):
    """A key cannot be made or rotated like this."""

    code = "invalid_key_request"
    remedy = "Correct the field and send it again."


class KeyNotLive(OnboardingError):
    """The key is revoked, suspended, expired or replaced already."""

    code = "key_not_live"
    remedy = "Make a new key."


class TooManyKeys(OnboardingError):
    """The organization has as many keys as one may have."""

    code = "too_many_keys"
    remedy = "Revoke keys that are no longer used."


class WeakKey(OnboardingError):
    """A given key cannot be used."""

    code = "weak_key"
    remedy = "Give 8 to 128 printable characters without blanks, best of all random ones, or let the service make one."


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _parts(key: str) -> tuple[str, str]:
    """What finds the row and what proves the key; a key of another make is found by a digest of it."""
    match = _FORM.fullmatch(key)
    return (match[1], match[2]) if match else (f"x{_digest(f'prefix {key}')[:11]}", key)


def check_scopes(scopes: Sequence[str], *, held: Collection[str] | None) -> list[str]:
    """The scopes in their normal form. Raises UnknownScope, and ScopeNotHeld where the giver holds only `held`."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise UnknownScope(f"{', '.join(map(repr, unknown)) or 'An empty list'} is not a scope.", field="scopes")
    beyond = sorted(set(scopes) - set(SCOPES if held is None else held))
    if beyond:
        raise ScopeNotHeld(f"The key in use has not itself {', '.join(beyond)}.", field="scopes")
    return sorted(set(scopes))


@transaction.atomic
def create(
    *,
    actor: Actor,
    organization: Organization,
    name: str,
    scopes: Sequence[str],
    at: datetime,
    expires_at: datetime | None = None,
    held: Collection[str] | None = None,
    key: str | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; gives the row and the key's text, which is not kept anywhere.

    `held` are the scopes that the giver may give on, None for all. `key` takes a text made elsewhere, for scripted
    first starts (DEMO_API_KEY). Raises UnknownScope, ScopeNotHeld, InvalidKeyRequest, TooManyKeys, WeakKey.
    """
    scopes, name = check_scopes(scopes, held=held), name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise InvalidKeyRequest("A key's name has 1 to 80 printable characters.", field="name")
    if ApiKey.objects.filter(organization=organization, revoked_at=None)[:MOST_LIVE].count() >= MOST_LIVE:
        raise TooManyKeys(f"At most {MOST_LIVE} keys can be in use.")
    if key is None:
        prefix = "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(8))
        key = f"zt_{prefix}_{secrets.token_urlsafe(32)}"
    elif not _GIVEN.fullmatch(key):
        raise WeakKey("The given API key has fewer than 8 or more than 128 characters, or a blank.", field="key")
    prefix, secret = _parts(key)
    try:
        with transaction.atomic():
            row = ApiKey.objects.create(
                organization=organization,
                name=name,
                prefix=prefix,
                digest=_digest(secret),
                scopes=scopes,
                expires_at=expires_at,
            )
    except IntegrityError as error:
        if not ApiKey.objects.filter(prefix=prefix).exists():
            raise
        raise WeakKey("Another API key begins alike.", field="key") from error
    given: dict[str, object] = {"name": name, "scopes": scopes, "expires_at": expires_at}
    _record(actor, row, "key.created", at=at, after=given)
    return row, key


@transaction.atomic
def rotate(
    row: ApiKey, *, actor: Actor, at: datetime, overlap: timedelta = USUAL_OVERLAP, held: Collection[str] | None = None
) -> tuple[ApiKey, str]:
    """Make a key's successor, with its name, scopes and lifetime; the old one stays good for `overlap`, no longer.

    Gives the new row and the key's text. Raises KeyNotLive, ScopeNotHeld (the new key can all that the old one can),
    InvalidKeyRequest, TooManyKeys.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise InvalidKeyRequest(f"The overlap is from 0 to {LONGEST_OVERLAP.days} days.", field="overlap_hours")
    # Held, so that of two rotations at once one finds it replaced.
    old: ApiKey = ApiKey.objects.select_for_update(of=("self",)).select_related("organization").get(pk=row.pk)
    present = standing(old, at=at)
    if present in {Standing.REVOKED, Standing.SUSPENDED, Standing.EXPIRED, Standing.REPLACED}:
        raise KeyNotLive(f"The key is {present}.")
    lifetime = old.expires_at and old.expires_at - old.created_at
    made, text = create(
        actor=actor,
        organization=old.organization,
        name=old.name,
        scopes=old.scopes,
        at=at,
        expires_at=at + lifetime if lifetime else None,
        held=held,
    )
    until = min(at + overlap, old.expires_at or at + overlap)
    ApiKey.objects.filter(pk=old.pk).update(expires_at=until, successor=made)
    _record(
        actor, old, "key.rotated", at=at,
        before={"expires_at": old.expires_at}, after={"expires_at": until, "successor": made.prefix},
    )  # fmt: skip
    return made, text


def standing(row: ApiKey, *, at: datetime) -> Standing:
    """How the key stands at a moment. Its organization's suspension is not looked at."""
    if row.revoked_at is not None:
        return Standing.REVOKED
    if row.suspended_at is not None:
        return Standing.SUSPENDED
    if row.expires_at is not None and row.expires_at <= at:
        return Standing.EXPIRED
    if row.successor_id is not None:
        return Standing.REPLACED
    if row.expires_at is not None and row.expires_at - at <= EXPIRING:
        return Standing.EXPIRING
    return Standing.UNUSED if at - (row.last_used_at or row.created_at) > UNUSED else Standing.GOOD


def find(key: str, *, at: datetime) -> ApiKey | None:
    """The usable key with this text: not revoked, not expired, its organization not suspended. Notes its use."""
    if not _GIVEN.fullmatch(key):
        return None
    prefix, secret = _parts(key)
    row: ApiKey | None = ApiKey.objects.select_related("organization").filter(prefix=prefix).first()
    # The comparison runs for unknown prefixes too, so that time does not tell them from wrong secrets.
    if not hmac.compare_digest(row.digest if row else "0" * 64, _digest(secret)) or row is None:
        return None
    expired = row.expires_at is not None and row.expires_at <= at
    stopped = row.revoked_at is not None or row.suspended_at is not None
    if stopped or expired or row.organization.suspended_at is not None:
        return None
    if row.last_used_at is None or at - row.last_used_at > _LAST_USED_RESOLUTION:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=at - _LAST_USED_RESOLUTION)
        ApiKey.objects.filter(stale, pk=row.pk).update(last_used_at=at)
    return row


@transaction.atomic
def revoke(row: ApiKey, *, actor: Actor, at: datetime) -> bool:
    """Stop a key for good, from the next request on. Again changes nothing; gives whether it was live."""
    done = bool(ApiKey.objects.filter(pk=row.pk, revoked_at=None).update(revoked_at=at))
    if done:
        _record(actor, row, "key.revoked", at=at)
    return done


@transaction.atomic
def suspend(row: ApiKey, *, actor: Actor, at: datetime) -> bool:
    """Stop a key until it is resumed: the operator's verb. Gives whether it was not suspended before."""
    done = bool(ApiKey.objects.filter(pk=row.pk, suspended_at=None).update(suspended_at=at))
    if done:
        _record(actor, row, "key.suspended", at=at)
    return done


@transaction.atomic
def resume(row: ApiKey, *, actor: Actor, at: datetime) -> bool:
    """End a key's suspension; gives whether there was one."""
    done = bool(ApiKey.objects.filter(pk=row.pk, suspended_at__isnull=False).update(suspended_at=None))
    if done:
        _record(actor, row, "key.resumed", at=at)
    return done


def _record(
    actor: Actor,
    row: ApiKey,
    action: str,
    *,
    at: datetime,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    auditing.record(
        actor, organization_id=row.organization_id, action=action, subject=f"API key {row}", at=at,
        before=before, after=after, thing=f"key:{row.pk}",
    )  # fmt: skip
