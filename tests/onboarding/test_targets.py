"""Targets: a phone is never sent back to this service, however its address is spelled."""

import pytest
from hypothesis import given

from onboarding import targets
from onboarding.profilerule import InvalidProfileRule, ProfileRule
from onboarding.targets import InvalidTargets, TargetPointsBack
from tests import strategies

OWN = frozenset(
    {
        ("activate.example.net", 443),
        ("localhost", 8000),
        ("127.0.0.1", 8000),
        ("192.0.2.7", 8000),
        ("2001:db8::7", 8000),
    }
)

POINT_BACK = [
    "https://activate.example.net/x",
    "https://activate.example.net",
    "HTTPS://Activate.EXAMPLE.net/x",
    "https://activate.example.net./x",
    "https://activate.example.net:443/x",
    "https://activate.example.net:0443/x",
    "http://activate.example.net:443/x",
    "[--srv] https://activate.example.net/x",
    "[--key $B] https://activate.example.net/x",
    "($A = 1)? https://cfg.example.net/x | https://activate.example.net/x",
    "($A = 1)? https://activate.example.net/x | https://cfg.example.net/x",
    '(GPP_A="x")! https://activate.example.net/x',
    "http://localhost:8000/x",
    "http://LOCALHOST.:8000/x",
    "http://phones.localhost:8000/x",
    "localhost:8000/x",
    "tftp://localhost:8000/x",
    "http://127.0.0.1:8000/x",
    "http://127.0.0.1.:8000/x",
    "http://127.0.0.2:8000/x",
    "http://127.255.255.254:8000/x",
    "http://127.1:8000/x",
    "http://2130706433:8000/x",
    "http://0x7f000001:8000/x",
    "http://0x7F.1:8000/x",
    "http://0177.0.0.1:8000/x",
    "http://0.0.0.0:8000/x",
    "http://0:8000/x",
    "http://[::1]:8000/x",
    "http://[0:0:0:0:0:0:0:1]:8000/x",
    "http://[0000::0001]:8000/x",
    "http://[::]:8000/x",
    "http://[::ffff:127.0.0.1]:8000/x",
    "http://[::ffff:7f00:1]:8000/x",
    "http://192.0.2.7:8000/x",
    "http://192.0.519:8000/x",
    "http://0xc0000207:8000/x",
    "http://[::ffff:192.0.2.7]:8000/x",
    "http://[2001:DB8::7]:8000/x",
    "http://[2001:db8:0:0::7]:8000/x",
    "[2001:db8::7]:8000/x",
]


@pytest.mark.parametrize("text", POINT_BACK)
def test_a_target_that_points_back_is_refused(text):
    with pytest.raises(TargetPointsBack) as caught:
        targets.parse(text, own=OWN)

    assert str(caught.value) == f"{text!r} points back to this service."
    assert (caught.value.code, caught.value.field) == ("target_points_back", "target")


ELSEWHERE = [
    "https://cfg.example.net/$MA.xml",
    "https://xactivate.example.net/x",
    "https://activate.example.net.evil.example/x",
    "https://activate.example.net:8443/x",
    "https://cfg.example.net/?next=https://activate.example.net/",
    "tftp://activate.example.net/x",
    "http://localhost:9000/x",
    "http://127.0.0.1/x",
    "http://128.0.0.1:8000/x",
    "http://192.0.2.8:8000/x",
    "http://[2001:db8::8]:8000/x",
    "http://192.168.08.1:8000/x",
    "http://127.0.0.256:8000/x",
    "http://1.2.3.4.5:8000/x",
    "http://$(A:0:3).example.net:8000/x",
    "http://localhost:$P/x",
    "/$PSN.xml",
    "$PN.cfg",
    "$A",
    "gds://",
]


@pytest.mark.parametrize("text", ELSEWHERE)
def test_other_servers_and_other_ports_are_targets(text):
    assert targets.parse(text, own=OWN).text == text


def test_this_service_is_recognized_however_its_own_address_was_configured():
    own = frozenset({("[2001:DB8:0::7]", 8000), ("ACTIVATE.example.net.", 443), ("0.0.0.0", 8001)})

    for text in ("http://[2001:db8::7]:8000/", "https://activate.example.net/", "http://127.0.0.1:8001/"):
        with pytest.raises(TargetPointsBack):
            targets.parse(text, own=own)


def test_an_error_names_the_field_that_was_wrong():
    with pytest.raises(InvalidProfileRule) as caught:
        targets.parse("ftp://a.net/", own=OWN, field="targets")

    assert caught.value.field == "targets"


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ([], "Give 1 to 8 targets."),
        (["https://a.net/"] * 9, "Give 1 to 8 targets."),
        (None, "Targets are a list of texts."),
        ("https://a.net/", "Targets are a list of texts."),
        ({"https://a.net/": 1}, "Targets are a list of texts."),
        (["https://a.net/", None], "Targets are a list of texts."),
        ([["https://a.net/"]], "Targets are a list of texts."),
    ],
)
def test_a_list_of_targets_has_one_to_eight_texts(value, detail):
    with pytest.raises(InvalidTargets) as caught:
        targets.parse_list(value, own=OWN)

    assert (str(caught.value), caught.value.field) == (detail, "targets")


def test_every_target_of_a_list_is_checked():
    with pytest.raises(TargetPointsBack) as caught:
        targets.parse_list(["https://a.net/", "http://127.1:8000/"], own=OWN)

    assert caught.value.field == "targets"
    assert caught.value.detail.startswith("Target 2: ")
    assert targets.parse_list([" https://a.net/ "], own=OWN) == [" https://a.net/ "]


@given(strategies.profile_rules)
def test_every_rule_of_the_grammar_can_be_judged(text):
    try:
        assert targets.parse(text, own=OWN).text == text
    except TargetPointsBack:
        assert ProfileRule.parse(text).hosts()
