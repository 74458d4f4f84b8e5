"""`/devices/{mac}/events/`: the provider's call-back, which tells what became of a phone."""

from datetime import datetime, timedelta

from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from onboarding import customization
from onboarding.api import shapes
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView
from onboarding.customization import Evidence
from onboarding.observations import Clock, Observation
from onboarding.states import Event

SOURCE = "callback"

# A provider's queue may have been down for long, and its clock may be a little fast.
OLDEST, FURTHEST_AHEAD = timedelta(days=30), timedelta(minutes=5)


class Events(PartnerView):
    keeps_to_profiles = True
    scopes = {"POST": "devices:write"}

    @operation(
        "devices_events", "Tell what became of a phone", body=shapes.EventInput, answers={202: shapes.EventAccepted},
        scope="devices:write",
        more="It is written to the timeline. An event that cannot follow the present state waits ten minutes for what "
        "came before it, and is then kept as refused.",
    )  # fmt: skip
    def post(self, request: Request, mac: str) -> Response:
        now = timezone.now()
        given = shapes.EventInput.read(request.data)
        at = _checked(given.get("at", now), now=now)
        device = self.device(mac)
        observation = Observation(Event(given["event"]), Clock(at), SOURCE, {"by": self.partner.key.prefix})
        customization.record(Evidence(device.mac, observation, device.pk, device.organization_id), at=now)
        accepted = {"mac": device.mac, "event": given["event"], "at": at}
        return Response(shapes.EventAccepted(accepted).data, status=202)


def _checked(at: datetime, *, now: datetime) -> datetime:
    """The time that an event is recorded with: never one to come, or it would make all true evidence look late."""
    if at < now - OLDEST:
        raise ValidationError({"at": f"This is more than {OLDEST.days} days ago."})
    if at > now + FURTHEST_AHEAD:
        raise ValidationError({"at": f"This is more than {FURTHEST_AHEAD.seconds // 60} minutes ahead."})
    return min(at, now)
