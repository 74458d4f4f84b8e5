"""The only writer of the state: batches, what has to settle, hostile evidence, and what the history adds up to."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from onboarding import customization, registry
from onboarding.customization import Evidence
from onboarding.models import Device, Sighting, StateChange, UnsettledObservation
from onboarding.observations import Clock, Observation
from onboarding.states import REPORTABLE_EVENTS, Event
from tests.factories import ACTOR, AT, OWN, make_device, make_fields, make_mac, make_organization, make_profile

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def seen(device, event, at=AT, *, machine="", sequence=0, source="door", hearsay=False, named=True, evidence=None):
    observation = Observation(Event(event), Clock(at, machine, sequence), source, evidence or {}, hearsay)
    return Evidence(device.mac, observation, *((device.pk, device.organization_id) if named else ()))


def history(device):
    rows = StateChange.objects.filter(device_id=device.pk).exclude(event="claimed").order_by("id")
    return [(row.event, row.before, row.after, row.inferred, row.refused) for row in rows]


@pytest.mark.django_db
def test_a_query_and_a_beacon_bring_a_phone_from_open_to_acquired():
    device = make_device()

    customization.record_all([seen(device, event) for event in ("asked", "answered")], at=AT + SECOND)
    customization.record(seen(device, "acquired", AT + MINUTE, source="beacon", named=False), at=AT + MINUTE)

    device.refresh_from_db()
    assert (device.state, device.state_since, device.last_seen) == ("acquired", AT + MINUTE, AT + MINUTE)
    assert (device.evidence_at, device.revision, device.changed_at) == (AT + MINUTE, 2, AT + MINUTE)
    assert history(device) == [
        ("asked", "open", "pending", False, ""),
        ("answered", "pending", "custom_pending", False, ""),
        ("acquired", "custom_pending", "acquired", False, ""),
    ]
    row = StateChange.objects.filter(event="asked").get()
    assert (row.at, row.recorded_at, row.mac, row.organization_id) == (
        AT,
        AT + SECOND,
        device.mac,
        device.organization_id,
    )


@pytest.mark.django_db
@pytest.mark.parametrize(("policy", "state", "refused"), [("record", "open", "unproven"), ("apply", "aborted", "")])
def test_the_profile_decides_what_hearsay_may_do(policy, state, refused):
    device = make_device(profile=make_profile(unproven_evidence=policy))

    customization.record(seen(device, "dhcp_provisioned", source="report", hearsay=True, named=False), at=AT)

    device.refresh_from_db()
    assert device.state == state
    assert history(device) == [("dhcp_provisioned", "open", state, False, refused)]


@pytest.mark.django_db
def test_hearsay_of_a_phone_without_a_profile_is_only_recorded():
    device = make_device(target="https://own.example.net/")

    customization.record(seen(device, "factory_reset", hearsay=True), at=AT)

    assert history(device) == [("factory_reset", "open", "open", False, "unproven")]


@pytest.mark.django_db
def test_what_overtook_the_journal_settles_when_the_journal_arrives():
    device = make_device()
    customization.record(
        seen(device, "acquired", AT + SECOND, source="beacon", evidence={"from": "::1"}), at=AT + SECOND
    )
    assert history(device) == []

    assert customization.settle(at=AT + MINUTE) == 1
    assert (history(device), UnsettledObservation.objects.count()) == ([], 1)
    customization.record_all([seen(device, "asked"), seen(device, "answered")], at=AT + MINUTE)
    assert customization.settle(at=AT + MINUTE) == 1

    assert [row[0] for row in history(device)] == ["asked", "answered", "acquired"]
    assert Device.objects.get().state == "acquired"
    row = StateChange.objects.get(event="acquired")
    assert (row.at, row.recorded_at, row.source, row.evidence) == (AT + SECOND, AT + MINUTE, "beacon", {"from": "::1"})
    assert not UnsettledObservation.objects.exists()
    assert customization.settle(at=AT + MINUTE) == 0


@pytest.mark.django_db
def test_what_never_settles_is_kept_as_refused():
    device = make_device()
    customization.record(seen(device, "acquired", source="callback"), at=AT)

    customization.settle(at=AT + 10 * MINUTE - SECOND)
    assert history(device) == []
    customization.settle(at=AT + 10 * MINUTE)

    assert history(device) == [("acquired", "open", "open", False, "illegal")]
    assert not UnsettledObservation.objects.exists()


@pytest.mark.django_db
def test_evidence_from_a_clock_that_runs_years_ahead_spoils_nothing():
    device, stranger = make_device(), make_mac()
    ahead = AT + timedelta(days=9000)
    broken = [
        seen(device, "asked", ahead, machine="a", sequence=1),
        seen(device, "acquired", ahead, machine="a", sequence=2),
    ]
    unknown = Evidence(str(stranger), broken[0].observation)

    customization.record_all([*broken, unknown], at=AT)
    customization.record(seen(device, "not_found", AT + SECOND, machine="b", sequence=1), at=AT + SECOND)
    customization.settle(at=AT + 10 * MINUTE)

    assert history(device)[:2] == [
        ("asked", "open", "pending", False, ""),
        ("not_found", "pending", "unavailable", False, ""),
    ]
    assert not UnsettledObservation.objects.exists()
    assert Sighting.objects.get().last_at == AT
    assert not Device.objects.filter(last_seen__gt=AT + MINUTE).exists()


HOSTILE = {
    "firmware": "a\0b",
    "model": "x" * 5000,
    "serial": "\ud800\\.\t\n\\N'\";--",
    "n": {"\0": ["\udfff", 1, None, {"deep": "\0\\u0000"}]},
}
TAMED = {
    "firmware": "a\ufffdb",
    "model": "x" * 5000,
    "serial": "\ufffd\\.\t\n\\N'\";--",
    "n": {"\ufffd": ["\ufffd", 1, None, {"deep": "\ufffd\\u0000"}]},
}


@pytest.mark.django_db
def test_hostile_evidence_is_stored_and_stops_no_batch():
    device, stranger = make_device(), make_mac()
    batch = [
        seen(device, "asked", evidence=HOSTILE),
        seen(device, "acquired", evidence=HOSTILE),
        Evidence(str(stranger), Observation(Event.ASKED, Clock(AT), "door", HOSTILE)),
    ]

    customization.record_all(batch, at=AT)

    assert StateChange.objects.get(event="asked").evidence == TAMED
    assert UnsettledObservation.objects.get().evidence == TAMED
    sighting = Sighting.objects.get()
    assert (sighting.model, sighting.firmware) == ("x" * 40, "a\ufffdb")
    assert len(sighting.serial) <= 32


@pytest.mark.django_db
def test_only_queries_of_strangers_are_counted():
    mac = make_mac()

    for event in Event:
        customization.record(Evidence(str(mac), Observation(event, Clock(AT), "door")), at=AT)

    assert (Sighting.objects.get().mac, Sighting.objects.get().count) == (str(mac), 1)
    assert not StateChange.objects.exists()


def mixed_batch(number):
    """Known, unknown and released devices in turn; gives the evidence and the organizations' devices."""
    organization = make_organization()
    Device.objects.bulk_create(
        Device(
            organization=organization,
            mac=str(make_mac()),
            model="CP-8841-3PCC",
            claimed_at=AT,
            changed_at=AT,
            state_since=AT,
        )
        for _ in range(number)
    )
    devices = list(Device.objects.filter(organization=organization))
    batch = []
    for device in devices:
        gone = Device(pk=device.pk + 10_000_000, mac=device.mac, organization_id=device.organization_id)
        stranger = str(make_mac())
        for event in (Event.ASKED, Event.ANSWERED):
            batch += [
                seen(device, event, AT + SECOND),
                seen(gone, event, AT + SECOND),
                Evidence(stranger, Observation(event, Clock(AT + SECOND), "door")),
            ]
    return batch


