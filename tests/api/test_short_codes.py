"""Short codes of the partner API: enabled at once, unique in the service, and nobody's owner is named."""

from datetime import timedelta

import pytest

from onboarding import shortcodes
from onboarding.models import ShortCode
from tests.factories import ACTOR, AT, make_profile, make_short_code

TERMS = {"valid_until": None, "max_devices": None}


@pytest.fixture
def profile(partner):
    return make_profile(organization=partner.organization)


def enable(partner, profile, digits="123456", **over):
    return partner("PUT", f"short-codes/{digits}/", {"profile": profile.pk} | over)


def test_a_code_is_enabled_with_the_report_of_its_guess_space(partner, profile):
    answer = enable(partner, profile, "123", valid_until="2027-01-01T00:00:00Z", max_devices=50)

    assert answer.status_code == 201
    assert answer["Location"].endswith("/api/v1/short-codes/123/")
    shown = answer.json()
    assert shown.pop("enabled_at")
    assert shown == {
        "code": "123", "profile": profile.pk, "enabled": True, "disabled_at": None,
        "valid_until": "2027-01-01T00:00:00Z", "max_devices": 50, "devices": 0, "full": False, "last_used_at": None,
        "guess_space": 1000, "days_to_try_all": 0.2, "suggested_length": 8,
    }  # fmt: skip


def test_putting_again_changes_the_terms_and_sets_absent_ones_to_their_defaults(partner, profile):
    enable(partner, profile, max_devices=50)
    other = make_profile(organization=partner.organization)

    answer = enable(partner, other)

    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in ("profile", *TERMS)} == {"profile": other.pk, **TERMS}
    assert ShortCode.objects.count() == 1


@pytest.mark.parametrize("digits", ["12", "1" * 17, "abc", "12a", "%23123", "１２３"])
def test_what_is_no_short_code_is_refused(partner, profile, digits):
    answer = enable(partner, profile, digits)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_short_code")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "profile"),
        ({"profile": "1"}, "profile"),
        ({"max_devices": 0}, "max_devices"),
        ({"max_devices": True}, "max_devices"),
        ({"max_devices": 10**12}, "max_devices"),
        ({"valid_until": "tomorrow"}, "valid_until"),
        ({"enabled": False}, "enabled"),
    ],
)
def test_terms_that_cannot_be_are_refused(partner, profile, body, field):
    given = {"profile": profile.pk} | body if body else {}

    answer = partner("PUT", "short-codes/123456/", given)

    assert answer.status_code == 400
    assert field in answer.json()["errors"]


def test_a_taken_code_is_refused_without_its_owners_name(partner, stranger, profile):
    enable(stranger, make_profile(organization=stranger.organization))

    answer = enable(partner, profile)

    assert (answer.status_code, answer.json()["code"]) == (409, "short_code_taken")
    assert stranger.organization.name not in answer.content.decode()


def test_a_released_code_rests_before_others_can_have_it_and_is_refused_alike(partner, stranger, profile):
    theirs = make_profile(organization=stranger.organization)
    enable(stranger, theirs)
    while_enabled = enable(partner, profile).json()
    stranger("DELETE", "short-codes/123456/")

    resting = enable(partner, profile)

    assert resting.status_code == 409
    assert resting.json() | {"request_id": ""} == while_enabled | {"request_id": ""}
    # Its last owner can have it back at once.
    assert enable(stranger, theirs).status_code == 201
    ShortCode.objects.update(disabled_at=AT)
    for age, status in ((shortcodes.RESTING - timedelta(seconds=1), 409), (shortcodes.RESTING, 201)):
        try:
            make_short_code(profile=profile, at=AT + age)
            found = 201
        except shortcodes.ShortCodeTaken:
            found = 409
        assert found == status


def test_a_disabled_code_is_listed_as_such_and_cannot_be_disabled_again(partner, profile):
    enable(partner, profile)

    assert partner("DELETE", "short-codes/123456/").status_code == 204
    assert partner("DELETE", "short-codes/123456/").status_code == 404
    assert partner("GET", "short-codes/123456/").json()["enabled"] is False
    assert partner("GET", "short-codes/?enabled=true").json()["results"] == []
    assert len(partner("GET", "short-codes/?enabled=false").json()["results"]) == 1


def test_the_list_is_ones_own_newest_first_in_pages(partner, stranger, profile):
    enable(stranger, make_profile(organization=stranger.organization), "555")
    for digits in ("111", "222", "333"):
        enable(partner, profile, digits)

    first = partner("GET", "short-codes/?limit=2").json()
    second = partner("GET", f"short-codes/?limit=2&cursor={first['next']}").json()

    assert [row["code"] for row in first["results"] + second["results"]] == ["333", "222", "111"]
    assert second["next"] is None


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_anothers_code_is_not_found(partner, stranger, profile, method):
    enable(partner, profile)

    foreign, unknown = stranger(method, "short-codes/123456/"), stranger(method, "short-codes/999999/")

    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}
    assert ShortCode.objects.get().disabled_at is None


def test_anothers_profile_cannot_be_named(partner, stranger):
    answer = enable(partner, make_profile(organization=stranger.organization))

    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_profile")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "short-codes/", "profiles:read"),
        ("GET", "short-codes/123456/", "profiles:read"),
        ("PUT", "short-codes/123456/", "profiles:write"),
        ("DELETE", "short-codes/123456/", "profiles:write"),
    ],
)
def test_scopes(keyed, partner, profile, method, path, scope):
    enable(partner, profile)
    body = {"profile": profile.pk} if method == "PUT" else None
    other = "profiles:write" if scope == "profiles:read" else "profiles:read"

    assert keyed(partner.organization, [other])(method, path, body).status_code == 403
    assert keyed(partner.organization, [scope])(method, path, body).status_code < 300


def test_conditions_guard_updates(partner, profile):
    tag = enable(partner, profile)["ETag"]

    assert partner("PUT", "short-codes/123456/", {"profile": profile.pk}, If_None_Match="*").status_code == 412
    assert partner("PUT", "short-codes/123456/", {"profile": profile.pk}, If_Match='"x"').status_code == 412
    assert partner("PUT", "short-codes/123456/", {"profile": profile.pk}, If_Match=tag).status_code == 200


def test_a_profile_with_an_enabled_code_is_not_deleted_and_one_with_a_disabled_code_is(partner, profile):
    enable(partner, profile)
    assert partner("DELETE", f"profiles/{profile.pk}/").json()["code"] == "profile_in_use"

    partner("DELETE", "short-codes/123456/")

    assert partner("DELETE", f"profiles/{profile.pk}/").status_code == 204
    assert partner("GET", "short-codes/123456/").json()["profile"] is None


def test_an_organization_has_a_limited_number_of_codes(partner, profile, monkeypatch):
    monkeypatch.setattr(shortcodes, "MOST_ENABLED", 2)
    enable(partner, profile, "111")
    enable(partner, profile, "222")

    assert enable(partner, profile, "333").json()["code"] == "too_many_short_codes"
    assert enable(partner, profile, "111").status_code == 200
    shortcodes.disable(actor=ACTOR, row=ShortCode.objects.get(code="222"), at=AT + timedelta(hours=1))
    assert enable(partner, profile, "333").status_code == 201
