"""What an import does to devices: claimed, changed, left alone, refused; and that it is what single writes would do."""

from datetime import UTC, datetime
from typing import Any

import pytest

from onboarding import registry
from onboarding.identifiers import MacAddress
from onboarding.models import Device, DeviceWord, Sighting, StateChange, UnsettledObservation
from tests.factories import ACTOR, AT, OWN, make_device, make_fields, make_mac, make_organization, make_profile
from tests.operations.work import do, later, short

pytestmark = pytest.mark.django_db

_NOT_COMPARED = {"id", "organization_id", "mac", "profile_id", "device_id"}


def _columns(mac: str) -> dict[str, Any]:
    row = Device.objects.filter(mac=mac).values().get()
    return {name: value for name, value in row.items() if name not in _NOT_COMPARED}


def _history(mac: str) -> list[dict[str, Any]]:
    rows = []
    for row in StateChange.objects.filter(mac=mac).order_by("id").values():
        shown = {name: value for name, value in row.items() if name not in _NOT_COMPARED}
        shown["evidence"] = {name: value for name, value in shown["evidence"].items() if name != "operation"}
        rows.append(shown)
    return rows


def _words(mac: str) -> list[bytes]:
    device = Device.objects.get(mac=mac)
    return sorted(bytes(word) for word in DeviceWord.objects.filter(device_id=device.pk).values_list("word", flat=True))


def _see(mac: MacAddress) -> None:
    Sighting.objects.create(mac=str(mac), first_at=later(-60), last_at=later(-30), count=3, model="CP-7841-3PCC")


FULL = {
    "model": "CP-8841-3PCC",
    "serial": "FCH2133E8B9",
    "label": "Anna Müller",
    "target": "https://own.example.net/$MA.xml",
    "valid_until": datetime(2026, 12, 31, tzinfo=UTC),
}


@pytest.mark.parametrize("situation", ["new", "sighted", "mine", "mine unproven", "theirs unproven", "same"])
def test_an_import_writes_what_a_single_put_would_have_written(situation: str) -> None:
    mine, theirs = make_organization(), make_organization()
    profile = make_profile(organization=mine)
    macs = [make_mac(), make_mac()]
    for mac in macs:
        if situation == "sighted":
            _see(mac)
        elif situation == "mine":
            make_device(organization=mine, mac=mac, label="Before")
        elif situation == "mine unproven":
            make_device(organization=mine, mac=mac, columns={"proven": False})
        elif situation == "theirs unproven":
            make_device(organization=theirs, mac=mac, columns={"proven": False}, label="Theirs")
        elif situation == "same":
            make_device(organization=mine, mac=mac, profile=profile, **FULL)
    single, bulk = macs
    at = later(60)

    registry.put(
        actor=ACTOR, organization=mine, mac=single, values=make_fields(profile=profile, **FULL), own=OWN, at=at
    )
    results = do(
        mine,
        "mac,model,serial,label,profile,target,valid_until\n"
        f"{bulk.colons},cp-8841-3pcc,fch2133e8b9,Anna Müller,{profile.name},{FULL['target']},2026-12-31\n",
        at=at,
    )

    expected = {"mine": "changed", "mine unproven": "changed", "same": "unchanged"}.get(situation, "created")
    assert short(results) == [(2, expected, "")]
    assert _columns(str(bulk)) == _columns(str(single))
    assert _history(str(bulk)) == _history(str(single))
    assert _words(str(bulk)) == _words(str(single)) == [b"anna", b"muller"]
    assert Device.objects.get(mac=str(bulk)).profile_id == profile.pk
    assert not Sighting.objects.exists()


def test_a_claimed_device_of_another_organization_is_taken_and_left_alone() -> None:
    theirs = make_device(label="Theirs")
    mine = make_organization()

    results = do(mine, f"mac,model\n{theirs.mac},CP-8841-3PCC\n{make_mac()},CP-8841-3PCC\n")

    assert short(results) == [(2, "failed", "device_taken"), (3, "created", "")]
    assert str(theirs.organization) not in results[0].detail
    theirs.refresh_from_db()
    assert theirs.label == "Theirs"


def test_what_a_file_does_not_name_stays_and_an_empty_cell_empties() -> None:
    device = make_device(serial="FCH2133E8B9", label="Reception")

    first = do(device.organization, f"mac,label\n{device.mac},Lobby\n")
    device.refresh_from_db()
    assert (short(first), device.serial, device.label) == ([(2, "changed", "")], "FCH2133E8B9", "Lobby")

    second = do(device.organization, f"mac,serial,model\n{device.mac},,\n")
    device.refresh_from_db()
    assert (short(second), device.serial, device.model) == ([(2, "changed", "")], "", "CP-8841-3PCC")


def test_the_first_of_two_rows_with_one_mac_counts_even_when_it_fails() -> None:
    organization = make_organization()
    mac, other = make_mac(), make_mac()

    results = do(
        organization, f"mac,model\n{mac},?\n{mac.colons},CP-8841-3PCC\n{other},CP-8841-3PCC\n{other},CP-7841-3PCC\n"
    )

    assert short(results) == [
        (2, "failed", "invalid_model"), (3, "failed", "duplicate"), (4, "created", ""), (5, "failed", "duplicate"),
    ]  # fmt: skip
    assert Device.objects.get().model == "CP-8841-3PCC"


