"""Who a phone says it is."""

import pytest

from virtualphone.identity import Identity, InvalidIdentity


@pytest.mark.parametrize("mac", ["00562b043615", "00:56:2B:04:36:15", "00-56-2b-04-36-15", "0056.2b04.3615"])
def test_any_notation_of_the_mac(mac):
    assert Identity.parse(mac, "CP-8841-3PCC").mac == "00562B043615"


@pytest.mark.parametrize(
    ("model", "firmware", "user_agent"),
    [
        ("CP-8841-3PCC", "", "Cisco-CP-8841-3PCC/11.3.2 (00562b043615)"),
        ("CP-6841-3PCC", "sip68xx.11-0-1MPP-376", "Cisco-CP-6841-3PCC/11.0.1 (00562b043615)"),
        ("CP-8841-3PCC", "odd", "Cisco-CP-8841-3PCC/odd (00562b043615)"),
    ],
)
def test_the_user_agent(model, firmware, user_agent):
    assert Identity.parse("00562B043615", model, firmware=firmware).user_agent == user_agent


def test_the_default_firmware_is_of_its_series():
    assert Identity.parse("00562B043615", "CP-7841-3PCC").firmware == "sip78xx.11-3-2MPP0001-609"


def test_a_missing_serial_is_left_out():
    assert Identity.parse("00562B043615", "CP-8841-3PCC").triple == "00562B043615:CP-8841-3PCC"


@pytest.mark.parametrize(
    ("mac", "model", "serial"),
    [
        ("0056", "CP-8841-3PCC", ""),
        ("", "M", ""),
        ("g0562b043615", "M", ""),
        ("00562b043615", "a b", ""),
        ("00562b043615", "M", "1:2"),
    ],
)
def test_what_no_phone_is_called(mac, model, serial):
    with pytest.raises(InvalidIdentity):
        Identity.parse(mac, model, serial)
