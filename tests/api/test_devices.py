"""PUT, PATCH, GET and DELETE of one device."""

import pytest

from onboarding.models import Device, StateChange
from tests.factories import make_device, make_profile

MAC = "00562B043615"
URL = f"devices/{MAC}/"
CLAIM = {"model": "CP-8841-3PCC"}


def test_a_claim_answers_201_with_every_field_of_the_contract(partner):
    profile = make_profile(organization=partner.organization)

    answer = partner("PUT", URL, {**CLAIM, "profile": profile.pk, "serial": "fch2133e8b9", "label": "Reception"})

    assert answer.status_code == 201
    shown = answer.json()
    assert shown.pop("state_since")
    assert shown == {
        "mac": MAC, "model": "CP-8841-3PCC", "serial": "FCH2133E8B9", "label": "Reception", "profile": profile.pk,
        "target": None, "valid_from": None, "valid_until": None, "state": "open", "last_seen": None, "stalled": False,
        "proven": True,
    }  # fmt: skip
    assert answer["Location"].endswith(f"/api/v1/devices/{MAC}/")


def test_the_same_claim_again_answers_200_and_writes_nothing(partner):
    partner("PUT", URL, CLAIM)
    rows = StateChange.objects.count()

    answer = partner("PUT", URL, CLAIM)

    assert answer.status_code == 200
    assert StateChange.objects.count() == rows


def test_put_sets_absent_fields_to_their_defaults_and_patch_leaves_them(partner):
    profile = make_profile(organization=partner.organization)
    full = {
        **CLAIM,
        "profile": profile.pk,
        "serial": "FCH2133E8B9",
        "label": "Lab",
        "target": "https://own.example.net/a",
    }
    partner("PUT", URL, full | {"valid_from": "2026-01-01T00:00:00+01:00", "valid_until": "2027-01-01T00:00:00Z"})

    patched = partner("PATCH", URL, {"label": "Hall"}).json()

    assert (patched["label"], patched["serial"], patched["profile"]) == ("Hall", "FCH2133E8B9", profile.pk)
    assert patched["target"] == "https://own.example.net/a"
    assert (patched["valid_from"], patched["valid_until"]) == ("2025-12-31T23:00:00Z", "2027-01-01T00:00:00Z")
    put = partner("PUT", URL, CLAIM).json()
    assert (put["label"], put["serial"], put["profile"], put["target"]) == ("", "", None, None)
    assert (put["valid_from"], put["valid_until"]) == (None, None)


def test_patch_takes_null_and_empty_text_as_none(partner):
    profile = make_profile(organization=partner.organization)
    partner(
        "PUT", URL, {**CLAIM, "profile": profile.pk, "serial": "FCH2133E8B9", "target": "https://own.example.net/a"}
    )

    patched = partner("PATCH", URL, {"profile": None, "serial": "", "target": None}).json()

    assert (patched["profile"], patched["serial"], patched["target"]) == (None, "", None)


@pytest.mark.parametrize("notation", ["00562b043615", "00:56:2b:04:36:15", "00-56-2B-04-36-15", "0056.2b04.3615"])
def test_any_usual_notation_names_the_same_device(partner, notation):
    partner("PUT", URL, CLAIM)

    assert partner("GET", f"devices/{notation}/").json()["mac"] == MAC
    assert partner("PUT", f"devices/{notation}/", CLAIM).status_code == 200


def test_release_answers_204_and_the_next_owner_begins_anew(partner, stranger):
    partner("PUT", URL, {**CLAIM, "label": "Secret"})

    released = partner("DELETE", URL)

    assert (released.status_code, released.content) == (204, b"")
    assert partner("GET", URL).status_code == 404
    assert partner("DELETE", URL).status_code == 404
    claimed = stranger("PUT", URL, CLAIM)
    assert (claimed.status_code, claimed.json()["label"]) == (201, "")
    assert len(stranger("GET", f"{URL}timeline/").json()["results"]) == 1


def test_a_second_owner_is_refused_and_told_nothing_of_the_first(partner, stranger):
    partner("PUT", URL, {**CLAIM, "label": "Ours"})

    answer = stranger("PUT", URL, CLAIM)

    assert (answer.status_code, answer.json()["code"]) == (409, "device_taken")
    text = answer.content.decode()
    assert partner.organization.name not in text
    assert "Ours" not in text
    assert partner.row.prefix not in text
    assert Device.objects.get(mac=MAC).organization == partner.organization


