"""Devices in the admin site: what is typed reaches the verbs, refusals are said in words, the history says who."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Organization
from onboarding.models import Device, RedirectProfile, StateChange
from tests.factories import make_device, make_profile

ADD = "admin:onboarding_device_add"


def change_page(device: Device) -> str:
    return reverse("admin:onboarding_device_change", args=(device.pk,))


def test_a_device_is_registered_under_the_persons_name(provider: Organization, staff: Client) -> None:
    profile = make_profile(organization=provider)

    staff.post(
        reverse(ADD),
        {
            "mac": "00:56:2b:04:36:15", "model": "cp-8841-3pcc", "serial": "fch2133e8b9", "label": "Reception",
            "profile": profile.pk, "valid_from_0": "2026-11-01", "valid_from_1": "08:00:00",
        },
    )  # fmt: skip

    device = Device.objects.get(mac="00562B043615")
    assert (device.organization, device.model, device.serial, device.profile) == (
        provider,
        "CP-8841-3PCC",
        "FCH2133E8B9",
        profile,
    )
    row = device.changes.get()
    assert (row.event, row.source, row.evidence["by"]) == ("claimed", "admin", "stan")


def test_a_change_is_recorded_under_the_persons_name(provider: Organization, staff: Client) -> None:
    device = make_device(organization=provider, label="Cellar")

    staff.post(change_page(device), {"model": device.model, "label": "Attic"})

    device.refresh_from_db()
    assert device.label == "Attic"
    row = device.changes.get(event="changed")
    assert (row.source, row.evidence) == (
        "admin",
        {"by": "stan", "before": {"label": "Cellar"}, "after": {"label": "Attic"}},
    )


def test_a_release_is_asked_for_first_and_leaves_the_history(provider: Organization, staff: Client) -> None:
    device = make_device(organization=provider)
    address = reverse("admin:onboarding_device_delete", args=(device.pk,))

    asked = staff.get(address).content.decode()
    assert Device.objects.filter(pk=device.pk).exists()
    staff.post(address, {"post": "yes"})

    assert "no longer yours" in asked
    assert not Device.objects.filter(pk=device.pk).exists()
    row = StateChange.objects.get(mac=device.mac, event="released")
    assert (row.source, row.evidence["by"], row.organization) == ("admin", "stan", provider)


def test_selected_devices_are_released_after_one_question(provider: Organization, staff: Client) -> None:
    devices = [make_device(organization=provider) for _ in range(3)]
    chosen = {"action": "release_selected", "_selected_action": [device.pk for device in devices[:2]]}
    address = reverse("admin:onboarding_device_changelist")

    asked = staff.post(address, chosen).content.decode()
    assert Device.objects.count() == 3
    staff.post(address, chosen | {"post": "yes"})

    assert devices[0].mac in asked
    assert devices[2].mac not in asked
    assert list(Device.objects.all()) == [devices[2]]
    assert StateChange.objects.filter(event="released", source="admin").count() == 2


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("mac", "00:56:2b:04:36", "is not a MAC address. Type the twelve hexadecimal digits"),
        ("mac", "01:56:2b:04:36:15", "group or null address"),
        ("model", "no such model!", "is not a model name"),
        ("serial", "a", "is not a serial number"),
        ("target", "ftp://cfg.example.net/x", "position"),
        ("target", "http://127.0.0.1:8000/x", "points back to this service"),
        ("label", "x" * 121, "at most 120"),
        ("valid_until_0", "2020-01-01", "window must open before it closes"),
    ],
)
def test_a_refusal_stands_at_its_field_in_words(
    field: str, value: str, said: str, provider: Organization, staff: Client
) -> None:
    values = {
        "mac": "00562B043615", "model": "CP-8841-3PCC", "valid_from_0": "2026-01-01", "valid_from_1": "00:00:00",
        "valid_until_0": "2027-01-01", "valid_until_1": "00:00:00",
    }  # fmt: skip

    page = staff.post(reverse(ADD), values | {field: value})

    assert page.status_code == 200
    errors = page.context["adminform"].form.errors
    assert said in " ".join(errors[field.removesuffix("_0")])
    assert not Device.objects.exists()


def test_a_taken_mac_is_refused_without_the_owners_name(
    provider: Organization, other: Organization, staff: Client
) -> None:
    device = make_device(organization=other)

    page = staff.post(reverse(ADD), {"mac": device.mac, "model": "CP-8841-3PCC"})

    assert "another organization" in " ".join(page.context["adminform"].form.errors["mac"])
    assert other.name not in page.content.decode()
    assert Device.objects.count() == 1


def test_the_operator_says_for_which_organization(
    provider: Organization, other: Organization, operator: Client
) -> None:
    without = operator.post(reverse(ADD), {"mac": "00562B043615", "model": "CP-8841-3PCC"})
    operator.post(reverse(ADD), {"mac": "00562B043615", "model": "CP-8841-3PCC", "organization": other.pk})

    assert "organization" in without.context["adminform"].form.errors
    assert Device.objects.get().organization == other


def _profile(**over: Any) -> dict[str, Any]:
    return {
        "name": "Offices", "targets": "https://a.example.net/$MA.xml\n\n https://b.example.net/$MA.xml \n",
        "parameters": "Upgrade_Rule = https://fw.example.net/a=b.loads\nGPP_A = x", "confirm": "callback",
        "unproven_evidence": "record", "identity": "none", "enabled": "on", "stalled_after_minutes": "30",
    } | over  # fmt: skip


def test_a_profile_is_typed_as_lines(provider: Organization, staff: Client) -> None:
    staff.post(reverse("admin:onboarding_redirectprofile_add"), _profile())

    profile = RedirectProfile.objects.get()
    assert profile.organization == provider
    assert profile.targets == ["https://a.example.net/$MA.xml", "https://b.example.net/$MA.xml"]
    assert profile.parameters == {"Upgrade_Rule": "https://fw.example.net/a=b.loads", "GPP_A": "x"}


def test_a_profiles_page_saves_what_it_shows(provider: Organization, staff: Client) -> None:
    profile = make_profile(organization=provider, targets=["https://a.example.net/x"], parameters={"GPP_A": "1"})
    address = reverse("admin:onboarding_redirectprofile_change", args=(profile.pk,))
    form = staff.get(address).context["adminform"].form

    staff.post(
        address, _profile(name="Renamed", targets=form["targets"].value(), parameters=form["parameters"].value())
    )

    profile.refresh_from_db()
    assert (profile.name, profile.targets, profile.parameters) == (
        "Renamed",
        ["https://a.example.net/x"],
        {"GPP_A": "1"},
    )


@pytest.mark.parametrize(
    ("over", "field", "said"),
    [
        ({"targets": "nonsense://x"}, "targets", "position"),
        ({"targets": "  "}, "targets", "required"),
        ({"parameters": "Upgrade_Rule"}, "parameters", "Line 1 has no equals sign"),
        ({"parameters": "A_1 = 1\nA_1 = 2"}, "parameters", "Line 2 sets A_1 again"),
        ({"parameters": "{nonsense"}, "parameters", "not JSON"),
        ({"parameters": "Profile_Rule = x"}, "parameters", "Put the URL into the profile's targets"),
        ({"name": "Taken"}, "name", "Choose another name"),
        ({"stalled_after_minutes": "0"}, "stalled_after_minutes", "1"),
    ],
)
def test_a_profiles_refusals_stand_at_their_fields(
    over: dict[str, str], field: str, said: str, provider: Organization, staff: Client
) -> None:
    make_profile(organization=provider, name="Taken")

    page = staff.post(reverse("admin:onboarding_redirectprofile_add"), _profile(**over))

    assert said in " ".join(page.context["adminform"].form.errors[field])
    assert RedirectProfile.objects.count() == 1


def test_a_profile_in_use_is_not_deleted_and_says_by_whom(provider: Organization, staff: Client) -> None:
    device = make_device(profile=make_profile(organization=provider), mac="00562B043615")
    address = reverse("admin:onboarding_redirectprofile_delete", args=(device.profile_id,))

    asked = staff.get(address).content.decode()
    staff.post(address, {"post": "yes"})

    assert "00:56:2B:04:36:15" in asked
    assert provider.profiles.exists()


def test_a_profile_that_nothing_uses_is_deleted(provider: Organization, staff: Client) -> None:
    profile = make_profile(organization=provider)

    staff.post(reverse("admin:onboarding_redirectprofile_delete", args=(profile.pk,)), {"post": "yes"})

    assert not RedirectProfile.objects.exists()
