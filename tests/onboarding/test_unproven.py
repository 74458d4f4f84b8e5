"""Devices that nobody proved: they redirect nothing, stand in nobody's way, and are limited in number."""

import pytest

from onboarding import registrations, registry
from onboarding.identifiers import MacAddress
from onboarding.models import Device, StateChange
from tests import factories
from tests.factories import ACTOR, AT, OWN

pytestmark = pytest.mark.django_db

MAC = MacAddress.parse("00562B043615")


@pytest.fixture
def profile():
    return factories.make_profile()


@pytest.fixture
def rival():
    return factories.make_profile()


def adopt(profile, *, proven=False, mac=MAC, model="CP-8841-3PCC", serial=""):
    return registry.adopt(
        actor=ACTOR, organization=profile.organization, mac=mac, model=model, serial=serial, profile=profile,
        proven=proven, at=AT,
    )  # fmt: skip


def claim(profile, *, mac=MAC):
    return registry.claim(
        actor=ACTOR, organization=profile.organization, mac=mac, values=factories.make_fields(profile=profile),
        own=OWN, at=AT,
    )  # fmt: skip


def put(profile, **over):
    values = factories.make_fields(profile=profile, **over)
    return registry.put(
        actor=ACTOR, organization=profile.organization, mac=MAC, values=values, own=OWN, at=AT
    )  # fmt: skip


def owner():
    row = Device.objects.get(mac=str(MAC))
    return row.organization, row.proven


def events_of(organization):
    return list(StateChange.objects.filter(organization=organization).order_by("id").values_list("event", flat=True))


@pytest.mark.parametrize("proven", [True, False])
def test_an_unknown_phone_becomes_a_device_of_the_codes_owner(profile, proven):
    device = adopt(profile, proven=proven, serial="FCH2133A0B9")

    assert (device.model, device.serial, device.profile, device.state) == (
        "CP-8841-3PCC", "FCH2133A0B9", profile, "open",
    )  # fmt: skip
    assert owner() == (profile.organization, proven)
    assert events_of(profile.organization) == ["claimed"]
    assert StateChange.objects.get().evidence["proven"] is proven


def test_only_a_proven_device_is_redirected_later(profile):
    adopt(profile)
    assert registrations.for_mac(MAC) is None

    put(profile)
    assert registrations.for_mac(MAC) is not None


def test_adopting_again_changes_nothing(profile):
    first = adopt(profile)
    again = adopt(profile)

    assert again.pk == first.pk
    assert events_of(profile.organization) == ["claimed"]


def test_a_proven_device_gets_the_codes_profile_and_stays_proven(profile):
    claim(profile)
    other = factories.make_profile(organization=profile.organization)

    device = adopt(other)

    assert device.profile == other
    assert owner() == (profile.organization, True)


def test_a_code_bound_to_the_phone_proves_ones_own_device(profile):
    adopt(profile)
    adopt(profile, proven=True)

    assert owner() == (profile.organization, True)


def test_what_the_owner_wrote_is_not_overwritten_by_what_the_phone_says(profile):
    claim(profile)

    adopt(profile, model="CP-6841-3PCC", serial="FCH2133A0B9")

    device = Device.objects.get()
    assert (device.model, device.serial) == ("CP-8841-3PCC", "FCH2133A0B9")


@pytest.mark.parametrize("proven", [True, False])
def test_a_device_that_another_organization_proved_is_refused(profile, rival, proven):
    claim(rival)

    with pytest.raises(registry.DeviceTaken) as refusal:
        adopt(profile, proven=proven)

    assert rival.organization.name not in str(refusal.value)
    assert owner() == (rival.organization, True)
    assert events_of(profile.organization) == []


@pytest.mark.parametrize(
    ("way", "proven"),
    [(claim, True), (lambda p: put(p)[0], True), (lambda p: adopt(p, proven=True), True), (adopt, False)],
    ids=["claim", "put", "bound code", "unbound code"],
)
def test_an_unproven_device_of_another_organization_is_taken_over(profile, rival, way, proven):
    former = adopt(rival)

    taken = way(profile)

    assert taken.pk != former.pk
    assert owner() == (profile.organization, proven)
    assert events_of(rival.organization) == ["claimed", "released"]
    assert events_of(profile.organization) == ["claimed"]
    # Nothing of the new owner, not even the key that did it.
    last = StateChange.objects.filter(organization=rival.organization).latest("id")
    assert last.evidence == {"by": "registry", "reason": "taken_over"}


def test_putting_over_another_organizations_unproven_device_is_a_claim(profile, rival):
    adopt(rival)

    assert put(profile)[1]


@pytest.mark.parametrize("way", [claim, put], ids=["claim", "put"])
def test_claiming_ones_own_unproven_device_proves_it_and_keeps_its_history(profile, way):
    adopted = adopt(profile)

    way(profile)

    assert owner() == (profile.organization, True)
    assert Device.objects.get().pk == adopted.pk
    assert events_of(profile.organization) == ["claimed", "changed"]


def test_claiming_ones_own_proven_device_is_refused_as_before(profile):
    claim(profile)

    with pytest.raises(registry.InvalidDevice):
        claim(profile)


def test_editing_an_unproven_device_does_not_prove_it(profile):
    device = adopt(profile)

    registry.change(
        actor=ACTOR, device=device, values=factories.make_fields(profile=profile, label="Mine?"), own=OWN, at=AT
    )

    assert owner() == (profile.organization, False)


def test_unproven_devices_of_a_profile_are_limited(profile, monkeypatch):
    monkeypatch.setattr(registry, "MOST_UNPROVEN", 3)
    adopted = [adopt(profile, mac=factories.make_mac()) for _ in range(3)]

    with pytest.raises(registry.ProfileFull):
        adopt(profile)

    # Those that are in already, proven ones and other profiles are not held up.
    adopt(profile, mac=MacAddress.parse(adopted[0].mac))
    adopt(profile, proven=True)
    adopt(factories.make_profile(organization=profile.organization), mac=factories.make_mac())


def test_another_organizations_unproven_device_counts_as_free(profile, rival):
    other = factories.make_mac()
    adopt(rival)
    adopt(profile, mac=other)

    assert registry.owned([MAC, other], profile.organization) == {other: True}


def test_a_profile_of_another_organization_cannot_be_adopted_with(profile, rival):
    with pytest.raises(registry.ProfileNotYours):
        registry.adopt(
            actor=ACTOR, organization=profile.organization, mac=MAC, model="", serial="", profile=rival,
            proven=False, at=AT,
        )  # fmt: skip
