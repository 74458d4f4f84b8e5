"""The one decision: every rule, their order, the list of rules tried, and what the owner can do about each outcome."""

from typing import Any

import pytest

from onboarding import answers
from onboarding.answers import RULES, decide
from onboarding.identifiers import MacAddress
from onboarding.registration import PhoneQuery, Profile, Registration
from trust.identity import Certified

AT = 1_800_000_000.0
MAC = MacAddress.parse("00562B043615")
OTHER_MAC = MacAddress.parse("00562B043616")
PROFILE = Profile(
    id=1,
    organization_id=1,
    enabled=True,
    targets=("https://first.example.net/", "https://second.example.net/"),
    parameters=(),
    confirm="callback",
    identity="none",
    match_model=False,
)
DEVICE = Registration(
    device_id=1,
    organization_id=1,
    organization_suspended=False,
    model="CP-8841-3PCC",
    serial="FCH2133E8B9",
    target="",
    valid_from=None,
    valid_until=None,
    profile=PROFILE,
)
QUERY = PhoneQuery(MAC, "CP-8841-3PCC", "FCH2133E8B9", "11.0")

ORDER = (
    "unknown_device",
    "not_associated",
    "profile_disabled",
    "organization_suspended",
    "identity_missing",
    "identity_mismatch",
    "model_mismatch",
    "serial_mismatch",
    "outside_window",
    "redirected",
)


def replace(value, **over):
    return value._replace(**over)


def profile(**over):
    return {"profile": replace(PROFILE, **over)}


# (what is said, device changes, query changes, outcome)
CASES = [
    ("plain", {}, {}, "redirected"),
    ("no profile", {"profile": None}, {}, "not_associated"),
    ("a profile without targets", profile(targets=()), {}, "not_associated"),
    ("own target alone", {"profile": None, "target": "https://own.example.net/"}, {}, "redirected"),
    ("disabled", profile(enabled=False), {}, "profile_disabled"),
    ("disabled, own target", profile(enabled=False) | {"target": "https://o.net/"}, {}, "profile_disabled"),
    ("suspended", {"organization_suspended": True}, {}, "organization_suspended"),
    (
        "suspended, own target",
        {"organization_suspended": True, "profile": None, "target": "x"},
        {},
        "organization_suspended",
    ),
    ("certificate required, none shown", profile(identity="required"), {}, "identity_missing"),
    ("certificate required, shown", profile(identity="required"), {"certified": Certified(MAC)}, "redirected"),
    (
        "certificate required, another's",
        profile(identity="required"),
        {"certified": Certified(OTHER_MAC)},
        "identity_mismatch",
    ),
    ("certificate preferred, none shown", profile(identity="preferred"), {}, "redirected"),
    (
        "certificate preferred, another's",
        profile(identity="preferred"),
        {"certified": Certified(OTHER_MAC)},
        "identity_mismatch",
    ),
    (
        "certificate required, expired",
        profile(identity="required"),
        {"certified": Certified(MAC, expired=True)},
        "identity_missing",
    ),
    (
        "certificate required, expired, accepted",
        profile(identity="required", accepts_expired=True),
        {"certified": Certified(MAC, expired=True)},
        "redirected",
    ),
    (
        "certificate preferred, expired",
        profile(identity="preferred"),
        {"certified": Certified(MAC, expired=True)},
        "redirected",
    ),
    (
        "certificate preferred, another's, expired",
        profile(identity="preferred"),
        {"certified": Certified(OTHER_MAC, expired=True)},
        "identity_mismatch",
    ),
    (
        "certificate of another model",
        profile(identity="required"),
        {"certified": Certified(MAC, model="CP-6841-3PCC")},
        "identity_mismatch",
    ),
    ("certificate not asked for, another's", {}, {"certified": Certified(OTHER_MAC)}, "redirected"),
    ("another model, not matched", {}, {"model": "CP-6841-3PCC"}, "redirected"),
    ("another model, matched", profile(match_model=True), {"model": "CP-6841-3PCC"}, "model_mismatch"),
    ("the model, matched", profile(match_model=True), {}, "redirected"),
    ("another serial", {}, {"serial": "FCH0000AAAA"}, "serial_mismatch"),
    (
        "another serial, own target alone",
        {"profile": None, "target": "x"},
        {"serial": "FCH0000AAAA"},
        "serial_mismatch",
    ),
    ("no serial said", {}, {"serial": ""}, "redirected"),
    ("no serial known", {"serial": ""}, {"serial": "FCH0000AAAA"}, "redirected"),
    ("before the window", {"valid_from": AT + 1}, {}, "outside_window"),
    ("the window opens now", {"valid_from": AT}, {}, "redirected"),
    ("the window closes now", {"valid_until": AT}, {}, "outside_window"),
    ("the window closes later", {"valid_until": AT + 1}, {}, "redirected"),
    ("inside the window", {"valid_from": AT - 1, "valid_until": AT + 1}, {}, "redirected"),
]


