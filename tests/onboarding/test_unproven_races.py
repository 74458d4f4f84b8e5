"""Two at once at one unproven device: one has it in the end, and each history tells one story."""

import pytest

from onboarding import registry
from onboarding.models import Device, StateChange
from onboarding.registry import DeviceTaken
from tests.factories import ACTOR, AT, make_mac, make_profile
from tests.onboarding.test_races import at_once, putting

pytestmark = pytest.mark.django_db(transaction=True)


def adopting(profile, mac):
    def adopt():
        return registry.adopt(
            actor=ACTOR, organization=profile.organization, mac=mac, model="", serial="", profile=profile,
            proven=False, at=AT,
        )  # fmt: skip

    return adopt


def balance(organization):
    events = list(StateChange.objects.filter(organization=organization).values_list("event", flat=True))
    return events.count("claimed") - events.count("released")


@pytest.mark.parametrize("round", range(4))
def test_two_that_claim_anothers_unproven_device(round):
    mac, former, rivals = make_mac(), make_profile(), [make_profile() for _ in range(2)]
    adopting(former, mac)()

    outcomes = at_once(*(putting(profile.organization, mac, profile=profile) for profile in rivals))

    assert sorted(type(outcome) for outcome in outcomes if isinstance(outcome, Exception)) == [DeviceTaken]
    device = Device.objects.get()
    assert device.proven
    assert balance(former.organization) == 0
    assert sorted(balance(profile.organization) for profile in rivals) == [0, 1]
    assert balance(device.organization) == 1


@pytest.mark.parametrize("round", range(4))
def test_a_claim_wins_over_a_code_typed_at_the_same_moment(round):
    mac, former, owner, guest = make_mac(), make_profile(), make_profile(), make_profile()
    adopting(former, mac)()

    claimed, typed = at_once(putting(owner.organization, mac, profile=owner), adopting(guest, mac))

    assert not isinstance(claimed, Exception)
    assert isinstance(typed, Device | DeviceTaken)
    device = Device.objects.get()
    assert (device.organization, device.proven) == (owner.organization, True)
    assert [balance(profile.organization) for profile in (former, owner, guest)] == [0, 1, 0]


@pytest.mark.parametrize("round", range(4))
def test_two_codes_of_one_organization_typed_at_the_same_moment(round):
    mac, profile = make_mac(), make_profile()

    outcomes = at_once(adopting(profile, mac), adopting(profile, mac))

    assert {outcome.pk for outcome in outcomes} == {Device.objects.get().pk}
    assert balance(profile.organization) == 1
