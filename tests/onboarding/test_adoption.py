"""A phone that nobody has is adopted in one statement, and ends up as the verbs of every other case would leave it."""

from datetime import timedelta

import pytest
from django.db import connection

from accounts.statements import Statement
from onboarding import adoption, customization, registry, sightings
from onboarding.adoption import Arrival
from onboarding.bulkwrites import Guard
from onboarding.customization import Evidence
from onboarding.models import Device, Sighting, StateChange
from onboarding.observations import Clock, Observation
from onboarding.registry import ProfileFull
from onboarding.states import Event
from tests.factories import ACTOR, AT, make_device, make_mac, make_profile

pytestmark = pytest.mark.django_db

HOLDS = Guard(Statement.of("SELECT", ()), (), Statement.of("SELECT id FROM device", ()), ())
FAILS = Guard(Statement.of("SELECT WHERE false", ()), (), Statement.of("SELECT id FROM device", ()), ())
COLUMNS = {"model": "CP-8841-3PCC", "serial": "FCH2133E8B9", "label": "Reception", "proven": False}
only_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="one statement is PostgreSQL's")


def observations():
    clock = Clock(AT)
    return (
        Observation(Event.ASKED, clock, "activation", {"firmware": "11-2-3"}),
        Observation(Event.ANSWERED, clock, "activation", {"outcome": "redirected", "odd": 'tab\t"quote" \\ é'}),
    )


def seen_before(mac):
    earlier = Observation(Event.ASKED, Clock(AT - timedelta(minutes=3)), "door", {"model": "CP-8841-3PCC"})
    sightings.record_all([(str(mac), earlier)])
    return Sighting.objects.get(mac=str(mac))


def adopt(profile, mac, *, sighting=None, guard=HOLDS):
    arrival = Arrival(profile=profile, mac=mac, columns=COLUMNS, sighting=sighting, observations=observations())
    return adoption.adopt_new(arrival, actor=ACTOR, guard=guard, at=AT)


def adopt_step_by_step(profile, mac):
    device = registry.adopt(
        actor=ACTOR, organization=profile.organization, mac=mac, profile=profile, at=AT, **COLUMNS
    )  # fmt: skip
    owner = (device.pk, device.organization_id)
    customization.record_all([Evidence(device.mac, item, *owner) for item in observations()], at=AT)
    return device.pk


def told(device_id):
    """All that is known of a device, but for what names it."""
    device = Device.objects.filter(pk=device_id).values().get()
    history = list(StateChange.objects.filter(device_id=device_id).order_by("id").values())
    for row in (device, *history):
        for name in ("id", "mac", "device_id"):
            row.pop(name, None)
    return device, history


@only_postgresql
@pytest.mark.parametrize("asked_in_vain", [False, True])
def test_one_statement_leaves_what_the_verbs_leave(asked_in_vain):
    profile, mac, other = make_profile(), make_mac(), make_mac()
    sighting = None
    if asked_in_vain:
        sighting, _ = seen_before(mac), seen_before(other)
    device_id = adopt(profile, mac, sighting=sighting)
    assert device_id is not None
    assert told(device_id) == told(adopt_step_by_step(profile, other))
    assert not Sighting.objects.exists()


@pytest.mark.parametrize("spoil", ["taken", "seen_since", "guard", "sqlite"])
def test_what_is_not_that_simple_is_left_to_the_verbs_with_nothing_written(spoil):
    if (connection.vendor == "sqlite") != (spoil == "sqlite"):
        pytest.skip("of the other database")
    profile, mac = make_profile(), make_mac()
    if spoil == "taken":
        make_device(mac=mac)
    if spoil == "seen_since":
        seen_before(mac)
    before = (Device.objects.count(), StateChange.objects.count(), Sighting.objects.count())
    assert adopt(profile, mac, guard=FAILS if spoil == "guard" else HOLDS) is None
    assert (Device.objects.count(), StateChange.objects.count(), Sighting.objects.count()) == before


@only_postgresql
def test_a_phone_that_asked_again_meanwhile_is_left_to_the_verbs():
    profile, mac = make_profile(), make_mac()
    read = seen_before(mac)
    seen_before(mac)
    assert adopt(profile, mac, sighting=read) is None
    assert Sighting.objects.filter(mac=str(mac)).exists()


@only_postgresql
def test_a_profile_that_is_full_takes_no_more(monkeypatch):
    monkeypatch.setattr(registry, "MOST_UNPROVEN", 1)
    profile = make_profile()
    assert adopt(profile, make_mac()) is not None
    with pytest.raises(ProfileFull):
        adopt(profile, make_mac())
