"""The peer: the same answer as one would write it in Django at first, all in the request.

Look the phone up, write its state and what happened, answer. No checks, no token, no directory, no journal.
"""

from django.core.wsgi import get_wsgi_application

# Before the models: this module is what gunicorn loads first.
application = get_wsgi_application()

from django.db import transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402

from onboarding.models import Device, StateChange  # noqa: E402

_DOCUMENT = '<flat-profile>\n  <Profile_Rule ua="na">{}</Profile_Rule>\n</flat-profile>\n'


def query(request: HttpRequest) -> HttpResponse:
    mac, serial, model = request.GET["id"].split(":")
    device = Device.objects.select_related("profile").get(mac=mac)
    assert device.profile is not None
    target = device.profile.targets[0]
    now = timezone.now()
    with transaction.atomic():
        for event, after in (("asked", "pending"), ("answered", "custom_pending")):
            StateChange.objects.create(
                device=device,
                organization_id=device.organization_id,
                mac=mac,
                at=now,
                recorded_at=now,
                event=event,
                before=device.state,
                after=after,
                source="door",
                evidence={"model": model, "serial": serial, "target": target},
            )
            device.state = after
        device.state_since = device.last_seen = device.changed_at = now
        device.save(update_fields=["state", "state_since", "last_seen", "changed_at"])
    return HttpResponse(_DOCUMENT.format(target), content_type="application/xml", headers={"Cache-Control": "no-store"})


def alive(request: HttpRequest) -> HttpResponse:
    return HttpResponse("alive")


urlpatterns = [path("software/edos/callhome/rc", query), path("healthz", alive)]