@pytest.mark.parametrize(("device", "query", "outcome"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_rule_decides_what_it_is_named_for(device, query, outcome):
    answer = decide(replace(QUERY, **query), replace(DEVICE, **device), AT)

    assert answer.outcome == outcome
    assert bool(answer.target) == (outcome == "redirected")


def test_an_unregistered_phone_is_an_unknown_device():
    answer = decide(QUERY, None, AT)

    assert (answer.outcome, answer.target, answer.profile) == ("unknown_device", "", None)
    assert answer.tried == (("unknown_device", "refused"),)


def test_the_rules_are_tried_in_the_designs_order():
    assert RULES == ORDER
    # Everything is wrong at once; curing what is refused lets exactly the next rule refuse.
    everything: dict[str, Any] = {"identity": "required", "match_model": True}
    wrong = replace(
        DEVICE, organization_suspended=True, valid_until=AT, profile=replace(PROFILE, enabled=False, **everything)
    )
    query = PhoneQuery(MAC, "CP-6841-3PCC", "FCH0000AAAA")
    cures = [
        ("not_associated", replace(wrong, profile=None), query),
        ("profile_disabled", wrong, query),
        ("organization_suspended", wrong := replace(wrong, profile=replace(PROFILE, **everything)), query),
        ("identity_missing", wrong := replace(wrong, organization_suspended=False), query),
        ("identity_mismatch", wrong, query := replace(query, certified=Certified(OTHER_MAC))),
        ("model_mismatch", wrong, query := replace(query, certified=Certified(MAC))),
        ("serial_mismatch", wrong, query := replace(query, model=DEVICE.model)),
        ("outside_window", wrong, query := replace(query, serial=DEVICE.serial)),
        ("redirected", replace(wrong, valid_until=None), query),
    ]

    for position, (outcome, device, asked) in enumerate(cures, start=1):
        answer = decide(asked, device, AT)

        assert answer.outcome == outcome
        verdict = "applied" if outcome == "redirected" else "refused"
        assert answer.tried == (*((name, "passed") for name in ORDER[:position]), (outcome, verdict))


def test_a_device_is_given_its_own_target_else_the_profiles_first():
    assert decide(QUERY, DEVICE, AT).target == "https://first.example.net/"
    assert decide(QUERY, replace(DEVICE, target="https://own.example.net/"), AT).target == "https://own.example.net/"


REMEDIES = {
    "unknown_device": "Claim it",
    "not_associated": "Give the device a redirect profile",
    "profile_disabled": "Enable",
    "organization_suspended": "Ask the operator",
    "identity_missing": "certificate",
    "identity_mismatch": "another MAC",
    "model_mismatch": "Correct the device's model",
    "serial_mismatch": "Correct the device's serial number",
    "outside_window": "valid_from or valid_until",
}


@pytest.mark.parametrize("outcome", ORDER)
def test_every_outcome_but_a_redirect_says_what_to_do(outcome):
    remedy = answers.Answer(outcome).remedy

    assert REMEDIES[outcome] in remedy if outcome in REMEDIES else remedy == ""


@pytest.mark.parametrize("outcome", ORDER[:-1])
def test_every_refusal_is_the_same_empty_body(outcome):
    def links():
        raise AssertionError("a refusal needs no links")

    assert answers.document(answers.Answer(outcome), links) == b""
