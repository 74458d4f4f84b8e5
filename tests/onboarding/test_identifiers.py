"""MAC addresses, serial numbers and model names: what is read, what is refused, and with which words."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding.identifiers import (
    InvalidMacAddress,
    InvalidModelName,
    InvalidSerialNumber,
    MacAddress,
    ModelName,
    SerialNumber,
)
from tests import strategies


@pytest.mark.parametrize(
    "text",
    ["00562B043615", "00562b043615", "00:56:2b:04:36:15", "00:56:2B:04:36:15", "00-56-2b-04-36-15", "0056.2b04.3615"],
)
def test_every_usual_notation_of_a_mac_is_read(text):
    mac = MacAddress.parse(text)

    assert mac.number == 0x00562B043615
    assert str(mac) == "00562B043615"
    assert mac.colons == "00:56:2B:04:36:15"


NOT_A_MAC = [
    "",
    " ",
    "00562B04361",
    "00562B0436155",
    "00562B04361G",
    " 00562B043615",
    "00562B043615 ",
    "00562B043615\n",
    "00562B043615\0",
    "\ufeff00562B043615",
    "00:56:2b:04:36",
    "00:56:2b:04:36:15:17",
    "00:56-2b:04-36:15",
    "0:56:2b:4:36:15",
    "00::56:2b:04:36",
    "0056:2b04:3615",
    "0056-2b04-3615",
    "0056.2b04.3615.",
    "00.56.2b.04.36.15",
    "00562B-043615",
    "0x562B04361",
    "-0562B043615",
    "+0562B043615",
    "00_562B043615",
    "٠٠562B043615",  # Arabic digits
    "00562B04361５",  # a full-width five
    "00562Ｂ043615",
    "00562\u0432043615",  # a Cyrillic letter
    "'; DROP TABLE onboarding_device; --",
    "\ud800",
]


@pytest.mark.parametrize("text", NOT_A_MAC)
def test_what_is_no_mac_is_refused_and_shown(text):
    with pytest.raises(InvalidMacAddress) as caught:
        MacAddress.parse(text)

    assert str(caught.value) == f"{text!r} is not a MAC address."
    assert (caught.value.code, caught.value.field) == ("invalid_mac", "mac")
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text", ["000000000000", "FFFFFFFFFFFF", "ff:ff:ff:ff:ff:ff", "01005E000001", "33:33:00:00:00:01", "0100.0000.0000"]
)
def test_group_and_null_addresses_are_refused(text):
    with pytest.raises(InvalidMacAddress) as caught:
        MacAddress.parse(text)

    assert str(caught.value) == f"{text!r} is a group or null address, which no phone has."


def test_locally_administered_macs_are_read():
    assert str(MacAddress.parse("02:00:00:00:00:01")) == "020000000001"


def test_an_error_shows_only_the_beginning_of_long_input():
    with pytest.raises(InvalidMacAddress) as caught:
        MacAddress.parse("5" * 100_000)

    assert len(str(caught.value)) < 100


@given(strategies.macs)
def test_a_printed_mac_reads_as_the_same(mac):
    assert MacAddress.parse(str(mac)) == mac
    assert MacAddress.parse(mac.colons) == mac
    assert MacAddress.from_bytes(bytes(mac)) == mac
    assert str(mac) == str(mac).upper()


@given(st.one_of(st.text(), st.text("0123456789abcdefABCDEF:-. ", max_size=20)))
def test_reading_a_mac_raises_nothing_but_its_own_error(text):
    try:
        mac = MacAddress.parse(text)
    except InvalidMacAddress:
        return
    assert MacAddress.parse(str(mac)) == mac


@pytest.mark.parametrize(
    ("text", "printed"),
    [("FCH2133E8B9", "FCH2133E8B9"), ("88012ba01234", "88012BA01234"), ("12345", "12345"), ("a" * 32, "A" * 32)],
)
def test_serial_numbers_are_read_in_any_case(text, printed):
    assert str(SerialNumber.parse(text)) == printed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1234",
        "A" * 33,
        "FCH 2133",
        " FCH2133",
        "FCH2133\n",
        "FCH-2133",
        "FCH2133\0",
        "FCH2133é",
        "１２３４５",
        "ſſſſſ",  # upper-cases to SSSSS
        "ıııııı",  # upper-cases to I
        "ﬁﬁﬁ",  # upper-cases to FIFIFI
        "ßßß",
        "\ud800aaaaa",
    ],
)
def test_what_is_no_serial_number_is_refused_and_shown(text):
    with pytest.raises(InvalidSerialNumber) as caught:
        SerialNumber.parse(text)

    assert str(caught.value) == f"{text!r} is not a serial number: 5 to 32 letters and digits."
    assert (caught.value.code, caught.value.field) == ("invalid_serial", "serial")


@pytest.mark.parametrize(
    ("text", "printed"),
    [("cp-8841-3pcc", "CP-8841-3PCC"), ("SPA-942", "SPA-942"), ("C+", "C+"), ("a/b", "A/B"), ("x" * 40, "X" * 40)],
)
def test_model_names_are_read_in_any_case(text, printed):
    assert str(ModelName.parse(text)) == printed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "C",
        "-8841",
        "8841-",
        ".8841",
        "C" * 41,
        "CP 8841",
        "CP-8841\n",
        "CP<8841>",
        "CP&8841",
        "CP-8841\0",
        "CP：8841",
        "ſpa942",
        "ﬀ",
        "\ud800a",
    ],
)
def test_what_is_no_model_name_is_refused_and_shown(text):
    with pytest.raises(InvalidModelName) as caught:
        ModelName.parse(text)

    assert str(caught.value) == f"{text!r} is not a model name: 2 to 40 of letters, digits and . _ + / -."
    assert (caught.value.code, caught.value.field) == ("invalid_model", "model")


@given(strategies.serials, strategies.models)
def test_printed_serial_numbers_and_models_read_as_the_same(serial, model):
    assert SerialNumber.parse(str(serial)) == serial
    assert ModelName.parse(str(model)) == model


@given(st.text(max_size=70))
def test_reading_serial_numbers_and_models_raises_nothing_but_their_own_errors(text):
    for kind, error in ((SerialNumber, InvalidSerialNumber), (ModelName, InvalidModelName)):
        try:
            value = kind.parse(text)
        except error:
            continue
        assert str(value).isascii()
        assert str(value) == text.upper()
        assert kind.parse(str(value)) == value


@pytest.mark.parametrize("kind", [MacAddress, SerialNumber, ModelName])
@pytest.mark.parametrize("piece", ["0", "00:", "A-", "\u00df", "0056.", " "])
def test_long_hostile_input_is_refused_at_once(kind, piece):
    hostile = piece * 1_000_000

    started = time.perf_counter()
    with pytest.raises((InvalidMacAddress, InvalidSerialNumber, InvalidModelName)):
        kind.parse(hostile)

    assert time.perf_counter() - started < 0.1