def test_a_profile_of_another_organization_is_refused_as_one_that_does_not_exist(partner, stranger):
    foreign = make_profile(organization=stranger.organization)

    refused = partner("PUT", URL, {**CLAIM, "profile": foreign.pk})
    unknown = partner("PUT", URL, {**CLAIM, "profile": 2**62})

    assert (refused.status_code, refused.json()["code"]) == (400, "unknown_profile")
    assert {**refused.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}
    assert not Device.objects.exists()


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "model", "invalid_input"),
        ({"model": None}, "model", "invalid_input"),
        ({"model": 8841}, "model", "invalid_input"),
        ({"model": "?"}, "model", "invalid_model"),
        ({**CLAIM, "serial": "§§§§§"}, "serial", "invalid_serial"),
        ({**CLAIM, "serial": ["FCH2133E8B9"]}, "serial", "invalid_input"),
        ({**CLAIM, "label": "x" * 121}, "label", "invalid_device"),
        ({**CLAIM, "label": "a\u0000b"}, "label", "invalid_input"),
        ({**CLAIM, "label": "a\nb"}, "label", "invalid_device"),
        ({**CLAIM, "profile": "1"}, "profile", "invalid_input"),
        ({**CLAIM, "profile": True}, "profile", "invalid_input"),
        ({**CLAIM, "profile": 10**30}, "profile", "invalid_input"),
        ({**CLAIM, "target": "ftp://cfg.example.net/x"}, "target", "invalid_profile_rule"),
        ({**CLAIM, "target": "http://127.0.0.1:8000/x"}, "target", "target_points_back"),
        ({**CLAIM, "valid_from": "2026-11-22T09:30:00"}, "valid_from", "invalid_input"),
        ({**CLAIM, "valid_from": "2026-99-22T09:30:00Z"}, "valid_from", "invalid_input"),
        ({**CLAIM, "valid_from": 1}, "valid_from", "invalid_input"),
        ({**CLAIM, "valid_from": "0001-01-01T00:00:00+14:00"}, "valid_from", "invalid_input"),
        (
            {**CLAIM, "valid_from": "2027-01-01T00:00:00Z", "valid_until": "2026-01-01T00:00:00Z"},
            "valid_until",
            "invalid_device",
        ),
        ({**CLAIM, "state": "acquired"}, "state", "invalid_input"),
        ({**CLAIM, "lable": "x"}, "lable", "invalid_input"),
    ],
)
def test_wrong_input_is_refused_by_field_and_changes_nothing(partner, body, field, code):
    answer = partner("PUT", URL, body)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert list(answer.json()["errors"]) == [field]
    assert not Device.objects.exists()


def test_all_wrong_fields_are_named_at_once(partner):
    answer = partner("PUT", URL, {"model": "?", "serial": 1, "colour": "red"})

    assert (answer.json()["code"], set(answer.json()["errors"])) == ("invalid_input", {"model", "serial", "colour"})


@pytest.mark.parametrize("body", [[], "text", 1, None])
def test_a_body_that_is_no_object_is_refused(partner, body):
    assert partner("PUT", URL, "null" if body is None else body).status_code == 400


@pytest.mark.parametrize("mac", ["xyz", "00562B04361", "01005E000001", "000000000000", "00:562B043615"])
def test_what_is_no_mac_is_refused(partner, mac):
    for method, body in (("GET", None), ("PUT", CLAIM), ("PATCH", {}), ("DELETE", None)):
        assert partner(method, f"devices/{mac}/", body).json()["code"] == "invalid_mac"


def test_the_history_names_the_key_that_changed_a_device(partner):
    partner("PUT", URL, CLAIM)
    partner("PATCH", URL, {"label": "Hall"})

    changed, claimed = partner("GET", f"{URL}timeline/").json()["results"]

    assert (claimed["event"], claimed["source"], claimed["evidence"]["by"]) == ("claimed", "api", partner.row.prefix)
    assert (changed["event"], changed["evidence"]["after"]) == ("changed", {"label": "Hall"})
    assert set(changed) == {"at", "event", "before", "after", "inferred", "refused", "source", "identity", "evidence"}
    assert changed["refused"] is None


def test_a_device_is_marked_stalled_when_it_is(partner, at):
    device = make_device(organization=partner.organization, columns={"stalled_at": at})

    assert partner("GET", f"devices/{device.mac}/").json()["stalled"] is True


def test_an_idempotency_key_is_accepted(partner):
    assert partner("PUT", URL, CLAIM, Idempotency_Key="a").status_code == 201
