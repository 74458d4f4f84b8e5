"""Two at once, each with a connection of its own: one wins, the other notices, and the history tells one story."""

from datetime import timedelta

import pytest

from onboarding import bulkwrites, customization, profiles, registry
from onboarding.bulkwrites import DeviceWrite
from onboarding.customization import Evidence
from onboarding.identifiers import MacAddress
from onboarding.models import Device, RedirectProfile, Sighting, StateChange, UnsettledObservation
from onboarding.observations import Clock, Observation
from onboarding.profiles import ProfileInUse
from onboarding.registry import DeviceGone, DeviceTaken
from onboarding.states import Event
from tests.factories import ACTOR, AT, OWN, make_device, make_fields, make_mac, make_organization, make_profile
from tests.races import at_once

pytestmark = pytest.mark.django_db(transaction=True)
SECOND = timedelta(seconds=1)


def seen(device, event, sequence, *, machine="a"):
    observation = Observation(Event(event), Clock(AT + sequence * SECOND, machine, sequence), "door")
    return Evidence(device.mac, observation, device.pk, device.organization_id)


def putting(organization, mac, **fields):
    def put():
        return registry.put(
            actor=ACTOR, organization=organization, mac=mac, values=make_fields(**fields), own=OWN, at=AT
        )

    return put


def test_of_two_organizations_that_claim_a_phone_at_once_exactly_one_gets_it():
    first, second = make_organization(), make_organization()
    for round_number in range(50):
        mac = make_mac()
        if round_number % 2:
            Sighting.objects.create(mac=str(mac), first_at=AT, last_at=AT)

        outcomes = at_once(putting(first, mac), putting(second, mac))

        refused = [outcome for outcome in outcomes if isinstance(outcome, DeviceTaken)]
        claimed = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
        assert (len(refused), len(claimed)) == (1, 1), outcomes
        device = Device.objects.get(mac=str(mac))
        assert device == claimed[0][0]
        rows = StateChange.objects.filter(mac=str(mac)).order_by("id")
        assert [row.event for row in rows] == (["not_found", "claimed"] if round_number % 2 else ["claimed"])
        assert {row.organization_id for row in rows} == {device.organization_id}


def test_one_organizations_repeated_put_claims_once():
    organization = make_organization()
    for _ in range(20):
        mac = make_mac()

        outcomes = at_once(putting(organization, mac), putting(organization, mac), putting(organization, mac))

        assert sorted(outcome[1] for outcome in outcomes) == [False, False, True]
        assert len({outcome[0].pk for outcome in outcomes}) == 1
        assert StateChange.objects.filter(mac=str(mac)).count() == 1


def test_a_put_that_meets_a_release_changes_or_claims():
    organization = make_organization()
    for number in range(20):
        device = make_device(organization=organization)
        mac = device.mac

        outcomes = at_once(
            putting(organization, MacAddress.parse(mac), label=f"label {number}"),
            lambda device=device: registry.release(actor=ACTOR, device=device, at=AT),
        )

        assert isinstance(outcomes[0], tuple), outcomes
        assert outcomes[1] is None, outcomes
        events = list(StateChange.objects.filter(mac=mac).order_by("id").values_list("event", flat=True))
        assert events in (["claimed", "changed", "released"], ["claimed", "released", "claimed"])
        assert Device.objects.filter(mac=mac).exists() == (events[-1] == "claimed")


def test_of_two_releases_one_is_told_that_it_came_too_late():
    device = make_device()
    stale = Device.objects.get()

    outcomes = at_once(
        lambda: registry.release(actor=ACTOR, device=device, at=AT),
        lambda: registry.release(actor=ACTOR, device=stale, at=AT),
    )

    assert [type(outcome) for outcome in outcomes if outcome is not None] == [DeviceGone]
    assert StateChange.objects.filter(event="released").count() == 1


def write_from(device, state):
    """The guarded write of someone who read the device as it is in `device`."""
    return DeviceWrite(
        device.pk,
        device.revision,
        device.state,
        state,
        AT + SECOND,
        AT + SECOND,
        AT + SECOND,
        "a",
        1,
        0,
        None,
        0,
        0,
        None,
        AT + SECOND,
    )


