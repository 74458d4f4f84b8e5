"""Claim, change, associate, release: each is recorded with who did it, and no owner learns of another."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actors import Actor
from onboarding import customization, registry
from onboarding.customization import Evidence
from onboarding.identifiers import MacAddress
from onboarding.models import Device, Sighting, StateChange, UnsettledObservation
from onboarding.observations import Clock, Observation
from onboarding.profilerule import InvalidProfileRule
from onboarding.registry import DeviceGone, DeviceTaken, InvalidDevice, ProfileNotYours
from onboarding.states import Event
from onboarding.targets import TargetPointsBack
from tests.factories import ACTOR, AT, OWN, make_device, make_fields, make_mac, make_organization, make_profile

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
ADMIN = Actor("admin", "Ada Admin")


@pytest.fixture
def organization():
    return make_organization(name="Secretive Telephones")


def put(organization, mac, *, at=AT, actor=ACTOR, **fields):
    return registry.put(actor=actor, organization=organization, mac=mac, values=make_fields(**fields), own=OWN, at=at)


def history(mac):
    rows = StateChange.objects.filter(mac=str(mac)).order_by("id")
    return [(row.event, row.before, row.after, row.refused, row.source) for row in rows]


def asked_in_vain(mac, *, at=AT):
    for event in (Event.ASKED, Event.NOT_FOUND):
        customization.record(
            Evidence(str(mac), Observation(event, Clock(at), "door", {"model": "CP-8841-3PCC"})), at=at
        )


def test_a_claim_begins_the_device_at_open_and_says_who_made_it(organization):
    mac, profile = make_mac(), make_profile(organization=organization)

    device, claimed = put(organization, mac, profile=profile, serial="fch2133e8b9", label=" Desk 4 ", valid_until=AT)

    assert claimed
    device.refresh_from_db()
    assert (device.mac, device.model, device.serial, device.label) == (
        str(mac),
        "CP-8841-3PCC",
        "FCH2133E8B9",
        "Desk 4",
    )
    assert (device.state, device.state_since, device.claimed_at, device.changed_at) == ("open", AT, AT, AT)
    assert device.last_seen is None
    (row,) = StateChange.objects.filter(device=device)
    assert (row.event, row.before, row.after, row.source, row.at, row.recorded_at) == (
        "claimed",
        "open",
        "open",
        "api",
        AT,
        AT,
    )
    assert row.organization == organization
    assert row.evidence == {
        "by": "test-key",
        "model": "CP-8841-3PCC",
        "serial": "FCH2133E8B9",
        "label": "Desk 4",
        "profile": profile.pk,
        "valid_until": AT.isoformat(),
    }


def test_a_second_identical_put_writes_nothing(organization):
    mac = make_mac()
    fields = {"serial": "FCH2133E8B9", "valid_from": AT, "label": "Desk 4"}
    put(organization, mac, **fields)

    with CaptureQueriesContext(connection) as queries:
        device, claimed = put(organization, mac, at=AT + HOUR, **fields)

    assert not claimed
    assert not [q["sql"] for q in queries if q["sql"].split()[0] in {"INSERT", "UPDATE", "DELETE", "COPY"}]
    assert device.changed_at == AT
    assert [row[0] for row in history(mac)] == ["claimed"]


def test_a_put_sets_every_field_and_records_what_it_changed(organization):
    mac = make_mac()
    put(organization, mac, label="Desk 4", target="https://cfg.example.net/")

    device, claimed = put(organization, mac, at=AT + HOUR, actor=ADMIN, model="CP-6841-3PCC", target="https://x.net/")

    assert not claimed
    assert (device.label, device.model, device.target, device.changed_at) == (
        "",
        "CP-6841-3PCC",
        "https://x.net/",
        AT + HOUR,
    )
    assert Device.objects.get(pk=device.pk).label == ""
    row = StateChange.objects.get(event="changed")
    assert (row.before, row.after, row.source, row.at) == ("open", "open", "admin", AT + HOUR)
    assert row.evidence == {
        "by": "Ada Admin",
        "before": {"model": "CP-8841-3PCC", "label": "Desk 4", "target": "https://cfg.example.net/"},
        "after": {"model": "CP-6841-3PCC", "target": "https://x.net/"},
    }


def test_a_change_of_the_registration_leaves_the_state_alone(organization):
    device = make_device(organization=organization, state="acquired", columns={"revision": 7})

    changed = registry.change(actor=ACTOR, device=device, values=make_fields(label="x"), own=OWN, at=AT + HOUR)

    assert (changed.label, changed.state, changed.state_since, changed.revision) == ("x", "acquired", AT, 7)


def test_an_association_gives_and_takes_the_profile(organization):
    device, profile = make_device(organization=organization), make_profile(organization=organization)

    assert registry.associate(actor=ADMIN, device=device, profile=profile, at=AT).profile_id == profile.pk
    assert registry.associate(actor=ADMIN, device=device, profile=profile, at=AT).profile_id == profile.pk
    assert registry.associate(actor=ADMIN, device=device, profile=None, at=AT).profile_id is None

    told = [row.evidence for row in StateChange.objects.filter(event="changed").order_by("id")]
    assert told == [
        {"by": "Ada Admin", "before": {}, "after": {"profile": profile.pk}},
        {"by": "Ada Admin", "before": {"profile": profile.pk}, "after": {}},
    ]


@pytest.mark.parametrize("verb", ["put", "claim"])
def test_a_second_owner_is_refused_and_told_nothing_of_the_first(organization, verb):
    device = make_device(
        organization=organization, serial="FCH2133E8B9", label="Desk 4", profile=make_profile(organization=organization)
    )
    with pytest.raises(DeviceTaken) as caught:
        getattr(registry, verb)(
            actor=ACTOR,
            organization=make_organization(),
            mac=MacAddress.parse(device.mac),
            values=make_fields(),
            own=OWN,
            at=AT,
        )

    assert str(caught.value) == f"{device.mac} is registered by another organization."
    said = f"{caught.value!r} {vars(caught.value)} {caught.value.remedy}"
    assert not [
        secret for secret in (organization.name, "Desk 4", "FCH2133E8B9", "CP-8841", "test-key") if secret in said
    ]
    assert [row[0] for row in history(device.mac)] == ["claimed"]
    assert Device.objects.get().organization == organization


def test_a_claim_of_ones_own_device_is_refused_with_another_reason(organization):
    mac = make_mac()
    put(organization, mac)

    with pytest.raises(InvalidDevice, match="change it instead"):
        registry.claim(actor=ACTOR, organization=organization, mac=mac, values=make_fields(), own=OWN, at=AT)


def test_anothers_profile_can_be_used_by_no_verb(organization):
    foreign, device = make_profile(), make_device(organization=organization)

    for attempt in (
        lambda: put(organization, make_mac(), profile=foreign),
        lambda: registry.change(actor=ACTOR, device=device, values=make_fields(profile=foreign), own=OWN, at=AT),
        lambda: registry.associate(actor=ACTOR, device=device, profile=foreign, at=AT),
    ):
        with pytest.raises(ProfileNotYours) as caught:
            attempt()
        assert str(caught.value) == "There is no such profile."
        assert foreign.name not in str(vars(caught.value))
    assert Device.objects.exclude(profile=None).count() == 0


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"label": "x" * 121}, InvalidDevice, "label"),
        ({"label": "a\nb"}, InvalidDevice, "label"),
        ({"label": "a\0b"}, InvalidDevice, "label"),
        ({"label": "\ud800"}, InvalidDevice, "label"),
        ({"valid_from": AT, "valid_until": AT}, InvalidDevice, "valid_until"),
        ({"valid_from": AT + HOUR, "valid_until": AT}, InvalidDevice, "valid_until"),
        ({"target": " "}, InvalidProfileRule, "target"),
        ({"target": "ftp://a.net/"}, InvalidProfileRule, "target"),
        ({"target": "https://onboarding.example/"}, TargetPointsBack, "target"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(organization, fields, error, field):
    mac = make_mac()

    with pytest.raises(error) as caught:
        put(organization, mac, **fields)

    assert caught.value.field == field
    assert (Device.objects.count(), StateChange.objects.count()) == (0, 0)


def test_a_release_ends_the_device_and_keeps_its_history(organization):
    device = make_device(organization=organization, state="acquired")

    registry.release(actor=ADMIN, device=device, at=AT + HOUR)

    assert not Device.objects.exists()
    assert history(device.mac)[-1] == ("released", "acquired", "acquired", "", "admin")
    assert StateChange.objects.filter(organization=organization).count() == 2


def test_what_is_gone_cannot_be_changed_or_released_again(organization):
    device = make_device(organization=organization)
    stale = Device.objects.get(pk=device.pk)
    registry.release(actor=ACTOR, device=device, at=AT)

    with pytest.raises(DeviceGone):
        registry.release(actor=ACTOR, device=stale, at=AT)
    with pytest.raises(DeviceGone):
        registry.change(actor=ACTOR, device=stale, values=make_fields(label="x"), own=OWN, at=AT)
    with pytest.raises(DeviceGone):
        registry.associate(actor=ACTOR, device=stale, profile=None, at=AT)
    assert len(history(device.mac)) == 2


def test_a_stale_copy_never_reaches_the_next_owners_device(organization):
    device = make_device(organization=organization)
    stale = Device.objects.get(pk=device.pk)
    registry.release(actor=ACTOR, device=device, at=AT)
    other = make_organization()
    put(other, MacAddress.parse(device.mac))

    with pytest.raises(DeviceGone):
        registry.release(actor=ACTOR, device=stale, at=AT)
    with pytest.raises(DeviceGone):
        registry.change(actor=ACTOR, device=stale, values=make_fields(label="x"), own=OWN, at=AT)

    assert Device.objects.get().organization == other


def test_a_phone_that_asked_in_vain_begins_at_unavailable_with_its_sighting_in_the_timeline(organization):
    mac = make_mac()
    for hour in range(3):
        asked_in_vain(mac, at=AT - 3 * HOUR + hour * HOUR)

    device, _ = put(organization, mac)

    assert (device.state, device.state_since, device.last_seen) == ("unavailable", AT - HOUR, AT - HOUR)
    assert history(mac) == [
        ("not_found", "open", "unavailable", "", "sighting"),
        ("claimed", "unavailable", "unavailable", "", "api"),
    ]
    told = StateChange.objects.get(source="sighting")
    assert told.at == AT - HOUR
    assert told.evidence == {
        "first": (AT - 3 * HOUR).isoformat(),
        "last": (AT - HOUR).isoformat(),
        "count": 3,
        "model": "CP-8841-3PCC",
        "serial": "",
        "firmware": "",
    }
    assert not Sighting.objects.exists()


def test_the_next_life_begins_at_open(organization):
    device = make_device(organization=organization, state="acquired")
    registry.release(actor=ACTOR, device=device, at=AT)

    second, claimed = put(make_organization(), MacAddress.parse(device.mac), at=AT + HOUR)

    assert claimed
    assert (second.state, second.state_since, second.last_seen) == ("open", AT + HOUR, None)
    assert second.pk != device.pk
    assert [row.event for row in StateChange.objects.filter(device_id=second.pk)] == ["claimed"]


def test_the_next_life_begins_at_unavailable_if_the_phone_asked_in_vain_meanwhile(organization):
    device = make_device(organization=organization, state="acquired")
    registry.release(actor=ACTOR, device=device, at=AT)
    asked_in_vain(device.mac, at=AT + HOUR)

    second, _ = put(make_organization(), MacAddress.parse(device.mac), at=AT + 2 * HOUR)

    assert (second.state, second.state_since) == ("unavailable", AT + HOUR)


def test_evidence_of_a_former_life_is_kept_for_the_former_owner_and_moves_nothing(organization):
    first = make_device(organization=organization)
    registry.release(actor=ACTOR, device=first, at=AT)
    new_owner = make_organization()
    second, _ = put(new_owner, MacAddress.parse(first.mac), at=AT + HOUR)
    late = Observation(Event.ASKED, Clock(AT + 2 * HOUR, "a", 5), "door", {"model": "CP-8841-3PCC"})

    customization.record(Evidence(first.mac, late, first.pk, organization.pk), at=AT + 2 * HOUR)

    kept = StateChange.objects.get(refused="released")
    assert (kept.device_id, kept.organization, kept.event) == (first.pk, organization, "asked")
    second.refresh_from_db()
    assert (second.state, second.revision, second.last_seen) == ("open", 0, None)
    assert [row.event for row in StateChange.objects.filter(organization=new_owner)] == ["claimed"]


def test_evidence_of_a_former_life_that_names_no_device_tells_the_new_owner_nothing_of_it(organization):
    device = make_device(organization=organization)
    report = Observation(Event.ACQUIRED, Clock(AT - HOUR, "a", 5), "report", {"from": "198.51.100.7"})

    customization.record(Evidence(device.mac, report), at=AT)

    row = StateChange.objects.get(refused="late")
    assert (row.before, row.after, row.evidence) == ("open", "open", {})


def test_evidence_of_an_owner_from_before_a_restore_harms_nothing(organization):
    device = make_device(organization=organization)
    seen = Observation(Event.ASKED, Clock(AT, "a", 5), "door")
    unknown = Evidence(device.mac, seen, device.pk + 1000, organization.pk + 1000)

    customization.record_all([unknown, Evidence(device.mac, seen, device.pk, organization.pk)], at=AT)
    connection.check_constraints()

    assert [row[0] for row in history(device.mac)] == ["claimed", "asked"]


def test_what_waits_to_settle_is_told_when_the_device_is_released(organization):
    device = make_device(organization=organization)
    beacon = Observation(Event.ACQUIRED, Clock(AT), "beacon", {"from": "198.51.100.7"})
    customization.record(Evidence(device.mac, beacon), at=AT)
    assert UnsettledObservation.objects.count() == 1

    registry.release(actor=ACTOR, device=device, at=AT)

    assert not UnsettledObservation.objects.exists()
    assert history(device.mac)[1:] == [
        ("acquired", "open", "open", "released", "beacon"),
        ("released", "open", "open", "", "api"),
    ]
