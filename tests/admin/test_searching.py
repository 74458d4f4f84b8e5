"""Finding a device: any MAC notation, the beginning of a MAC or serial number, the filters."""

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Organization
from onboarding.admin import lookup
from tests.factories import make_device, make_profile


def found(client: Client, **asked: str) -> list[str]:
    response = client.get(reverse("admin:onboarding_device_changelist"), asked)
    assert response.status_code == 200
    return [row.label for row in response.context["cl"].result_list]


@pytest.fixture
def phones(provider: Organization) -> None:
    make_device(organization=provider, mac="00562B043615", serial="FCH2133E8B9", label="first")
    make_device(organization=provider, mac="00562B0436FF", serial="FCH2133ZZZZ", label="second")
    make_device(organization=provider, mac="F09E63AABBCC", serial="88012BA01234", label="third")


@pytest.mark.usefixtures("phones")
@pytest.mark.parametrize(
    ("typed", "labels"),
    [
        ("00562B043615", ["first"]),
        ("00562b043615", ["first"]),
        ("00:56:2b:04:36:15", ["first"]),
        ("00-56-2B-04-36-15", ["first"]),
        ("0056.2b04.3615", ["first"]),
        ("  00 56 2b 04 36 15 ", ["first"]),
        ("00562b", ["first", "second"]),
        ("00:56:2b:04:36:f", ["second"]),
        ("0056.2b04.36f", ["second"]),
        ("f0", ["third"]),
        ("FCH2133E8B9", ["first"]),
        ("fch2133", ["first", "second"]),
        ("fch2133zz", ["second"]),
        ("8801", ["third"]),
        ("88012BA01234", ["third"]),
        ("2b043615", ["first"]),
        ("no such phone", []),
        ("'; drop table --", []),
        ("Ω", []),
        ("0" * 500, []),
    ],
)
def test_devices_are_found_by_what_people_type(typed: str, labels: list[str], staff: Client) -> None:
    assert found(staff, q=typed) == labels


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=12), st.text("09AFZ", max_size=4))
def test_a_range_holds_exactly_the_texts_with_that_beginning(prefix: str, rest: str) -> None:
    bounds = {
        str(child[0]): str(child[1]) for child in lookup.beginning("mac", prefix).children if isinstance(child, tuple)
    }

    def within(text: str) -> bool:
        return bounds["mac__gte"] <= text and text < bounds.get("mac__lt", "~")

    assert within(prefix + rest)
    assert within(rest + prefix) == (rest + prefix).startswith(prefix) or "mac__lt" not in bounds


@pytest.mark.usefixtures("phones")
def test_an_unknown_mac_is_offered_for_registration(staff: Client, reader: Client) -> None:
    address = reverse("admin:onboarding_device_changelist")

    page = staff.get(address, {"q": "0056.2b99.9999"}).content.decode()

    assert "No device of yours has the MAC 00:56:2B:99:99:99" in page
    assert "add/?mac=00%3A56%3A2B%3A99%3A99%3A99" in page
    assert "add/?mac=" not in reader.get(address, {"q": "0056.2b99.9999"}).content.decode()
    form = staff.get(reverse("admin:onboarding_device_add"), {"mac": "00:56:2B:99:99:99"}).content.decode()
    assert 'value="00:56:2B:99:99:99"' in form


def test_devices_are_filtered_by_state_stall_profile_and_model(
    provider: Organization, staff: Client, at: object
) -> None:
    profile = make_profile(organization=provider)
    make_device(profile=profile, label="waits", state="custom_pending", columns={"stalled_at": at})
    make_device(profile=profile, label="goes on", state="custom_pending", model="CP-6841-3PCC")
    make_device(organization=provider, label="new", model="CP-6841-3PCC")

    assert found(staff, state="custom_pending") == ["waits", "goes on"]
    assert found(staff, stalled="1") == ["waits"]
    assert found(staff, profile=str(profile.pk)) == ["waits", "goes on"]
    assert found(staff, profile="none") == ["new"]
    assert found(staff, model="cp-6841-3pcc") == ["goes on", "new"]
    assert found(staff, model="CP-6841-3PCC", state="open", q="0056") == ["new"]


@pytest.mark.parametrize("name", ["state", "stalled", "profile", "model", "organization", "p", "o", "q"])
@pytest.mark.parametrize("value", ["", "x", "-1", "9" * 30, "²", "\x00"])
def test_nonsense_in_the_address_is_no_error(name: str, value: str, provider: Organization, staff: Client) -> None:
    make_device(organization=provider)

    assert staff.get(reverse("admin:onboarding_device_changelist"), {name: value}).status_code in (200, 302)


@pytest.mark.parametrize("term", ["\x00", "a\nb", "x" * 300])
def test_nonsense_typed_into_a_choice_finds_nothing(term: str, provider: Organization, staff: Client) -> None:
    make_profile(organization=provider)
    asked = {"app_label": "onboarding", "model_name": "device", "field_name": "profile", "term": term}

    assert staff.get(reverse("admin:autocomplete"), asked).json()["results"] == []


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 40, "1/../2", "²"])
def test_addresses_of_no_device_lead_back(number: str, staff: Client) -> None:
    for page in ("change", "delete", "explain", "history"):
        response = staff.get(f"/admin/onboarding/device/{number}/{page}/")

        assert response.status_code in (301, 302, 404)


def test_the_history_is_found_by_mac(provider: Organization, staff: Client) -> None:
    device = make_device(organization=provider, mac="00562B043615")
    make_device(organization=provider)

    page = staff.get(reverse("admin:onboarding_statechange_changelist"), {"q": "00:56:2b:04:36:15"})

    assert [row.device_id for row in page.context["cl"].result_list] == [device.pk]