def test_of_two_stale_writers_one_wins():
    device = make_device()
    for _ in range(20):
        device.refresh_from_db()
        writes = [write_from(device, state) for state in ("pending", "aborted")]

        outcomes = at_once(*(lambda write=write: bulkwrites.write_devices([write]) for write in writes))

        assert sorted(map(len, outcomes)) == [0, 1]
        after = Device.objects.get()
        assert after.revision == device.revision + 1
        assert after.state == writes[[len(outcome) for outcome in outcomes].index(1)].state


def test_two_witnesses_of_one_step_leave_one_story():
    for _ in range(25):
        device = make_device(state="pending")

        outcomes = at_once(
            lambda device=device: customization.record(seen(device, "answered", 1), at=AT),
            lambda device=device: customization.record(seen(device, "dhcp_provisioned", 2, machine=""), at=AT),
        )

        assert outcomes == [None, None]
        device.refresh_from_db()
        rows = StateChange.objects.filter(device=device).exclude(event="claimed").order_by("id")
        assert len(rows) == 2
        state = "pending"
        for row in rows:
            assert row.before == state
            state = row.after
        assert (state, device.state, device.revision) == ("aborted", "aborted", 2)


def test_two_batches_over_the_same_phones_in_opposite_order_both_arrive():
    organization = make_organization()
    devices = [make_device(organization=organization) for _ in range(40)]
    for number in range(6):
        batches = [
            [seen(device, "resync_failed", 2 * number, machine="a") for device in devices],
            [seen(device, "resync_failed", 2 * number + 1, machine="b") for device in reversed(devices)],
        ]

        outcomes = at_once(*(lambda batch=batch: customization.record_all(batch, at=AT) for batch in batches))

        assert outcomes == [None, None]
    assert StateChange.objects.filter(event="resync_failed").count() == 6 * 2 * len(devices)
    assert set(Device.objects.values_list("revision", flat=True)) == {12}


def test_evidence_and_a_release_at_once_lose_nothing():
    for number in range(30):
        device = make_device()
        # "answered" is illegal here: it waits, and then belongs to no device any more.
        event = ("asked", "answered", "acquired")[number % 3]

        outcomes = at_once(
            lambda device=device, event=event: customization.record(seen(device, event, 1), at=AT),
            lambda device=device: registry.release(actor=ACTOR, device=device, at=AT),
        )

        assert outcomes == [None, None]
        rows = StateChange.objects.filter(device_id=device.pk).order_by("id")
        assert sorted(row.event for row in rows) == sorted(["claimed", event, "released"])
    assert not UnsettledObservation.objects.exists()


def test_two_settlers_try_each_observation_once():
    device = make_device()
    for _ in range(5):
        customization.record(seen(device, "acquired", 1), at=AT)

    outcomes = at_once(*[lambda: customization.settle(at=AT + timedelta(hours=1))] * 3)

    assert sorted(outcomes) == [0, 0, 5]
    assert StateChange.objects.filter(refused="illegal").count() == 5


def test_settling_and_a_release_at_once_lose_nothing():
    for _ in range(15):
        device = make_device()
        for sequence in range(3):
            customization.record(seen(device, "acquired", sequence), at=AT)

        outcomes = at_once(
            lambda: customization.settle(at=AT + timedelta(hours=1)),
            lambda device=device: registry.release(actor=ACTOR, device=device, at=AT + timedelta(hours=1)),
        )

        assert outcomes[0] in {0, 3}
        assert outcomes[1] is None
        refused = StateChange.objects.filter(device_id=device.pk, event="acquired").values_list("refused", flat=True)
        assert list(refused) in (["illegal"] * 3, ["released"] * 3)


def test_a_profile_that_is_deleted_while_it_is_given_is_given_or_deleted():
    organization = make_organization()
    for _ in range(20):
        profile = make_profile(organization=organization)
        device = make_device(organization=organization)

        outcomes = at_once(
            lambda device=device, profile=profile: registry.associate(
                actor=ACTOR, device=device, profile=profile, at=AT
            ),
            lambda profile=profile: profiles.delete(RedirectProfile.objects.get(pk=profile.pk), actor=ACTOR, at=AT),
        )

        device.refresh_from_db()
        if RedirectProfile.objects.filter(pk=profile.pk).exists():
            assert device.profile_id == profile.pk
            assert isinstance(outcomes[1], ProfileInUse)
        else:
            assert device.profile_id is None
            assert isinstance(outcomes[0], registry.ProfileNotYours)
