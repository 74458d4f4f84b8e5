"""A device's page: where it stands, what happened, and why it is answered as it is."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Organization
from onboarding import answers, customization, registrations
from onboarding.customization import Evidence
from onboarding.identifiers import MacAddress
from onboarding.models import Device
from onboarding.observations import Clock, Observation
from onboarding.registration import PhoneQuery
from onboarding.states import CustomizationState, Event
from tests.factories import make_device, make_profile


def seen(device: Device, event: Event, minutes_ago: float, *, hearsay: bool = False, **evidence: Any) -> None:
    now = timezone.now()
    clock = Clock(now - timedelta(minutes=minutes_ago))
    observation = Observation(event, clock, "report" if hearsay else "door", evidence, hearsay)
    customization.record(Evidence(device.mac, observation), at=now)


def page(client: Client, device: Device) -> Any:
    return client.get(reverse("admin:onboarding_device_change", args=(device.pk,)))


def explained(client: Client, device: Device, **said: str) -> Any:
    return client.get(reverse("admin:onboarding_device_explain", args=(device.pk,)), said)


@pytest.mark.parametrize("state", list(CustomizationState))
def test_the_page_draws_where_the_phone_stands(
    state: CustomizationState, provider: Organization, staff: Client
) -> None:
    device = make_device(organization=provider, state=state.value)

    shown = page(staff, device)

    here = [s for s in (*shown.context["path_steps"], *shown.context["aside_steps"]) if s.standing == "here"]
    assert [step.state for step in here] == [state]
    assert f'<span class="state state-{state}">{state.label}</span>' in shown.content.decode()


def test_the_timeline_tells_the_story_newest_first(provider: Organization, staff: Client) -> None:
    device = make_device(profile=make_profile(organization=provider), at=timezone.now() - timedelta(days=1))
    seen(device, Event.ASKED, 60, firmware="sip88xx.11-3-1")
    seen(device, Event.ANSWERED, 59)
    seen(device, Event.FACTORY_RESET, 58, hearsay=True)
    seen(device, Event.NOT_FOUND, 30)
    seen(device, Event.ACQUIRED, 29)
    seen(device, Event.ASKED, 20)

    entries = page(staff, device).context["entries"]

    assert [(entry.words, entry.inferred, bool(entry.refused)) for entry in entries] == [
        ("Asked this service where to go", False, False),
        ("Was reset to factory settings", True, False),
        ("Fetched its provider's profile", False, False),
        ("Asked in vain: there was nothing to give", False, True),
        ("Was reset to factory settings", False, True),
        ("Was given its provider's URL", False, False),
        ("Asked this service where to go", False, False),
        ("Registered", False, False),
    ]
    assert "sip88xx.11-3-1" in page(staff, device).content.decode()


def test_a_long_history_is_cut_and_the_rest_is_one_link_away(provider: Organization, staff: Client) -> None:
    device = make_device(profile=make_profile(organization=provider), at=timezone.now() - timedelta(days=1))
    for number in range(60):
        seen(device, Event.ASKED, 100 - number)

    shown = page(staff, device)

    assert len(shown.context["entries"]) == 50
    everything = staff.get(shown.context["history_address"])
    assert everything.context["cl"].result_count == 61


def test_what_a_phone_said_cannot_become_markup(provider: Organization, staff: Client) -> None:
    device = make_device(profile=make_profile(organization=provider), label="<script>label</script>")
    seen(device, Event.ASKED, 1, firmware="<script>alert(1)</script>", **{"<b>": "<i>"})  # type: ignore[arg-type]
    row = device.changes.get(event="asked")

    for address in (
        reverse("admin:onboarding_device_change", args=(device.pk,)),
        reverse("admin:onboarding_device_changelist"),
        reverse("admin:onboarding_statechange_change", args=(row.pk,)),
        reverse("admin:index"),
    ):
        shown = staff.get(address).content.decode()
        assert "<script>alert" not in shown
        assert "<script>label" not in shown
        assert "<i>" not in shown


def test_a_device_without_a_profile_says_that_it_is_sent_nowhere(provider: Organization, staff: Client) -> None:
    text = page(staff, make_device(organization=provider)).content.decode()

    assert "would get nothing" in text
    assert "Give the device a redirect profile" in text


CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, str], str]] = [
    ({}, {}, {}, "redirected"),
    ({"enabled": False}, {}, {}, "profile_disabled"),
    ({"identity": "required"}, {}, {}, "identity_missing"),
    ({"identity": "required"}, {}, {"certificate": "own"}, "redirected"),
    ({"identity": "preferred"}, {}, {"certificate": "other"}, "identity_mismatch"),
    ({"match_model": True}, {}, {"model": "CP-6841-3PCC"}, "model_mismatch"),
    ({"match_model": True}, {}, {"model": "cp-8841-3pcc"}, "redirected"),
    ({}, {"serial": "FCH2133E8B9"}, {"serial": "FCH00000000"}, "serial_mismatch"),
    ({}, {"valid_until": timezone.now() - timedelta(days=1)}, {}, "outside_window"),
]


@pytest.mark.parametrize(("profile", "fields", "said", "outcome"), CASES)
def test_explaining_is_the_doors_own_decision(
    profile: dict[str, Any],
    fields: dict[str, Any],
    said: dict[str, str],
    outcome: str,
    provider: Organization,
    reader: Client,
) -> None:
    device = make_device(profile=make_profile(organization=provider, **profile), **fields)

    shown = explained(reader, device, **said)

    text = shown.content.decode()
    assert shown.context["answer"].outcome == outcome
    assert [(rule["name"], rule["verdict"]) for rule in shown.context["rules"]] == list(shown.context["answer"].tried)
    assert answers.REMEDIES[outcome].replace("'", "&#x27;") in text
    assert ("&lt;Profile_Rule ua=" in text) == (outcome == "redirected")


def test_the_explanation_shows_the_very_document(provider: Organization, staff: Client) -> None:
    device = make_device(profile=make_profile(organization=provider, parameters={"GPP_A": "a<b"}))
    mac = MacAddress.parse(device.mac)

    shown = explained(staff, device)

    answer = answers.decide(PhoneQuery(mac, device.model), registrations.for_mac(mac), timezone.now().timestamp())
    assert shown.context["document"].encode() == answers.document(answer, answers.Links)  # type: ignore[arg-type]


def test_a_beacons_token_is_not_given_away(provider: Organization, staff: Client) -> None:
    device = make_device(profile=make_profile(organization=provider, confirm="beacon"))

    assert f"id={device.mac}&amp;amp;t=TOKEN" in explained(staff, device).content.decode()


def test_nonsense_said_by_a_phone_is_pointed_out(provider: Organization, staff: Client) -> None:
    shown = explained(staff, make_device(organization=provider), model="!!!", serial="x")

    assert shown.status_code == 200
    assert "is not a model name" in shown.content.decode()
    assert "answer" not in shown.context


def test_explaining_records_nothing(provider: Organization, staff: Client) -> None:
    device = make_device(profile=make_profile(organization=provider))

    explained(staff, device, model="CP-1")

    assert device.changes.count() == 1


def test_a_profiles_page_previews_its_document(provider: Organization, reader: Client) -> None:
    profile = make_profile(
        organization=provider, targets=["https://cfg.example.net/$MA.xml"], parameters={"GPP_A": "7"}
    )

    shown = reader.get(reverse("admin:onboarding_redirectprofile_change", args=(profile.pk,))).content.decode()

    assert "&lt;Profile_Rule ua=&quot;na&quot;&gt;https://cfg.example.net/$MA.xml&lt;/Profile_Rule&gt;" in shown
    assert "&lt;GPP_A ua=&quot;na&quot;&gt;7&lt;/GPP_A&gt;" in shown
