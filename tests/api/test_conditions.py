"""ETags and what they guard."""

import pytest

from onboarding.models import Device
from tests.factories import make_device, make_profile

STALE = '"0123456789abcdef0123456789abcdef"'


@pytest.fixture(params=["devices", "profiles"])
def resource(request, partner):
    """A path, with a body that changes what is there."""
    if request.param == "devices":
        return f"devices/{make_device(organization=partner.organization).mac}/", {"model": "CP-6841-3PCC"}
    profile = make_profile(organization=partner.organization)
    return f"profiles/{profile.pk}/", {"name": "New", "targets": ["https://new.example.net/"]}


def test_an_etag_changes_with_what_is_shown(partner, resource):
    path, body = resource

    before = partner("GET", path)["ETag"]
    again = partner("GET", path)["ETag"]
    changed = partner("PUT", path, body)["ETag"]

    assert before == again
    assert not before.startswith("W/")
    assert changed != before
    assert partner("GET", path)["ETag"] == changed


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_stale_if_match_is_refused_and_changes_nothing(partner, resource, method):
    path, body = resource
    before = partner("GET", path)

    for tag in (STALE, f"W/{before['ETag']}", "unquoted"):
        refused = partner(method, path, None if method == "DELETE" else body, If_Match=tag)
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")

    assert partner("GET", path).json() == before.json()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_the_present_etag_lets_an_update_through(partner, resource, method):
    path, body = resource
    tag = partner("GET", path)["ETag"]

    done = partner(method, path, None if method == "DELETE" else body, If_Match=f"{STALE}, {tag}")

    assert done.status_code == (204 if method == "DELETE" else 200)


def test_a_resource_that_the_caller_has_is_not_sent_again(partner, resource):
    path, _ = resource
    tag = partner("GET", path)["ETag"]

    answer = partner("GET", path, If_None_Match=tag)

    assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", tag)
    assert partner("GET", path, If_None_Match=STALE).status_code == 200


def test_if_match_claims_nothing_that_is_not_there(partner):
    refused = partner("PUT", "devices/00562B043615/", {"model": "CP-8841-3PCC"}, If_Match="*")

    assert refused.status_code == 412
    assert not Device.objects.exists()


def test_if_none_match_claims_only(partner):
    first = partner("PUT", "devices/00562B043615/", {"model": "CP-8841-3PCC"}, If_None_Match="*")
    second = partner("PUT", "devices/00562B043615/", {"model": "CP-6841-3PCC"}, If_None_Match="*")

    assert (first.status_code, second.status_code) == (201, 412)
    assert Device.objects.get().model == "CP-8841-3PCC"


def test_a_foreign_device_fails_if_match_as_an_unknown_one_does(partner, stranger):
    device = make_device(organization=stranger.organization)

    foreign = partner("PUT", f"devices/{device.mac}/", {"model": "CP-8841-3PCC"}, If_Match="*").json()
    unknown = partner("PUT", "devices/00562B0FFFFF/", {"model": "CP-8841-3PCC"}, If_Match="*").json()

    assert {**foreign, "request_id": ""} == {**unknown, "request_id": ""}
