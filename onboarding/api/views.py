"""What all views of the partner API have in common: which rows the caller sees, and that bodies are JSON."""

from typing import Any, NoReturn

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.views import KeyedView
from onboarding.api.parsers import BoundedJSONParser
from onboarding.identifiers import MacAddress
from onboarding.models import Device, RedirectProfile


class PartnerView(KeyedView):
    """A view for keys with JSON bodies; `scopes` names the scope of each method."""

    parser_classes = [BoundedJSONParser]

    @property
    def limited(self) -> bool:
        """Whether the caller holds a mandate for some profiles only."""
        return bool(self.partner.viewer.limited)

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
