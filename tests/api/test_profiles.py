"""Redirect profiles."""

import pytest

from onboarding.models import RedirectProfile
from tests.factories import make_device, make_profile

BASIC = {"name": "Head office", "targets": ["https://cfg.example.net/$MA.xml"]}
FULL = BASIC | {
    "parameters": {"Upgrade_Rule": "https://cfg.example.net/a.loads"},
    "confirm": "beacon",
    "unproven_evidence": "apply",
    "identity": "preferred",
    "match_model": True,
    "enabled": False,
    "stalled_after_minutes": 5,
}
DEFAULTS = {
    "parameters": {},
    "confirm": "callback",
    "unproven_evidence": "record",
    "identity": "none",
    "match_model": False,
    "enabled": True,
    "stalled_after_minutes": 30,
}


def decided(answer):
    """What the owner decides, without what tests of the targets found."""
    return {name: value for name, value in answer.json().items() if name != "target_health"}


def test_a_new_profile_has_every_field_of_the_contract(partner):
    answer = partner("POST", "profiles/", BASIC)

    profile = RedirectProfile.objects.get()
    assert (answer.status_code, decided(answer)) == (201, {"id": profile.pk, **BASIC, **DEFAULTS})
    assert answer["Location"].endswith(f"/api/v1/profiles/{profile.pk}/")
    assert profile.organization == partner.organization


def test_put_sets_absent_fields_to_their_defaults_and_patch_leaves_them(partner):
    created = decided(partner("POST", "profiles/", FULL))
    path = f"profiles/{created['id']}/"

    patched = decided(partner("PATCH", path, {"name": "Branch"}))
    put = decided(partner("PUT", path, BASIC))

    assert patched == {"id": created["id"], **FULL, "name": "Branch"}
    assert put == {"id": created["id"], **BASIC, **DEFAULTS}


def test_a_profile_in_use_is_not_deleted(partner):
    profile = make_profile(organization=partner.organization)
    device = make_device(profile=profile)

    refused = partner("DELETE", f"profiles/{profile.pk}/")
    partner("DELETE", f"devices/{device.mac}/")
    deleted = partner("DELETE", f"profiles/{profile.pk}/")

    assert (refused.status_code, refused.json()["code"]) == (409, "profile_in_use")
    assert deleted.status_code == 204
    assert partner("GET", f"profiles/{profile.pk}/").status_code == 404


def test_a_name_is_taken_once_in_each_organization(partner, stranger):
    partner("POST", "profiles/", BASIC)
    other = partner("POST", "profiles/", BASIC | {"name": "Other"}).json()

    again = partner("POST", "profiles/", BASIC)
    renamed = partner("PATCH", f"profiles/{other['id']}/", {"name": BASIC["name"]})

    for refused in (again, renamed):
        assert (refused.status_code, refused.json()["code"]) == (409, "profile_name_taken")
        assert list(refused.json()["errors"]) == ["name"]
    assert stranger("POST", "profiles/", BASIC).status_code == 201


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"name": ""}, "name", "invalid_input"),
        ({"name": "x" * 81}, "name", "invalid_profile"),
        ({"name": None}, "name", "invalid_input"),
        ({"targets": []}, "targets", "invalid_targets"),
        ({"targets": "https://cfg.example.net/"}, "targets", "invalid_input"),
        ({"targets": [1]}, "targets.0", "invalid_input"),
        ({"targets": ["ftp://x/"]}, "targets", "invalid_profile_rule"),
        ({"targets": ["http://127.0.0.1:8000/"]}, "targets", "target_points_back"),
        ({"parameters": {"Profile_Rule": "x"}}, "parameters", "invalid_parameter"),
        ({"parameters": {"Report_Rule": 1}}, "parameters.Report_Rule", "invalid_input"),
        ({"parameters": []}, "parameters", "invalid_input"),
        ({"confirm": "maybe"}, "confirm", "invalid_input"),
        ({"confirm": []}, "confirm", "invalid_input"),
        ({"enabled": "true"}, "enabled", "invalid_input"),
        ({"enabled": {}}, "enabled", "invalid_input"),
        ({"stalled_after_minutes": 0}, "stalled_after_minutes", "invalid_input"),
        ({"stalled_after_minutes": 1.5}, "stalled_after_minutes", "invalid_input"),
        ({"id": 5}, "id", "invalid_input"),
    ],
)
def test_wrong_input_is_refused_by_field(partner, change, field, code):
    answer = partner("POST", "profiles/", BASIC | change)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert list(answer.json()["errors"]) == [field]
    assert not RedirectProfile.objects.exists()


def test_a_wrong_profile_rule_is_refused_with_its_position(partner):
    detail = partner("POST", "profiles/", BASIC | {"targets": ["https://cfg.example.net/a b c"]}).json()["detail"]

    assert any(character.isdigit() for character in detail)


def test_an_id_beyond_the_database_is_not_found(partner):
    assert partner("GET", f"profiles/{10**30}/").status_code == 404
