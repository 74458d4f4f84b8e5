"""`/devices/{mac}/timeline/`: what was seen of a phone and what it did to its state, newest first."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from onboarding import history
from onboarding.api import pagination, shapes
from onboarding.api.fields import PageQuery, printed
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView
from onboarding.models import StateChange


class Timeline(PartnerView):
    keeps_to_profiles = True
    scopes = {"GET": "devices:read"}

    @operation(
        "devices_timeline", "Read a device's history, newest first", answers={200: shapes.ChangeShown}, paged=True,
        query=PageQuery, scope="devices:read", missing=True,
    )  # fmt: skip
    def get(self, request: Request, mac: str) -> Response:
        query = PageQuery.read(request.query_params)
        device = self.device(mac)
        rows = history.of_device(device, self.partner.viewer)
        return pagination.page(rows, by="-id", query=query, purpose=f"timeline:{device.pk}", show=_shown)


def _shown(change: StateChange) -> dict[str, Any]:
    return printed(shapes.ChangeShown, change)
