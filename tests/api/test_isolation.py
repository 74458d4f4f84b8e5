"""One organization's key never reaches another's rows, by any method, filter, cursor or body."""

import pytest

from onboarding.models import Device, RedirectProfile, StateChange
from tests.factories import make_device, make_profile


@pytest.fixture
def foreign(stranger):
    """A device of a stranger, with a profile and everything by which a filter could find it."""
    profile = make_profile(organization=stranger.organization, name="Secret profile")
    return make_device(
        profile=profile, serial="FCH2133E8B9", label="Secret label", columns={"stalled_at": "2026-11-22T00:00Z"}
    )


def everything():
    return [list(model.objects.order_by("pk").values()) for model in (Device, RedirectProfile, StateChange)]


def alike(one, other):
    """Whether two answers differ in nothing but their request's id."""
    return one.status_code == other.status_code and {**one.json(), "request_id": ""} == {
        **other.json(),
        "request_id": "",
    }


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"label": "mine"}),
        ("DELETE", "", None),
        ("GET", "timeline/", None),
        ("POST", "events/", {"event": "factory_reset"}),
    ],
)
def test_a_foreign_device_answers_as_one_that_does_not_exist(partner, foreign, method, suffix, body):
    before = everything()

    refused = partner(method, f"devices/{foreign.mac}/{suffix}", body)
    unknown = partner(method, f"devices/00562B0FFFFF/{suffix}", body)

    assert refused.status_code == 404
    assert alike(refused, unknown)
    assert everything() == before


@pytest.mark.parametrize("condition", [{}, {"If_Match": "*"}, {"If_None_Match": "*"}])
def test_a_foreign_device_is_not_claimed_whatever_the_condition(partner, foreign, condition):
    before = everything()

    refused = partner("PUT", f"devices/{foreign.mac}/", {"model": "CP-8841-3PCC"}, **condition)

    assert refused.status_code == (412 if "If_Match" in condition else 409)
    assert "Secret" not in refused.content.decode()
    assert everything() == before


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("GET", None),
        ("PUT", {"name": "mine", "targets": ["https://evil.example.net/"]}),
        ("PATCH", {"enabled": False}),
        ("DELETE", None),
    ],
)
def test_a_foreign_profile_answers_as_one_that_does_not_exist(partner, foreign, method, body):
    before = everything()

    refused = partner(method, f"profiles/{foreign.profile_id}/", body)
    unknown = partner(method, f"profiles/{2**40}/", body)

    assert refused.status_code == 404
    assert alike(refused, unknown)
    assert everything() == before


def test_no_filter_finds_foreign_devices(partner, foreign):
    own = make_device(organization=partner.organization)

    for query in (
        "", "state=open", "model=CP-8841-3PCC", f"profile={foreign.profile_id}", "serial=FCH2133E8B9", "stalled=true",
        "stalled=false", "changed_after=2020-01-01T00:00:00Z", "limit=1000",
    ):  # fmt: skip
        found = [row["mac"] for row in partner("GET", f"devices/?{query}").json()["results"]]
        assert set(found) <= {own.mac}, query
    assert [row["name"] for row in partner("GET", "profiles/").json()["results"]] == []


def test_a_foreign_cursor_opens_nothing(partner, stranger, foreign):
    make_device(organization=stranger.organization)
    make_profile(organization=stranger.organization)
    paths = ("devices/", "profiles/", f"devices/{foreign.mac}/timeline/")
    stranger("PATCH", f"devices/{foreign.mac}/", {"label": "Secret too"})
    own = make_device(organization=partner.organization)

    for path in paths:
        cursor = stranger("GET", f"{path}?limit=1").json()["next"]
        path = path.replace(foreign.mac, own.mac)
        assert partner("GET", f"{path}?cursor={cursor}").json()["code"] == "invalid_cursor"


def test_a_foreign_profile_cannot_be_put_on_an_own_device(partner, foreign):
    own = make_device(organization=partner.organization)

    for method in ("PUT", "PATCH"):
        refused = partner(method, f"devices/{own.mac}/", {"model": "CP-8841-3PCC", "profile": foreign.profile_id})
        assert refused.json()["code"] == "unknown_profile"
    own.refresh_from_db()
    assert own.profile is None


def test_validate_tells_that_a_device_is_taken_and_no_more(partner, foreign):
    row = partner("POST", "devices/validate/", {"rows": [{"mac": foreign.mac}]}).json()["results"][0]

    assert row == {"row": 1, "mac": foreign.mac, "status": "taken", "detail": ""}


def test_a_foreign_device_is_explained_as_an_unknown_one(partner, foreign):
    refused = partner("GET", f"explain/?mac={foreign.mac}&model=CP-8841-3PCC&serial=FCH2133E8B9")
    unknown = partner("GET", "explain/?mac=00562B0FFFFF&model=CP-8841-3PCC&serial=FCH2133E8B9")

    assert refused.json() == unknown.json()
    assert refused.json()["outcome"] == "unknown_device"


def test_the_history_of_a_former_owner_is_not_the_next_ones(partner, stranger, foreign):
    stranger("PATCH", f"devices/{foreign.mac}/", {"label": "Secret too"})
    stranger("DELETE", f"devices/{foreign.mac}/")
    partner("PUT", f"devices/{foreign.mac}/", {"model": "CP-8841-3PCC"})

    timeline = partner("GET", f"devices/{foreign.mac}/timeline/")

    assert [row["event"] for row in timeline.json()["results"]] == ["claimed"]
    assert "Secret" not in timeline.content.decode()
