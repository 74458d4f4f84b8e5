"""How partners prove who they are: `Authorization: Bearer KEY`, and whether the key has the scope that a view needs."""

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


class ApiKeyAuthentication(BaseAuthentication):
    """Reads the Bearer key. Wrong, expired, revoked and suspended look alike."""

    def authenticate(self, request: Request) -> tuple[Partner, ApiKey] | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        scheme, _, text = header.partition(" ")
        row = keys.find(text.strip(), at=timezone.now()) if scheme.lower() == "bearer" else None
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
