"""Redirect profiles."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from onboarding.models import RedirectProfile, TargetCheck
from tests.factories import make_device, make_profile

BASIC = {"name": "Head office", "targets": ["https://cfg.example.net/$MA.xml"]}
FULL = BASIC | {
    "parameters": {"Upgrade_Rule": "https://cfg.example.net/a.loads"},
    "confirm": "beacon",
    "unproven_evidence": "apply",
    "identity": "preferred",
    "accepts_expired_certificates": True,
    "match_model": True,
    "enabled": False,
    "stalled_after_minutes": 5,
}
DEFAULTS = {
    "parameters": {},
    "confirm": "callback",
    "unproven_evidence": "record",
    "identity": "none",
    "accepts_expired_certificates": False,
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


def test_a_profile_tells_how_its_targets_are(partner):
    created = partner("POST", "profiles/", BASIC).json()
    now = timezone.now()
    TargetCheck.objects.update(
        health="failing", findings=["server_error"], http_status=503, checked_at=now, failures=3,
        certificate_expires_at=now + timedelta(days=9),
    )  # fmt: skip

    [shown] = partner("GET", f"profiles/{created['id']}/").json()["target_health"]
    [listed] = partner("GET", "profiles/").json()["results"][0]["target_health"]

    assert created["target_health"][0]["status"] == "unknown"
    assert (shown["target"], shown["status"], shown["findings"], shown["http_status"]) == (
        BASIC["targets"][0], "failing", ["server_error"], 503,
    )  # fmt: skip
    assert "503" in shown["detail"]
    assert None not in (shown["checked_at"], shown["certificate_expires_at"], shown["since"])
    assert listed == shown


def test_listing_profiles_with_their_health_costs_two_queries_however_many_there_are(partner):
    def queries():
        with CaptureQueriesContext(connection) as found:
            partner("GET", "profiles/")
        return len(found)

    make_profile(organization=partner.organization)
    queries()  # The key's first use is written down.
    one = queries()
    for _ in range(20):
        make_profile(organization=partner.organization)

    assert queries() == one


def test_targets_are_tested_by_request(partner, stranger, keyed):
    profile = partner("POST", "profiles/", BASIC).json()
    path = f"profiles/{profile['id']}/check/"
    later = timezone.now() + timedelta(hours=1)
    TargetCheck.objects.update(checked_at=timezone.now() - timedelta(minutes=1), next_check_at=later)
    reads = keyed(partner.organization, ["profiles:read"])

    assert reads("POST", path).status_code == 403
    assert stranger("POST", path).status_code == 404
    assert TargetCheck.objects.get().next_check_at == later
    answer = partner("POST", path)

    assert (answer.status_code, answer.json()["id"]) == (202, profile["id"])
    assert TargetCheck.objects.get().next_check_at <= timezone.now()


def test_a_test_of_a_target_changes_the_tag_but_stands_in_the_way_of_no_update(partner):
    path = f"profiles/{partner('POST', 'profiles/', BASIC).json()['id']}/"
    tag = partner("GET", path)["ETag"]
    assert partner("GET", path, If_None_Match=tag).status_code == 304

    TargetCheck.objects.update(health="healthy", checked_at=timezone.now())

    assert partner("GET", path, If_None_Match=tag).status_code == 200
    assert partner("PATCH", path, {"name": "Other"}, If_Match=tag).status_code == 200
    assert partner("PATCH", path, {"name": "Third"}, If_Match=tag).status_code == 412
