"""The example phone: who a profile rule is expanded for where no phone has asked.

Unknown names stay as they are, as on a phone. General purpose parameters ($A, $B, …) are the phone's own and unknown.
Source: the vendor's provisioning guide, "Macro Expansion Variables".
"""

import re
from collections.abc import Mapping

from onboarding.identifiers import MacAddress

# The address of the seed's examples; no phone of a customer has it.
MAC = MacAddress(0x00562B043615)
MODEL, SERIES, SERIAL, FIRMWARE = "CP-8841-3PCC", "8841-3PCC", "FCH2133E8B9", "sip88xx.11-3-7MPP0001-000"

USER_AGENT = f"Cisco-{MODEL}/11.3.7 ({str(MAC).lower()}) target-test"

_VALUES = {
    "MA": str(MAC).lower(),
    "MAU": str(MAC),
    "MAC": MAC.colons.lower(),
    "PN": MODEL,
    "PSN": SERIES,
    "SN": SERIAL,
    "SWVER": FIRMWARE,
    "HWVER": "1.0",
    "CCERT": "Installed",
}
_MACRO = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z][A-Za-z0-9]*)"
    r"|\(\s*(?P<name>[A-Za-z][A-Za-z0-9]*)(?::(?P<start>\d{1,3}))?(?::(?P<length>\d{1,3}))?\s*\))"
)


def phone(mac: MacAddress, model: str, serial: str) -> dict[str, str]:
    """The values of another phone's macros, as far as its registration tells them."""
    series = model.removeprefix("CP-")
    return {
        "MA": str(mac).lower(),
        "MAU": str(mac),
        "MAC": mac.colons.lower(),
        "PN": model,
        "PSN": series,
        **({"SN": serial} if serial else {}),
    }


def expand(text: str, values: Mapping[str, str] = _VALUES) -> str:
    """Put the example phone's values, or another one's, in for the macros."""

    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        found = values.get(match["plain"] or match["name"])
        if found is None:
            return match[0]
        start = int(match["start"] or 0)
        return found[start:] if match["length"] is None else found[start : start + int(match["length"])]

    return _MACRO.sub(value, text)
