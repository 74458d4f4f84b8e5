"""A profile's page: what its phones get, what was changed, and the question before they are sent elsewhere."""

import re

from django.test import Client
from django.urls import reverse

from accounts.models import Organization
from onboarding.models import RedirectProfile
from tests.factories import make_device, make_profile


def address(profile: RedirectProfile) -> str:
    return reverse("admin:onboarding_redirectprofile_change", args=(profile.pk,))


def saved(client: Client, profile: RedirectProfile, **over: str) -> str:
    values = {
        "name": profile.name, "targets": "\n".join(profile.targets), "parameters": "", "confirm": profile.confirm,
        "unproven_evidence": "record", "identity": "none", "enabled": "on", "stalled_after_minutes": "30",
    }  # fmt: skip
    return client.post(address(profile), values | over, follow=True).content.decode()


def targets(profile: RedirectProfile) -> list[str]:
    profile.refresh_from_db()
    return list(profile.targets)


def test_new_targets_are_asked_about_where_phones_are_concerned(provider: Organization, staff: Client) -> None:
    profile = make_profile(organization=provider, targets=["https://old.example.net/$MA.xml"])
    for state in ("open", "acquired", "acquired"):
        make_device(profile=profile, state=state)
    make_device(profile=profile, target="https://own.example.net/x.xml")

    asked = saved(staff, profile, targets="https://new.example.net/$MA.xml")

    assert "This sends 3 phones to other targets" in asked
    assert "2 of them have their profile already" in asked
    assert targets(profile) == ["https://old.example.net/$MA.xml"]
    found = re.search(r'name="confirmed" value="(\w+)"', asked)
    assert found
    saved(staff, profile, targets="https://new.example.net/$MA.xml", confirmed=found[1])
    assert targets(profile) == ["https://new.example.net/$MA.xml"]


def test_a_yes_to_other_targets_is_no_yes(provider: Organization, staff: Client) -> None:
    profile = make_profile(organization=provider, targets=["https://old.example.net/$MA.xml"])
    make_device(profile=profile)
    asked = saved(staff, profile, targets="https://new.example.net/$MA.xml")
    found = re.search(r'name="confirmed" value="(\w+)"', asked)
    assert found

    saved(staff, profile, targets="https://third.example.net/$MA.xml", confirmed=found[1])

    assert targets(profile) == ["https://old.example.net/$MA.xml"]


def test_what_moves_no_phone_is_saved_at_once(provider: Organization, staff: Client) -> None:
    unused = make_profile(organization=provider, targets=["https://old.example.net/$MA.xml"])
    used = make_profile(organization=provider)
    make_device(profile=used)

    saved(staff, unused, targets="https://new.example.net/$MA.xml")
    saved(staff, used, name="Renamed")

    assert targets(unused) == ["https://new.example.net/$MA.xml"]
    used.refresh_from_db()
    assert used.name == "Renamed"


def test_changes_stand_on_the_page_with_who_made_them(provider: Organization, staff: Client, reader: Client) -> None:
    profile = make_profile(organization=provider, name="Offices")

    saved(staff, profile, name="Hotels")

    page = reader.get(address(profile)).content.decode()
    assert "What was changed" in page
    assert "Profile changed" in page
    assert re.search(r"stan\W.*admin site", page)
    assert "Offices" in page


def test_the_preview_is_also_shown_as_a_phone_expands_it(provider: Organization, staff: Client) -> None:
    profile = make_profile(organization=provider, targets=["https://cfg.example.net/$PN/$MA.xml"])

    page = staff.get(address(profile)).content.decode()

    assert "https://cfg.example.net/$PN/$MA.xml" in page
    assert "https://cfg.example.net/CP-8841-3PCC/00562b043615.xml" in page