@pytest.mark.parametrize(
    ("headings", "cells", "code"),
    [
        ("mac,model", "zz:56:2b:04:36:15,CP-8841-3PCC", "invalid_mac"),
        ("mac,model", ",CP-8841-3PCC", "invalid_mac"),
        ("mac,model", "01562B043615,CP-8841-3PCC", "invalid_mac"),
        ("mac,model", "5.62E+10,CP-8841-3PCC", "invalid_mac"),
        ("mac,model", "562043615,CP-8841-3PCC", "invalid_mac"),
        ("mac,model", "00562BFFFFFF,", "invalid_model"),
        ("mac,label", "00562BFFFFFF,Lobby", "invalid_model"),
        ("mac,model,serial", "00562BFFFFFF,CP-8841-3PCC,x", "invalid_serial"),
        ("mac,model,label", f"00562BFFFFFF,CP-8841-3PCC,{'x' * 121}", "invalid_device"),
        ("mac,model,target", "00562BFFFFFF,CP-8841-3PCC,https://onboarding.example/", "target_points_back"),
        ("mac,model,target", "00562BFFFFFF,CP-8841-3PCC,nonsense nonsense", "invalid_profile_rule"),
        ("mac,model,profile", "00562BFFFFFF,CP-8841-3PCC,Nobody's", "unknown_profile"),
        ("mac,model,profile", "00562BFFFFFF,CP-8841-3PCC,999999999999", "unknown_profile"),
        ("mac,model,valid_from", "00562BFFFFFF,CP-8841-3PCC,31.12.2026", "invalid_time"),
        ("mac,model,valid_from,valid_until", "00562BFFFFFF,CP-8841-3PCC,2026-12-31,2026-12-30", "invalid_device"),
        ("mac,model", "00562BFFFFFF,CP-8841-3PCC,surplus", "invalid_row"),
    ],
)
def test_a_wrong_row_fails_with_its_code_and_the_others_are_done(headings: str, cells: str, code: str) -> None:
    mac = make_mac()
    organization = make_organization()

    results = do(organization, f"{headings},mail\n{cells}\n".replace(",mail", "") + f"{mac},CP-8841-3PCC\n")

    assert (results[0].status, results[0].code, results[0].row) == ("failed", code, 2)
    assert results[0].detail
    if headings.startswith("mac,model"):
        assert (results[1].status, results[1].row) == ("created", 3)
        assert Device.objects.get().mac == str(mac)


def test_profiles_are_named_by_id_or_name_and_a_default_is_for_rows_that_name_none() -> None:
    organization = make_organization()
    first, second = make_profile(organization=organization), make_profile(organization=organization, name="Büro")
    foreign = make_profile(name="Foreign")
    macs = [make_mac() for _ in range(4)]

    results = do(
        organization,
        f"mac,model,profile\n{macs[0]},CP-8841-3PCC,{first.pk}\n{macs[1]},CP-8841-3PCC,Büro\n"
        f"{macs[2]},CP-8841-3PCC,\n{macs[3]},CP-8841-3PCC,{foreign.pk}\n",
        profile=second,
    )

    assert [result.code for result in results] == ["", "", "", "unknown_profile"]
    profiles = dict(Device.objects.values_list("mac", "profile_id"))
    assert [profiles[str(mac)] for mac in macs[:3]] == [first.pk, second.pk, second.pk]


def test_assigning_changes_the_profile_of_ones_own_devices_alone() -> None:
    profile = make_profile()
    mine = make_device(organization=profile.organization, label="Stays")
    has_it = make_device(organization=profile.organization, profile=profile)
    foreign = make_device()
    text = (
        f"label;mac;profile\nX;{mine.mac};{profile.name}\nX;{has_it.mac};{profile.pk}\nX;{foreign.mac};{profile.pk}\n"
    )

    results = do(profile.organization, text, kind="assign")

    assert short(results) == [(2, "changed", ""), (3, "unchanged", ""), (4, "failed", "not_found")]
    mine.refresh_from_db()
    assert (mine.profile_id, mine.label) == (profile.pk, "Stays")


def test_releasing_ends_lives_as_a_single_release_does() -> None:
    organization = make_organization()
    single, bulk = (make_device(organization=organization, label="Lobby") for _ in range(2))
    foreign = make_device()
    for device in (single, bulk):
        UnsettledObservation.objects.create(device=device, event="acquired", at=AT, source="report", evidence={"n": 1})
    at = later(60)

    registry.release(actor=ACTOR, device=single, at=at)
    results = do(organization, f"mac\n{bulk.mac}\n{foreign.mac}\n{make_mac()}\n", kind="release", at=at)

    assert short(results) == [(2, "released", ""), (3, "failed", "not_found"), (4, "failed", "not_found")]
    expected, found = _history(single.mac), _history(bulk.mac)
    assert found[-1]["evidence"].pop("before") == {"model": "CP-8841-3PCC", "label": "Lobby", "proven": True}
    assert found == expected
    assert [device.mac for device in Device.objects.all()] == [foreign.mac]
    assert not UnsettledObservation.objects.exists()
    assert not DeviceWord.objects.exists()
