"""The 16 digits: what is read as a code, what the check digit catches, and what guessing is worth."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation.codes import ActivationCode, MistypedCode, guesses_allowed, hits_a_year

CODE = ActivationCode("3359626344349729")
NOT_16 = "An activation code has 16 digits."
SLIP = "One of the digits is wrong, or two are swapped."


def valid_codes():
    """Any well-formed code, found by trying the ten check digits on 15 others."""
    return st.integers(0, 10**15 - 1).map(with_check_digit)


def with_check_digit(number):
    (code,) = [text for text in (f"{number:015}{digit}" for digit in range(10)) if accepted(text)]
    return code


def accepted(text):
    try:
        ActivationCode.parse(text)
    except MistypedCode:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-",
        "1",
        "123456789012345",
        "12345678901234567",
        "#123456789012345",
        "#" + CODE.digits,
        CODE.digits + "#",
        "+" + CODE.digits[1:],
        "-" * 41,
        CODE.digits[:8] + "\n" + CODE.digits[8:],
        CODE.digits[:8] + "\x00" + CODE.digits[8:],
        CODE.digits + "\n",
        CODE.digits[:4] + "." + CODE.digits[4:],
        CODE.digits[:15] + "O",
        CODE.digits[:15] + "l",
        # Digits to Unicode, and to int(), but not to a phone.
        "".join(chr(0x0660 + int(digit)) for digit in CODE.digits),
        "".join(chr(0xFF10 + int(digit)) for digit in CODE.digits),
        CODE.digits[:15] + "²",
        "1_000_000_000_00",
        "1e15000000000000",
        "0x12345678901234",
        CODE.digits + " " * 25,
        "9" * 100_000,
        "'; DROP TABLE --",
        "%31" * 16,
        "\ud800" * 16,
        "１" * 16,
    ],
)
def test_what_is_not_16_digits_is_said_to_be_so(text):
    with pytest.raises(MistypedCode) as refused:
        ActivationCode.parse(text)

    assert (refused.value.detail, refused.value.code, refused.value.field) == (
        NOT_16,
        "mistyped_activation_code",
        "code",
    )


@pytest.mark.parametrize("separator", ["", " ", "-", "\u00a0"])
def test_groups_are_read_however_they_are_divided(separator):
    text = separator.join(CODE.grouped.split())

    assert ActivationCode.parse(text) == ActivationCode.parse(f" {text} ") == CODE


@given(valid_codes())
def test_a_code_is_read_as_it_is_printed(text):
    code = ActivationCode.parse(text)

    assert str(code) == text
    assert ActivationCode.parse(code.grouped) == code


@given(valid_codes(), st.integers(0, 15), st.integers(1, 9))
def test_every_single_wrong_digit_is_caught(text, place, shift):
    wrong = str((int(text[place]) + shift) % 10)

    with pytest.raises(MistypedCode, match=SLIP):
        ActivationCode.parse(text[:place] + wrong + text[place + 1 :])


@given(valid_codes(), st.integers(0, 14))
def test_every_swap_of_unlike_neighbours_is_caught(text, place):
    swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]

    assert accepted(swapped) == (swapped == text)


def test_all_single_errors_and_swaps_of_a_few_codes_one_by_one():
    for _ in range(20):
        text = ActivationCode.random().digits
        errors = [text[:p] + d + text[p + 1 :] for p in range(16) for d in "0123456789" if d != text[p]]
        swaps = [text[:p] + text[p + 1] + text[p] + text[p + 2 :] for p in range(15) if text[p] != text[p + 1]]

        assert len(errors) == 144
        assert not any(map(accepted, errors + swaps))


def test_a_tenth_of_random_numbers_passes_the_check_digit():
    numbers = random.Random(20261122)
    tries = 50_000

    share = sum(accepted(f"{numbers.randrange(10**16):016}") for _ in range(tries)) / tries

    # Six standard deviations of a share of 0.1 among so many.
    assert share == pytest.approx(0.1, abs=6 * (0.09 / tries) ** 0.5)


def test_new_codes_differ_and_use_all_digits_alike():
    tries = 20_000
    codes = [ActivationCode.random().digits for _ in range(tries)]

    assert len(set(codes)) == tries
    assert all(map(accepted, codes))
    for place in range(16):
        counts = [sum(code[place] == digit for code in codes) for digit in "0123456789"]
        chi_square = sum((count - tries / 10) ** 2 / (tries / 10) for count in counts)
        # Nine degrees of freedom: exceeded by chance once in 10^8.
        assert chi_square < 55, (place, counts)


def test_a_code_does_not_show_its_digits_by_accident():
    assert CODE.digits not in f"{CODE!r} {[CODE]} {(CODE,)}"


def test_what_guessing_is_worth():
    # Ten to the fifth active codes of 15 random digits allow 0.317 guesses a second for 10^-3 hits a year.
    assert guesses_allowed(active=100_000) == pytest.approx(0.317, abs=0.001)
    assert hits_a_year(guesses_a_second=guesses_allowed(active=100_000), active=100_000) == pytest.approx(1e-3)
    assert hits_a_year(guesses_a_second=100, active=1_000_000) == pytest.approx(3.2, abs=0.05)
