"""Phones that used a short code: they become devices of the code's owner, and say nothing to anybody else."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from onboarding.models import CodeGuessing, Device, ShortCode, ShortCodeUse, Sighting, StateChange
from redirect import observing, publishing
from redirect.journal import Journal
from redirect.models import Batch
from redirect.models import Journal as JournalRow
from redirect.publishing import JournalCollector
from tests import factories

pytestmark = pytest.mark.usefixtures("registry")

MAC = "00562B043615"
TARGET = "https://cfg.example.net/$MA.xml"


@pytest.fixture(autouse=True)
def no_settling(monkeypatch):
    monkeypatch.setattr(publishing, "SETTLE_NANOSECONDS", 0)


@pytest.fixture
def profile():
    return factories.make_profile()


@pytest.fixture
def code(profile):
    return factories.make_short_code(profile=profile)


def used(giver, *, mac=MAC, digits="123456", outcome="redirected", **over):
    line = {
        "event": "short_code", "code": digits, "mac": mac, "model": "CP-8841-3PCC", "serial": "FCH2133A0B9",
        "firmware": "", "from": "192.0.2.1", "outcome": outcome, "organization": giver.organization_id,
        "profile": giver.pk, "target": TARGET,
    } | over  # fmt: skip
    return json.dumps(line)[1:-1]


def asked_in_vain(mac=MAC):
    line = {
        "event": "query", "mac": mac, "model": "CP-8841-3PCC", "serial": "", "firmware": "", "from": "192.0.2.1",
        "outcome": "unknown_device", "device": None, "organization": None, "target": "",
    }  # fmt: skip
    return json.dumps(line)[1:-1]


def apply(tmp_path, *lines, machine="door1"):
    journal = Journal(tmp_path, machine)
    for line in lines:
        journal.append(line)
    JournalCollector(tmp_path, kept=timedelta(hours=24)).hand_in()
    observing.apply_waiting(at=timezone.now())


def history(organization):
    rows = StateChange.objects.filter(organization=organization).order_by("id")
    return list(rows.values_list("event", "after", "refused"))


ANSWERED = [("claimed", "open", ""), ("asked", "pending", ""), ("answered", "custom_pending", "")]


def test_a_phone_becomes_an_unproven_device_with_a_timeline(tmp_path, profile, code):
    apply(tmp_path, used(profile))

    device = Device.objects.get()
    assert (device.organization, device.profile, device.proven, device.state, device.model, device.serial) == (
        profile.organization, profile, False, "custom_pending", "CP-8841-3PCC", "FCH2133A0B9",
    )  # fmt: skip
    assert history(profile.organization) == ANSWERED
    assert StateChange.objects.get(event="asked").evidence["code"] == "123456"


def test_a_phone_that_asked_in_vain_first_has_that_in_its_timeline(tmp_path, profile, code):
    apply(tmp_path, asked_in_vain(), used(profile))

    assert Device.objects.get().state == "custom_pending"
    assert not Sighting.objects.exists()


def test_a_later_edos_query_of_an_unproven_phone_is_on_its_timeline(tmp_path, profile, code):
    apply(tmp_path, used(profile), asked_in_vain())

    assert Device.objects.get().state == "unavailable"


def test_a_phone_that_another_organization_proved_stays_untouched(tmp_path, profile, code):
    device = factories.make_device(mac=MAC)
    before = history(device.organization)

    apply(tmp_path, used(profile))

    assert Device.objects.get().organization == device.organization
    assert Device.objects.get().state == "open"
    assert history(device.organization) == before
    assert history(profile.organization) == []


def test_ones_own_proven_phone_keeps_its_profile(tmp_path, profile, code):
    other = factories.make_profile(organization=profile.organization)
    factories.make_device(mac=MAC, profile=other)

    apply(tmp_path, used(profile))

    device = Device.objects.get()
    assert (device.profile, device.proven, device.state) == (other, True, "custom_pending")


def test_the_last_code_typed_wins_and_the_former_owner_keeps_the_history(tmp_path, profile, code):
    rival = factories.make_profile()
    factories.make_short_code(profile=rival, code="777")

    apply(tmp_path, used(profile), used(rival, digits="777"))

    device = Device.objects.get()
    assert (device.organization, device.profile, device.state) == (rival.organization, rival, "custom_pending")
    events = [event for event, _, _ in history(profile.organization)]
    assert sorted(events) == ["answered", "asked", "claimed", "released"]


def test_a_code_that_did_not_work_changes_nothing(tmp_path, profile, code):
    apply(tmp_path, used(profile, outcome="unknown_device", organization=None, profile=None, target=""))

    assert not Device.objects.exists()
    assert not StateChange.objects.exists()
    assert not Sighting.objects.exists()


def test_an_answer_of_a_profile_that_is_gone_changes_nothing(tmp_path, profile, code):
    apply(tmp_path, used(profile, profile=profile.pk + 1000))

    assert not Device.objects.exists()


def test_a_profile_never_becomes_anothers_by_a_strange_line(tmp_path, profile, code):
    rival = factories.make_profile()

    apply(tmp_path, used(profile, profile=rival.pk))

    assert not Device.objects.exists()


@pytest.mark.parametrize("damage", [{"mac": "nonsense"}, {"organization": "x"}, {"code": None}, {"model": 7}])
def test_a_line_that_no_door_writes_is_skipped(tmp_path, profile, code, damage):
    apply(tmp_path, used(profile, **damage), used(profile))

    assert history(profile.organization) == ANSWERED
    assert JournalRow.objects.get().torn == 1


def test_a_batch_that_is_handed_in_again_counts_once(tmp_path, profile, code):
    Journal(tmp_path, "door1").append(used(profile))
    JournalCollector(tmp_path, kept=timedelta(hours=24)).hand_in()
    batch = Batch.objects.get()
    observing.apply_waiting(at=timezone.now())
    batch.pk = None
    batch.save(force_insert=True)
    observing.apply_waiting(at=timezone.now())

    assert history(profile.organization) == ANSWERED
    assert ShortCode.objects.get().devices == 1


def test_uses_are_counted_by_day(tmp_path, profile, code):
    apply(tmp_path, used(profile), used(profile), used(profile, mac="00562B000001"))

    row = ShortCode.objects.get()
    use = ShortCodeUse.objects.get()
    assert (row.devices, use.answers, use.devices) == (2, 3, 2)
    assert row.last_used_at is not None


def test_a_code_is_full_when_as_many_phones_as_may_have_used_it(tmp_path, profile):
    row = factories.make_short_code(profile=profile, max_devices=2)
    apply(tmp_path, used(profile))
    row.refresh_from_db()
    assert not row.is_full

    apply(tmp_path, used(profile, mac="00562B000001"), machine="door2")

    row.refresh_from_db()
    assert (row.devices, row.is_full) == (2, True)
    # A higher cap opens it again.
    assert not factories.make_short_code(profile=profile, max_devices=3).is_full


def test_guessing_is_told_to_the_operator_and_to_those_whose_codes_were_found(tmp_path, profile, code):
    line = f'"event":"enumeration","network":"192.0.2.1","organizations":[{profile.organization_id},99999]'

    apply(tmp_path, line, line)

    rows = CodeGuessing.objects.order_by("id").values_list("organization", "network", "times")
    assert list(rows) == [(None, "192.0.2.1", 2), (profile.organization_id, "192.0.2.1", 2)]
