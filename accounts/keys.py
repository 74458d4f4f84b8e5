"""API keys: made once, shown once, kept as a digest.

A key is `zt_PREFIX_SECRET`. The prefix (8 letters and digits) finds the row, the secret (43 characters, 256 random
bits) proves it. A plain SHA-256 is enough for 256 random bits: there is nothing to guess (OWASP ASVS 6.5.2 asks for a
password hash only below 112 bits).
"""

import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

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


class UnknownScope(OnboardingError):
    """A scope that this service does not know."""

    code = "unknown_scope"
    remedy = f"Scopes are: {', '.join(SCOPES)}."


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


def create(
    *,
    organization: Organization,
    name: str,
    scopes: list[str],
    expires_at: datetime | None = None,
    key: str | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; gives the row and the key's text, which is not kept anywhere. Raises UnknownScope, WeakKey.

    `key` takes a text made elsewhere, for scripted first starts (DEMO_API_KEY).
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise UnknownScope(f"{', '.join(map(repr, unknown)) or 'An empty list'} is not a scope.", field="scopes")
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
                scopes=sorted(set(scopes)),
                expires_at=expires_at,
            )
    except IntegrityError as error:
        if not ApiKey.objects.filter(prefix=prefix).exists():
            raise
        raise WeakKey("Another API key begins alike.", field="key") from error
    return row, key


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
    if row.revoked_at is not None or expired or row.organization.suspended_at is not None:
        return None
    if row.last_used_at is None or at - row.last_used_at > _LAST_USED_RESOLUTION:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=at - _LAST_USED_RESOLUTION)
        ApiKey.objects.filter(stale, pk=row.pk).update(last_used_at=at)
    return row


def revoke(row: ApiKey, *, at: datetime) -> None:
    """Stop a key for good. Revoking it again changes nothing."""
    ApiKey.objects.filter(pk=row.pk, revoked_at=None).update(revoked_at=at)
