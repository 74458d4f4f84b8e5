"""Short codes as values, their guess space, and who wins when two want the same digits."""

import threading
from contextlib import suppress
from itertools import pairwise

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from onboarding import guessing, shortcodes
from onboarding.identifiers import InvalidShortCode, ShortCode
from onboarding.models import ShortCode as ShortCodeRow
from redirect import wire
from tests import factories

INVALID = {
    "": "nothing", "#": "no digits", "123456": "no #", "#12": "too short", "#" + "1" * 17: "too long",
    "#12a": "a letter", "#١٢٣": "digits of another script", "#１２３": "wide digits", "#²³¹": "superscripts",
    "# 123": "a space", "#123 ": "a space behind", "#123\n": "a newline", "##123": "two signs", "#-123": "a sign",
    "#1_000": "an underscore", "#+123": "a plus", "#1.5e3": "a float", "＃123": "a wide sign", "#" + "1" * 10**6:
    "huge",
}  # fmt: skip


@pytest.mark.parametrize("text", INVALID, ids=INVALID.values())
def test_what_is_no_short_code_is_refused(text):
    with pytest.raises(InvalidShortCode):
        ShortCode.parse(text)


@given(st.from_regex(r"[0-9]{3,16}", fullmatch=True))
def test_a_short_code_is_read_as_it_is_printed(digits):
    code = ShortCode.from_digits(digits)

    assert str(code) == f"#{digits}"
    assert ShortCode.parse(str(code)) == code


@given(st.text(max_size=40))
def test_reading_raises_nothing_but_its_own_error(text):
    for read in (ShortCode.parse, ShortCode.from_digits):
        with suppress(InvalidShortCode):
            read(text)


def test_leading_zeros_count():
    assert ShortCode.parse("#0123") != ShortCode.parse("#123")


def test_sixteen_digits_with_the_sign_are_a_short_code():
    assert ShortCode.parse("#1234567890123456").digits == "1234567890123456"


def test_the_guess_space_grows_tenfold_with_each_digit():
    spaces = [guessing.space_of(length) for length in range(3, 17)]

    assert spaces[0] == guessing.GuessSpace(1000, 0.2)
    for shorter, longer in pairwise(spaces):
        assert longer.values == 10 * shorter.values


def test_one_network_rarely_finds_a_code_of_the_suggested_length_within_a_year():
    length = guessing.suggested_length()

    assert 365 / guessing.space_of(length).days_to_try_all <= 0.1 < 365 / guessing.space_of(length - 1).days_to_try_all


@given(
    st.from_regex(r"[0-9]{1,18}", fullmatch=True),
    st.sampled_from(["00562B043615:FCH2133E8B9:CP-8841-3PCC", "00562b043615", "x", "01562B043615:FCH2133E8B9:SPA112"]),
    st.sampled_from(["sip88xx.11-2-3", "", "a b", "x" * 65]),
)
def test_the_short_way_of_reading_a_request_gives_what_the_long_way_gives(digits, id, firmware):
    def read(query):
        try:
            return wire.parse_short_code(query)
        except wire.BadRequest:
            return None

    # Another order is not read the short way.
    assert read(f"code=%23{digits}&id={id}&sw={firmware}") == read(f"id={id}&sw={firmware}&code=%23{digits}")


@pytest.mark.django_db(transaction=True)
def test_two_organizations_that_enable_the_same_digits_at_once():
    profiles = [factories.make_profile() for _ in range(2)]
    together = threading.Barrier(2)
    won, lost = [], []

    def enable(profile):
        try:
            together.wait(5)
            try:
                won.append(factories.make_short_code(profile=profile))
            except shortcodes.ShortCodeTaken:
                lost.append(profile)
        finally:
            connection.close()

    for _ in range(5):
        ShortCodeRow.objects.all().delete()
        won.clear(), lost.clear()
        threads = [threading.Thread(target=enable, args=(profile,)) for profile in profiles]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert (len(won), len(lost)) == (1, 1)
        assert ShortCodeRow.objects.get().organization_id == won[0].organization_id
