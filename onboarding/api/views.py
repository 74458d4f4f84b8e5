"""What all views of the partner API have in common: who calls, which rows they see, and that bodies are JSON."""

from typing import Any, ClassVar, NoReturn

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.authentication import Partner
from accounts.models import Organization
from onboarding.api.parsers import BoundedJSONParser
from onboarding.identifiers import MacAddress
from onboarding.models import Device, RedirectProfile


class PartnerView(APIView):
    """A view for keys; `scopes` names the scope of each method."""

    scopes: ClassVar[dict[str, str]] = {}
    parser_classes = [BoundedJSONParser]
    metadata_class = None
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]

    @property
    def partner(self) -> Partner:
        """The caller. Permissions let nobody else in."""
        user = self.request.user
        assert isinstance(user, Partner)
        return user

    @property
    def organization(self) -> Organization:
        return self.partner.organization

    @property
    def actor(self) -> Actor:
        """The caller, as the history names it."""
        django_request = self.request._request
        return Actor(
            "api",
            self.partner.key.prefix,
            address=getattr(django_request, "address", ""),
            request_id=getattr(django_request, "id", ""),
        )

    @property
    def devices(self) -> "QuerySet[Device]":
        """The devices that the caller may see."""
        return Device.objects.visible_to(self.partner.viewer)

    @property
    def profiles(self) -> "QuerySet[RedirectProfile]":
        """The profiles that the caller may see."""
        return RedirectProfile.objects.visible_to(self.partner.viewer)

    def device(self, mac: str) -> Device:
        """The device that the path names in any notation. Raises InvalidMacAddress; Http404 for foreign ones too."""
        device = self.devices.filter(mac=str(MacAddress.parse(mac))).first()
        if device is None:
            raise Http404
        return device


class UnknownPath(APIView):
    """Any path of the API that there is not, with any method, key or none."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotFound
