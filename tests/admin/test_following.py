"""A device's page follows its phone: the moving parts are asked for, and come only when something moved."""

from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Organization
from onboarding import answers, customization
from onboarding.admin import advice
from onboarding.admin.advice import Case
from onboarding.customization import Evidence
from onboarding.models import Device
from onboarding.observations import Clock, Observation
from onboarding.states import CustomizationState, Event
from tests.factories import make_device, make_key, make_profile


def parts(client: Client, device: Device, seen: str = "") -> tuple[int, str]:
    response = client.get(reverse("admin:onboarding_device_standing", args=(device.pk,)), {"seen": seen})
    return response.status_code, response.content.decode()


def fingerprint(text: str) -> str:
    return text.split('data-seen="')[1].split('"')[0]


def moves(device: Device, event: Event) -> None:
    now = timezone.now()
    customization.record(Evidence(device.mac, Observation(event, Clock(now), "door")), at=now)


def test_what_moves_is_sent_once(provider: Organization, staff: Client) -> None:
    device = make_device(profile=make_profile(organization=provider))
    page = staff.get(reverse("admin:onboarding_device_change", args=(device.pk,))).content.decode()
    seen = fingerprint(page)

    assert parts(staff, device, seen) == (204, "")
    moves(device, Event.ASKED)
    status, text = parts(staff, device, seen)

    assert status == 200
    assert 'data-state="pending"' in text
    assert "Asked this service where to go" in text
    assert parts(staff, device, fingerprint(text)) == (204, "")


def test_every_part_of_the_fragment_has_its_place_on_the_page(provider: Organization, staff: Client) -> None:
    device = make_device(organization=provider)

    page = staff.get(reverse("admin:onboarding_device_change", args=(device.pk,))).content.decode()
    fragment = parts(staff, device)[1]

    for name in ("head", "standing", "timeline"):
        assert page.count(f'data-part="{name}"') == fragment.count(f'data-part="{name}"') == 1


def test_a_released_phone_is_followed_no_further(provider: Organization, staff: Client) -> None:
    device = make_device(organization=provider)
    Device.objects.filter(pk=device.pk).delete()

    assert parts(staff, device)[0] == 410


def test_a_foreign_phone_is_as_one_that_is_gone(other: Organization, staff: Client) -> None:
    assert parts(staff, make_device(organization=other)) == (410, "")


def test_the_page_draws_why_it_would_get_nothing(provider: Organization, staff: Client) -> None:
    device = make_device(profile=make_profile(organization=provider, enabled=False))

    text = parts(staff, device)[1]

    assert "would get nothing" in text
    assert '<li class="rule rule-refused">' in text
    assert "Its profile is disabled" in text


def test_the_page_names_the_address_for_this_very_phone(provider: Organization, staff: Client) -> None:
    profile = make_profile(organization=provider, targets=["https://cfg.example.net/$PN/$(MAU).xml"])
    device = make_device(profile=profile, mac="00562B04ABCD")

    assert "https://cfg.example.net/CP-8841-3PCC/00562B04ABCD.xml" in parts(staff, device)[1]


def test_the_timeline_names_the_api_key(provider: Organization, staff: Client) -> None:
    key, _ = make_key(organization=provider, name="Import nightly")
    device = make_device(organization=provider)
    device.changes.update(evidence={"by": key.prefix})

    text = parts(staff, device)[1]

    assert "API key Import nightly" in text
    assert key.prefix not in text


def test_another_organizations_key_stays_unnamed(provider: Organization, other: Organization, staff: Client) -> None:
    key, _ = make_key(organization=other, name="Their secret plan")
    device = make_device(organization=provider)
    device.changes.update(evidence={"by": key.prefix})

    assert "Their secret plan" not in parts(staff, device)[1]


def case(state: str, *, minutes: float = 120, outcome: str = answers.REDIRECTED, confirm: str = "callback") -> Case:
    at = datetime.fromisoformat("2026-11-22T09:30:00+00:00")
    return Case(
        state=CustomizationState(state), state_since=at - timedelta(minutes=minutes), last_seen=None, outcome=outcome,
        remedy=answers.REMEDIES[outcome], confirm=confirm, target="https://cfg.example.net/00562b043615.xml", at=at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "says", "step", "urgent"),
    [
        (case("open"), "Everything is ready", "reset it to factory settings", False),
        (case("open", outcome="not_associated"), "would get nothing", "Give the device a redirect profile", True),
        (case("pending", minutes=0.1), "on its way", "", False),
        (case("pending"), "asked 2 h ago", "Let the phone restart", True),
        (case("custom_pending", minutes=2), "about to fetch", "", False),
        (case("custom_pending"), "Custom Pending for 2 h", "https://cfg.example.net/00562b043615.xml", True),
        (case("custom_pending"), "never confirmed", "call-back", True),
        (case("custom_pending", confirm="beacon"), "never confirmed", "Profile_Rule_B", True),
        (case("custom_pending", confirm="none"), "expects no confirmation", "", False),
        (case("acquired", minutes=4320), "since 3 days", "", False),
        (case("acquired", outcome="profile_disabled"), "Nothing to do", "", False),
        (case("unavailable"), "asked before", "Let the phone restart", False),
        (case("unavailable", outcome="model_mismatch"), "would get nothing", "Correct the device's model", True),
        (case("aborted"), "does not ask", "remove the DHCP option", False),
        (case("aborted", outcome="outside_window"), "would get nothing", "reset the phone", True),
    ],
)
def test_what_to_do_next_is_said_by_state(given: Case, says: str, step: str, urgent: bool) -> None:
    said = advice.of(given)

    assert says in said.says
    assert step in " ".join(said.steps)
    assert bool(said.steps) == bool(step)
    assert said.is_urgent == urgent


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "60 min"), (7200, "2 h"), (86_400, "24 h"), (259_200, "3 days")],
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert advice.duration(seconds) == said
