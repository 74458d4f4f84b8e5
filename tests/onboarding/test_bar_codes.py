"""Bar codes of boxes as scanners type them, and the bar codes of labels."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding import code128
from onboarding.barcodes import MAX_SCAN_LENGTH, ProductCodeScanned, Scan, UnreadableScan
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, SerialNumber

MAC, SERIAL, MODEL = "00562B043615", "FCH2133E8B9", "CP-8841-3PCC"

# (what the scanner types, MAC, serial, model)
READABLE = [
    ("00562B043615", MAC, None, None),
    ("00562b043615", MAC, None, None),
    ("  00562b043615 \r\n", MAC, None, None),
    ("00:56:2b:04:36:15", MAC, None, None),
    ("00-56-2B-04-36-15", MAC, None, None),
    ("0056.2b04.3615", MAC, None, None),
    ("00 56 2B 04 36 15", MAC, None, None),
    ("MAC:00562B043615", MAC, None, None),
    ("mac 00562B043615", MAC, None, None),
    ("MAC ID: 00 56 2B 04 36 15", MAC, None, None),
    ("MAC Address=00:56:2B:04:36:15", MAC, None, None),
    ("23S00562B043615", MAC, None, None),
    ("(23S)00562B043615", MAC, None, None),
    ("]C000562B043615", MAC, None, None),
    ("]Q1MAC:00562B043615", MAC, None, None),
    ("FCH2133E8B9", None, SERIAL, None),
    ("fch2133e8b9", None, SERIAL, None),
    ("SFCH2133E8B9", None, SERIAL, None),
    ("S/N: FCH2133E8B9", None, SERIAL, None),
    ("SN FCH2133E8B9", None, SERIAL, None),
    ("Serial No.: FCH2133E8B9", None, SERIAL, None),
    ("SN:88012BA01234", None, "88012BA01234", None),
    ("(21)FCH2133E8B9", None, SERIAL, None),
    ("(01)00882658563331(21)FCH2133E8B9", None, SERIAL, None),
    ("]C1010088265856333121FCH2133E8B9", None, SERIAL, None),
    ("0100882658563331\x1d21FCH2133E8B9", None, SERIAL, None),
    ("1PCP-8841-3PCC-K9", None, None, MODEL),
    ("PID: CP-8841-3PCC-K9=", None, None, MODEL),
    ("MAC:00562B043615;SN:FCH2133E8B9;PID:CP-8841-3PCC", MAC, SERIAL, MODEL),
    ("SN=FCH2133E8B9,MAC=00:56:2B:04:36:15", MAC, SERIAL, None),
    ("FCH2133E8B9|00562B043615", MAC, SERIAL, None),
    ("00562B043615\tFCH2133E8B9", MAC, SERIAL, None),
    ("1PCP-8841-3PCC\x1dSFCH2133E8B9\x1d23S00562B043615", MAC, SERIAL, MODEL),
    ("(1P)CP-8841-3PCC(S)FCH2133E8B9(23S)00562B043615", MAC, SERIAL, MODEL),
    ("UPC: 882658563331;MAC:00562B043615", MAC, None, None),
]


@pytest.mark.parametrize(("text", "mac", "serial", "model"), READABLE)
def test_what_a_scanner_types_is_read(text, mac, serial, model):
    scan = Scan.read(text)

    found = [None if part is None else str(part) for part in (scan.mac, scan.serial, scan.model)]
    assert found == [mac, serial, model]


def test_a_text_that_can_be_both_is_a_mac_that_may_be_a_serial():
    scan = Scan.read("88012BA01234")

    assert (str(scan.mac), str(scan.may_be_serial)) == ("88012BA01234", "88012BA01234")
    assert Scan.read("00:56:2B:04:36:15").may_be_serial is None


@pytest.mark.parametrize("text", ["882658563331", "0882658563331", "00882658563331", "]E00882658563331", "96385074"])
def test_the_products_own_code_is_no_phone(text):
    with pytest.raises(ProductCodeScanned) as caught:
        Scan.read(text)

    assert "same on every box" in caught.value.detail


def test_twelve_digits_with_a_wrong_check_digit_are_a_mac():
    assert str(Scan.read("005600043615").mac) == "005600043615"


@pytest.mark.parametrize("text", ["", "   ", "HELLO", "?", "]C1", "(99)", "x" * (MAX_SCAN_LENGTH + 1), ";;;", "FCH 1"])
def test_anything_else_is_refused_with_what_to_do(text):
    with pytest.raises(UnreadableScan) as caught:
        Scan.read(text)

    assert "MAC" in caught.value.remedy


@pytest.mark.parametrize("text", ["MAC: 01005E000001", "MAC:00562B04361", "MAC:000000000000"])
def test_a_labelled_mac_that_is_none_is_named(text):
    with pytest.raises(OnboardingError) as caught:
        Scan.read(text)

    assert caught.value.code == "invalid_mac"


@given(st.text(max_size=400))
def test_no_text_does_more_than_be_refused(text):
    try:
        scan = Scan.read(text)
    except OnboardingError:
        return
    assert scan.mac or scan.serial or scan.model


@given(st.integers(1, 2**40 - 1), st.from_regex(r"[A-Z]{3}[0-9]{4}[0-9A-Z]{4}", fullmatch=True))
def test_a_2d_code_with_labels_always_gives_both(number, serial):
    scan = Scan.read(f"MAC:{MacAddress(number)};SN:{serial}")

    assert (scan.mac, scan.serial) == (MacAddress(number), SerialNumber(serial))


# The published example of the check character: "Wikipedia", code set B, has 88.
def test_the_check_character_is_the_standards():
    parts = re.findall("......", code128.widths("Wikipedia")[:-7])

    assert code128.WIDTHS.index(parts[0]) == 104
    assert code128.WIDTHS.index(parts[-1]) == 88


def test_the_symbols_are_those_of_a_code_128():
    symbols = code128.WIDTHS

    assert len(set(symbols)) == 106
    # Eleven modules each, an even number of them dark (ISO/IEC 15417, 4.2).
    assert {sum(map(int, symbol)) for symbol in symbols} == {11}
    assert all(sum(map(int, symbol[::2])) % 2 == 0 for symbol in symbols)
    assert not any(int(width) > 4 for symbol in symbols for width in symbol)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40))
def test_a_reader_reads_what_was_written(text):
    widths = code128.widths(text)
    values = [code128.WIDTHS.index(part) for part in re.findall("......", widths[:-7])]

    assert widths.endswith("2331112")
    assert "".join(chr(value + 32) for value in values[1:-1]) == text
    assert (104 + sum(place * value for place, value in enumerate(values[1:-1], 1))) % 103 == values[-1]


@pytest.mark.parametrize("text", ["", "Größe", "a\n"])
def test_what_no_bar_code_can_hold_is_refused(text):
    with pytest.raises(ValueError, match="printable ASCII"):
        code128.widths(text)


def test_the_drawing_has_a_bar_for_every_other_width_and_room_beside():
    drawn = code128.svg(MAC)

    assert drawn.count("M") == len(code128.widths(MAC)) // 2 + 1
    assert f'viewBox="0 0 {sum(map(int, code128.widths(MAC))) + 2 * code128.QUIET} 40"' in drawn