@pytest.mark.django_db
def test_a_batch_costs_the_same_queries_however_many_phones_it_is_of():
    counts = []
    for number in (10, 2000):
        StateChange.objects.all().delete()
        Sighting.objects.all().delete()
        batch = mixed_batch(number)

        with CaptureQueriesContext(connection) as queries:
            customization.record_all(batch, at=AT + MINUTE)

        counts.append(len([q for q in queries if "SAVEPOINT" not in q["sql"]]))
        assert StateChange.objects.filter(refused="").count() == 2 * number
        assert StateChange.objects.filter(refused="released").count() == 2 * number
        assert Sighting.objects.count() == number
        assert Device.objects.filter(state="custom_pending", revision=1).count() >= number
    assert counts[0] == counts[1] <= 6


@pytest.mark.django_db
def test_a_batch_of_forty_thousand_unknown_phones_is_counted():
    batch = [Evidence(f"{0x00562C000000 + n:012X}", Observation(Event.ASKED, Clock(AT), "door")) for n in range(40_000)]

    customization.record_all(batch, at=AT)

    assert Sighting.objects.count() == 40_000


@pytest.mark.django_db
def test_sightings_add_up_over_batches():
    mac = str(make_mac())
    for minute in (3, 1, 2):
        said = {"model": f"M{minute}"}
        observation = Observation(Event.ASKED, Clock(AT - minute * MINUTE), "door", said)
        customization.record_all([Evidence(mac, observation)] * 2, at=AT)

    sighting = Sighting.objects.get()
    assert (sighting.count, sighting.last_at, sighting.first_at) == (6, AT - MINUTE, AT - 3 * MINUTE)


