"""Phones that stay Custom Pending longer than their profile allows are marked, and unmarked by their next change."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from onboarding import customization
from onboarding.customization import Evidence
from onboarding.models import Device
from onboarding.observations import Clock, Observation
from onboarding.states import Event
from tests.factories import AT, make_device, make_organization, make_profile

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


def pending_since(minutes, **over):
    columns = {"state_since": AT - minutes * MINUTE} | over.pop("columns", {})
    return make_device(state="custom_pending", columns=columns, **over)


def stalled():
    return set(Device.objects.exclude(stalled_at=None).values_list("mac", flat=True))


def test_each_phone_is_measured_by_its_own_profile():
    organization = make_organization()
    profiles = {n: make_profile(organization=organization, stalled_after_minutes=n) for n in (1, 5, 30, 1440, 525600)}
    due = [pending_since(n, profile=profile, organization=organization) for n, profile in profiles.items()]
    early = [
        make_device(
            profile=profile,
            organization=organization,
            state="custom_pending",
            columns={"state_since": AT - n * MINUTE + timedelta(seconds=1)},
        )
        for n, profile in profiles.items()
    ]

    assert customization.flag_stalled(at=AT) == len(due)

    assert stalled() == {device.mac for device in due}
    assert Device.objects.get(pk=due[0].pk).stalled_at == Device.objects.get(pk=due[0].pk).changed_at == AT
    assert not stalled() & {device.mac for device in early}


def test_a_phone_with_only_a_target_of_its_own_has_thirty_minutes():
    due = pending_since(30, target="https://own.example.net/")
    pending_since(29, target="https://own.example.net/")

    assert customization.flag_stalled(at=AT) == 1
    assert stalled() == {due.mac}


@pytest.mark.parametrize("state", ["open", "pending", "acquired", "unavailable", "aborted"])
def test_only_custom_pending_phones_stall(state):
    make_device(state=state, columns={"state_since": AT - timedelta(days=30)})

    assert customization.flag_stalled(at=AT) == 0


def test_a_marked_phone_is_not_marked_again():
    pending_since(60)

    assert customization.flag_stalled(at=AT) == 1
    assert customization.flag_stalled(at=AT + MINUTE) == 0


def test_no_more_are_marked_at_once_than_the_limit():
    organization = make_organization()
    for _ in range(5):
        pending_since(60, organization=organization)

    assert [customization.flag_stalled(at=AT, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_many_allowances_cost_no_more_queries_than_one():
    organization = make_organization()
    for minutes in range(1, 41):
        profile = make_profile(organization=organization, stalled_after_minutes=minutes)
        pending_since(20, profile=profile, organization=organization)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        marked = customization.flag_stalled(at=AT)

    assert marked == 20
    assert len(queries) == 2


def evidence(device, event, at):
    return Evidence(device.mac, Observation(Event(event), Clock(at), "door"), device.pk, device.organization_id)


def test_the_mark_goes_with_the_next_change_of_state():
    device = pending_since(60)
    customization.flag_stalled(at=AT)

    customization.record(evidence(device, "resync_failed", AT + MINUTE), at=AT + MINUTE)
    assert stalled() == {device.mac}
    customization.record(evidence(device, "acquired", AT + 2 * MINUTE), at=AT + 2 * MINUTE)
    assert stalled() == set()


def test_the_mark_goes_when_the_phone_asks_anew_although_it_ends_in_the_same_state():
    device = pending_since(60)
    customization.flag_stalled(at=AT)

    again = [evidence(device, event, AT + MINUTE) for event in ("asked", "answered")]
    customization.record_all(again, at=AT + MINUTE)

    device.refresh_from_db()
    assert (device.state, device.state_since, device.stalled_at) == ("custom_pending", AT + MINUTE, None)


def test_a_profile_that_expects_no_confirmation_has_no_stalled_phones():
    pending_since(1000, profile=make_profile(confirm="none"))

    assert customization.flag_stalled(at=AT) == 0
    assert stalled() == set()
