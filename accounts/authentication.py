"""How partners prove who they are: `Authorization: Bearer KEY`, and whether the key has the scope that a view needs.

`On-Behalf-Of: ORGANIZATION_ID` lets a key act for an organization that has given its own a mandate; without it the key
acts for its own.
"""

import hashlib
import time
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import keys, mandates
from accounts.actors import Actor
from accounts.models import ApiKey, Mandate
from accounts.tenancy import Viewer

if TYPE_CHECKING:
    # At run time REST framework's views import this module.
    from rest_framework.views import APIView

ON_BEHALF_OF = "On-Behalf-Of"


class Partner:
    """The caller of the API: a key, acting for its own organization or, with a mandate, for another one.

    Stands where Django expects a user. `organization`, `viewer` and `scopes` are what the request may reach.
    """

    is_authenticated = True

    def __init__(self, key: ApiKey, mandate: Mandate | None = None) -> None:
        self.key = key
        self.mandate = mandate
        self.organization = mandate.provider if mandate else key.organization
        self.scopes = frozenset(key.scopes)
        self.viewer = Viewer(frozenset({self.organization.pk}))
        if mandate:
            self.scopes &= frozenset(mandate.scopes)
            if mandate.profile_ids:
                self.viewer = Viewer(limited=((mandate.provider_id, frozenset(mandate.profile_ids)),))
        self.pk = key.pk

    def actor(self, request: HttpRequest) -> Actor:
        """The caller, as history and audit name it."""
        return Actor(
            "api",
            self.key.prefix,
            organization_id=self.key.organization_id if self.mandate else None,
            address=getattr(request, "address", ""),
            request_id=getattr(request, "id", ""),
        )

    def __str__(self) -> str:
        return f"key {self.key.prefix}"


class _KnownKeys:
    """Keys as they were read a moment ago, by a digest of their text, so that a busy key is not read for each request.

    Whatever stops a key does so within _KEPT_SECONDS. Rows are kept beyond that time for `was_good` alone.
    """

    def __init__(self) -> None:
        self._rows: OrderedDict[bytes, tuple[float, ApiKey]] = OrderedDict()
        self._lock = Lock()

    def find(self, text: str) -> ApiKey | None:
        """The usable key with this text."""
        digest, now = _digest(text), time.monotonic()
        read_at, row = self._rows.get(digest, (0.0, None))
        if row is not None and now < read_at + _KEPT_SECONDS and not _is_expired(row):
            return row
        row = keys.find(text, at=timezone.now())
        with self._lock:
            self._rows.pop(digest, None)
            if row is not None:
                self._rows[digest] = now, row
                if len(self._rows) > _MOST_KEPT:
                    self._rows.popitem(last=False)
        return row

    def has(self, text: str) -> bool:
        return _digest(text) in self._rows

    def forget(self) -> None:
        with self._lock:
            self._rows.clear()


# A key that was revoked, or of an organization that was suspended, is refused after this time at the latest.
_KEPT_SECONDS = 0.8
_MOST_KEPT = 10_000
_KNOWN = _KnownKeys()


def was_good(header: str) -> bool:
    """Whether the Authorization header names a key that was good when this process last looked."""
    text = _bearer(header)
    return bool(text) and _KNOWN.has(text)


def forget() -> None:
    """Read every key anew, as after a change that must be felt at once in this process."""
    _KNOWN.forget()


def _is_expired(row: ApiKey) -> bool:
    return row.expires_at is not None and row.expires_at <= timezone.now()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()


def _bearer(header: str) -> str:
    scheme, _, text = header.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


class ApiKeyAuthentication(BaseAuthentication):
    """Reads the Bearer key. Wrong, expired, revoked and suspended look alike. Raises NoMandate."""

    def authenticate(self, request: Request) -> tuple[Partner, ApiKey] | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        text = _bearer(header)
        row = _KNOWN.find(text) if text else None
        if row is None:
            raise AuthenticationFailed("The API key is not valid.")
        return Partner(row, _mandate(row, request.headers.get(ON_BEHALF_OF))), row

    def authenticate_header(self, request: HttpRequest) -> str:
        return 'Bearer realm="api"'


def _mandate(key: ApiKey, header: str | None) -> Mandate | None:
    """The mandate that the header asks for; None where the key acts for its own organization. Raises NoMandate."""
    if header is None:
        return None
    given = header.strip()
    number = int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else 0
    if number == key.organization_id:
        return None
    found = mandates.find(partner_id=key.organization_id, provider_id=number)
    if found is None:
        raise mandates.NoMandate("This key may not act for that organization.")
    return found


class HasScope(BasePermission):
    """Views name the scope of each method: `scopes = {"GET": "devices:read", …}`; "" lets every key in."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not isinstance(request.user, Partner):
            return False
        method = "GET" if request.method == "HEAD" else request.method
        needed = getattr(view, "scopes", {}).get(method)
        if needed is None:
            # Methods that the view does not have are answered 405 by the view itself.
            return method == "OPTIONS" or not hasattr(view, str(method).lower())
        lacking = "mandate does not give" if needed in request.user.key.scopes else "API key lacks"
        self.message = f"The {lacking} the scope {needed}."
        return not needed or needed in request.user.scopes
