"""What a token proves, and what it does not."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirect.tokens import LIFETIME_SECONDS, Tokens
from tests.redirect.doors import SECRET, TOKENS, octets

PHONE = octets("00562B043615")
OTHER = octets("00562B043616")
AT = 1_795_000_000
LEEWAY_SECONDS = 300


@given(st.binary(min_size=6, max_size=6), st.integers(0, 2**32 - 1))
def test_a_token_proves_when_its_phone_was_answered(mac, at):
    assert TOKENS.answered_at(TOKENS.make(mac, at), mac, at) == at


def test_a_token_is_short_and_needs_no_escaping():
    token = TOKENS.make(PHONE, AT + 0.999)

    assert len(token) == 19
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert TOKENS.answered_at(token, PHONE, AT) == AT


def test_a_token_proves_nothing_for_another_phone():
    assert TOKENS.answered_at(TOKENS.make(PHONE, AT), OTHER, AT) is None


def test_a_token_of_another_secret_proves_nothing():
    assert Tokens("x" * 40).answered_at(TOKENS.make(PHONE, AT), PHONE, AT) is None


def test_doors_with_one_secret_believe_each_other():
    assert Tokens(SECRET).answered_at(TOKENS.make(PHONE, AT), PHONE, AT) == AT


@pytest.mark.parametrize(
    ("later", "believed"),
    [
        (0, True),
        (LIFETIME_SECONDS, True),
        (LIFETIME_SECONDS + 1, False),
        (-LEEWAY_SECONDS, True),
        (-LEEWAY_SECONDS - 1, False),
    ],
)
def test_a_token_is_believed_for_its_lifetime(later, believed):
    assert (TOKENS.answered_at(TOKENS.make(PHONE, AT), PHONE, AT + later) is not None) is believed


def test_no_part_of_a_token_can_be_changed():
    octets_of_token = bytearray(base64.urlsafe_b64decode(TOKENS.make(PHONE, AT) + "="))

    for position in range(len(octets_of_token)):
        for bit in range(8):
            forged = bytearray(octets_of_token)
            forged[position] ^= 1 << bit
            text = base64.urlsafe_b64encode(forged).decode().rstrip("=")
            assert TOKENS.answered_at(text, PHONE, AT) is None


@pytest.mark.parametrize(
    "token",
    ["", "A", "A" * 18, "A" * 19, "A" * 20, "=" * 19, "\x00" * 19, "é" * 19, "\udc80" * 19, " " * 19, "A" * 17 + "=="],
)
def test_what_is_no_token_proves_nothing(token):
    assert TOKENS.answered_at(token, PHONE, AT) is None


@given(st.text(max_size=30))
def test_no_text_raises(token):
    TOKENS.answered_at(token, PHONE, AT)
