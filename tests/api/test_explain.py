"""`/explain/`: each rule by its name, with what the phone would get."""

from datetime import timedelta

import pytest
from django.utils import timezone

from onboarding.answers import RULES
from tests.factories import make_device, make_profile

NOW = timezone.now()
OWN_MAC = "00562B043615"
OWN = {"certified_mac": OWN_MAC}
EXPIRED = OWN | {"certificate_expired": "true"}


def explain(partner, device, **said):
    return partner(
        "GET", "explain/?" + "&".join(f"{name}={text}" for name, text in {"mac": device.mac, **said}.items())
    )


@pytest.mark.parametrize(
    ("outcome", "profile", "device", "said"),
    [
        ("not_associated", None, {}, {}),
        ("profile_disabled", {"enabled": False}, {}, {}),
        ("identity_missing", {"identity": "required"}, {}, {}),
        ("identity_mismatch", {"identity": "required"}, {}, {"certified_mac": "00562B0FFFFF"}),
        ("identity_mismatch", {"identity": "preferred"}, {}, {"certified_mac": "00562B0FFFFF"}),
        ("identity_mismatch", {"identity": "required"}, {"mac": OWN_MAC}, OWN | {"certified_model": "CP-6841-3PCC"}),
        ("identity_missing", {"identity": "required"}, {"mac": OWN_MAC}, EXPIRED),
        ("model_mismatch", {"match_model": True}, {}, {"model": "CP-6841-3PCC"}),
        ("model_mismatch", {"match_model": True}, {}, {}),
        ("serial_mismatch", {}, {"serial": "FCH2133E8B9"}, {"serial": "FCH2133E8B8"}),
        ("outside_window", {}, {"valid_from": NOW + timedelta(days=1)}, {}),
        ("outside_window", {}, {"valid_until": NOW - timedelta(days=1)}, {}),
        ("redirected", {}, {"serial": "FCH2133E8B9"}, {}),
        ("redirected", {"identity": "required"}, {"mac": OWN_MAC}, OWN | {"certified_model": "CP-8841"}),
        ("redirected", {"identity": "required", "accepts_expired_certificates": True}, {"mac": OWN_MAC}, EXPIRED),
        ("redirected", {"match_model": True}, {}, {"model": "cp-8841-3pcc", "firmware": "11.3.7"}),
        ("redirected", None, {"target": "https://own.example.net/"}, {}),
    ],
)
def test_each_rule_explains_itself(partner, outcome, profile, device, said):
    profile = profile if profile is None else make_profile(organization=partner.organization, **profile)
    made = make_device(organization=partner.organization, profile=profile, **device)

    shown = explain(partner, made, **said).json()

    tried = [step["rule"] for step in shown["tried"]]
    assert shown["outcome"] == outcome
    assert tried == list(RULES[: RULES.index(outcome) + 1])
    assert {step["result"] for step in shown["tried"][:-1]} == {"passed"}
    assert shown["tried"][-1]["result"] == ("applied" if outcome == "redirected" else "refused")
    assert (shown["answer"] is not None) == (outcome == "redirected") == (shown["remedy"] == "")


def test_an_unregistered_phone_is_explained(partner):
    shown = partner("GET", "explain/?mac=00:56:2b:04:36:15").json()

    assert (shown["outcome"], shown["answer"]) == ("unknown_device", None)
    assert shown["tried"] == [{"rule": "unknown_device", "result": "refused"}]
    assert shown["remedy"]


def test_the_answer_is_what_the_phone_would_get_without_its_token(partner):
    profile = make_profile(
        organization=partner.organization, confirm="beacon", targets=["https://a.example.net/$MA.xml", "https://b.example.net/"],
        parameters={"Report_Rule": "{report_url}", "Custom_CA_Rule": "https://a.example.net/ca?x=1&y=2"},
    )  # fmt: skip
    device = make_device(profile=profile)

    answer = explain(partner, device).json()["answer"]

    assert (answer["target"], answer["profile"]) == ("https://a.example.net/$MA.xml", profile.pk)
    lines = answer["flat_profile"].splitlines()
    assert lines[1] == '  <Profile_Rule ua="na">https://a.example.net/$MA.xml</Profile_Rule>'
    assert lines[2].startswith('  <Profile_Rule_B ua="na">http')
    assert f"/acquired?id={device.mac}<" in lines[2]
    assert "x=1&amp;y=2" in answer["flat_profile"]
    assert f"/report?id={device.mac}<" in answer["flat_profile"]
    assert "t=" not in answer["flat_profile"].replace("rule", "")


def test_a_target_of_its_own_beats_the_profiles(partner):
    profile = make_profile(organization=partner.organization)
    device = make_device(profile=profile, target="https://own.example.net/")

    answer = explain(partner, device).json()["answer"]

    assert (answer["target"], answer["profile"]) == ("https://own.example.net/", profile.pk)


@pytest.mark.parametrize(
    "query", ["", "mac=x", "mac=00562B043615&model=%3F", "mac=00562B043615&serial=1", "mac=00562B043615&sw=11"]
)
def test_a_query_that_is_not_understood_is_refused(partner, query):
    assert partner("GET", f"explain/?{query}").status_code == 400


def test_explaining_writes_nothing(partner):
    device = make_device(organization=partner.organization)
    before = partner("GET", f"devices/{device.mac}/").json()

    explain(partner, device)

    assert partner("GET", f"devices/{device.mac}/").json() == before
    assert len(partner("GET", f"devices/{device.mac}/timeline/").json()["results"]) == 1