class Lives(RuleBasedStateMachine):
    """Random events, claims and releases of two phones; the history must always add up to the present."""

    def __init__(self):
        super().__init__()
        # Each run in a transaction of its own: unittest's would span all runs.
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.at = AT
        self.owners = [make_organization(), make_organization()]
        self.profiles = [
            make_profile(organization=owner, unproven_evidence=policy)
            for owner, policy in zip(self.owners, ("record", "apply"), strict=True)
        ]
        self.macs = [make_mac(), make_mac()]
        self.sequence = 0
        self.named = {}

    def teardown(self):
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    def evidence(self, phone, event, age, hearsay, knows):
        self.sequence += 1
        mac = str(self.macs[phone])
        machine = "" if event in REPORTABLE_EVENTS else "door-1"
        source = "report" if event in REPORTABLE_EVENTS else "door"
        observation = Observation(event, Clock(self.at - age * MINUTE, machine, self.sequence), source, {}, hearsay)
        return Evidence(mac, observation, *(self.named.get(mac, ()) if knows else ()))

    @rule(
        seen=st.lists(
            st.tuples(st.integers(0, 1), st.sampled_from(Event), st.integers(0, 12), st.booleans(), st.booleans()),
            min_size=1,
            max_size=8,
        )
    )
    def something_is_seen(self, seen):
        customization.record_all([self.evidence(*one) for one in seen], at=self.at)

    @rule(phone=st.integers(0, 1), found=st.booleans())
    def a_phone_asks(self, phone, found):
        answer = Event.ANSWERED if found else Event.NOT_FOUND
        pair = [self.evidence(phone, event, 0, False, True) for event in (Event.ASKED, answer)]
        customization.record_all(pair, at=self.at)

    @rule(minutes=st.integers(1, 15))
    def time_goes_by(self, minutes):
        self.at += minutes * MINUTE
        customization.settle(at=self.at)
        customization.flag_stalled(at=self.at)

    @rule(phone=st.integers(0, 1), owner=st.integers(0, 1))
    def somebody_claims(self, phone, owner):
        try:
            device, _ = registry.put(
                actor=ACTOR,
                organization=self.owners[owner],
                mac=self.macs[phone],
                values=make_fields(profile=self.profiles[owner]),
                own=OWN,
                at=self.at,
            )
        except registry.DeviceTaken:
            return
        self.named[device.mac] = (device.pk, device.organization_id)

    @rule(phone=st.integers(0, 1))
    def the_owner_releases(self, phone):
        device = Device.objects.filter(mac=str(self.macs[phone])).first()
        if device is not None:
            registry.release(actor=ACTOR, device=device, at=self.at)

    @invariant()
    def the_history_replayed_gives_the_present_state(self):
        for device in Device.objects.all():
            state = "open"
            for row in StateChange.objects.filter(device_id=device.pk).exclude(refused="released").order_by("id"):
                assert row.before == state
                assert not row.refused or row.after == row.before
                if state in {"acquired", "aborted"} and row.after != state:
                    assert row.event == "factory_reset"
                state = row.after
            assert state == device.state
            assert device.stalled_at is None or device.state == "custom_pending"

    @invariant()
    def no_owner_has_anothers_rows(self):
        lives: dict[int, int] = {}
        for row in StateChange.objects.all():
            assert lives.setdefault(row.device_id, row.organization_id) == row.organization_id


@pytest.mark.django_db
def test_whatever_happens_to_phones_their_history_adds_up():
    run_state_machine_as_test(Lives, settings=settings(max_examples=20, stateful_step_count=25, deadline=None))


@pytest.mark.django_db
def test_one_owner_s_unsettled_evidence_does_not_hold_up_another_s():
    now = AT + timedelta(days=1)
    noisy = make_device(profile=make_profile(), at=now - timedelta(hours=1))
    patient = make_device(profile=make_profile(), at=now - timedelta(hours=1))
    UnsettledObservation.objects.bulk_create(
        UnsettledObservation(device=noisy, event="acquired", at=now - timedelta(minutes=5), source="callback")
        for _ in range(1200)
    )
    for event, seconds in ((Event.ACQUIRED, 0), (Event.ASKED, -1), (Event.ANSWERED, -1)):
        source = "callback" if event == Event.ACQUIRED else "door"
        observation = Observation(event, Clock(now + timedelta(seconds=seconds)), source)
        customization.record(Evidence(patient.mac, observation, patient.pk, patient.organization_id), at=now)

    customization.settle(at=now + timedelta(seconds=2))

    patient.refresh_from_db()
    assert patient.state == "acquired"
    assert UnsettledObservation.objects.filter(device=noisy).count() == 1200
