"""How partners prove who they are: `Authorization: Bearer KEY`, and whether the key has the scope that a view needs."""

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

from accounts import keys
from accounts.models import ApiKey
from accounts.tenancy import Viewer

if TYPE_CHECKING:
    # At run time REST framework's views import this module.
    from rest_framework.views import APIView


class Partner:
    """The caller of the API: a key. Stands where Django expects a user."""

    is_authenticated = True

    def __init__(self, key: ApiKey) -> None:
        self.key = key
        self.organization = key.organization
        self.viewer = Viewer(frozenset({key.organization_id}))
        self.pk = key.pk

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
    """Reads the Bearer key. Wrong, expired, revoked and suspended look alike."""

    def authenticate(self, request: Request) -> tuple[Partner, ApiKey] | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        text = _bearer(header)
        row = _KNOWN.find(text) if text else None
        if row is None:
            raise AuthenticationFailed("The API key is not valid.")
        return Partner(row), row

    def authenticate_header(self, request: HttpRequest) -> str:
        return 'Bearer realm="api"'


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
        self.message = f"The API key lacks the scope {needed}."
        return not needed or needed in request.user.key.scopes
