"""The provider's call-back."""

from datetime import timedelta

import pytest
from django.utils import timezone

from onboarding import customization
from onboarding.customization import DOOR, Evidence
from onboarding.models import Device, StateChange
from onboarding.observations import Clock, Observation
from onboarding.states import Event
from tests.factories import make_device


@pytest.fixture
def device(partner):
    """A phone that was claimed a day ago."""
    return make_device(organization=partner.organization, at=timezone.now() - timedelta(days=1))


def ask(device, *, at):
    """The phone asks and is answered."""
    customization.record_all(
        [
            Evidence(device.mac, Observation(event, Clock(at, "door", number), DOOR), device.pk, device.organization_id)
            for number, event in enumerate((Event.ASKED, Event.ANSWERED), start=1)
        ],
        at=at,
    )


def tell(partner, device, **body):
    return partner("POST", f"devices/{device.mac}/events/", body)


def state(device):
    return Device.objects.get(pk=device.pk).state


def test_a_legal_event_moves_the_state_and_names_the_key(partner, device):
    ask(device, at=timezone.now() - timedelta(minutes=1))

    answer = tell(partner, device, event="acquired")

    assert (answer.status_code, answer.json()["event"], answer.json()["mac"]) == (202, "acquired", device.mac)
    row = partner("GET", f"devices/{device.mac}/timeline/").json()["results"][0]
    assert (row["event"], row["before"], row["after"]) == ("acquired", "custom_pending", "acquired")
    assert (row["source"], row["evidence"], row["refused"]) == ("callback", {"by": partner.row.prefix}, None)
    assert partner("GET", f"devices/{device.mac}/").json()["state"] == "acquired"


def test_an_event_that_overtook_the_door_settles_when_the_door_is_heard(partner, device):
    now = timezone.now()

    assert tell(partner, device, event="acquired").status_code == 202
    assert state(device) == "open"
    ask(device, at=now - timedelta(seconds=5))
    customization.settle(at=timezone.now())

    assert state(device) == "acquired"


def test_an_illegal_event_is_kept_as_refused_after_the_settling_time(partner, device):
    tell(partner, device, event="acquired", at=(timezone.now() - timedelta(minutes=11)).isoformat())

    assert state(device) == "open"
    assert StateChange.objects.get(event="acquired").refused == "illegal"


def test_every_reportable_event_is_taken(partner, device):
    for event in ("acquired", "resync_failed", "dhcp_provisioned", "manually_provisioned", "factory_reset"):
        assert tell(partner, device, event=event).status_code == 202


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"event": "asked"}, "event"),
        ({"event": "answered"}, "event"),
        ({"event": ["acquired"]}, "event"),
        ({}, "event"),
        ({"event": "acquired", "state": "open"}, "state"),
        ({"event": "acquired", "at": "yesterday"}, "at"),
        ({"event": "acquired", "at": None}, "at"),
    ],
)
def test_other_input_is_refused(partner, device, body, field):
    answer = tell(partner, device, **body)

    assert answer.status_code == 400
    assert field in answer.json()["errors"]


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (timedelta(days=30, minutes=1), 400),
        (timedelta(days=29, hours=23), 202),
        (timedelta(0), 202),
        (timedelta(minutes=-4), 202),
        (timedelta(minutes=-6), 400),
    ],
)
def test_the_time_of_an_event_is_bounded(partner, device, age, status):
    answer = tell(partner, device, event="resync_failed", at=(timezone.now() - age).isoformat())

    assert answer.status_code == status
    assert StateChange.objects.filter(event="resync_failed").count() == (status == 202)


def test_a_time_to_come_is_recorded_as_now(partner, device):
    tell(partner, device, event="resync_failed", at=(timezone.now() + timedelta(minutes=4)).isoformat())

    assert StateChange.objects.get(event="resync_failed").at <= timezone.now()


def test_what_is_said_of_a_time_before_the_claim_moves_nothing(partner, device):
    tell(partner, device, event="dhcp_provisioned", at=(timezone.now() - timedelta(days=2)).isoformat())

    assert state(device) == "open"
    assert StateChange.objects.get(event="dhcp_provisioned").refused == "late"
