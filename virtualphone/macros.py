"""Macros: `$MA`, `$(MA)`, `$(MA:0:6)` and `$$`, as a phone expands them in its rules.

- The longest run of letters and digits after `$` is the name: `$MAX` is not `$MA` with an X behind it.
- `(NAME:p)` is the value from character p on, `(NAME:p:q)` is q characters of it.
- Unknown names stay as they are. What was inserted is not looked at again.
Source: the vendor's provisioning guide, "Macro Expansion Variables".
"""

import re
from collections.abc import Mapping

from virtualphone.identity import Identity

_MACRO = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z][A-Za-z0-9]*)"
    r"|\((?P<name>[A-Za-z][A-Za-z0-9]*)(?::(?P<start>\d{1,4}))?(?::(?P<length>\d{1,4}))?\))"
)
_GENERAL = "ABCDEFGHIJKLMNOP"
_SECRET = ("SA", "SB", "SC", "SD")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Put the values in."""

    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        found = values.get(match["plain"] or match["name"])
        if found is None:
            return match[0]
        start = int(match["start"] or 0)
        return found[start:] if match["length"] is None else found[start : start + int(match["length"])]

    return _MACRO.sub(value, text)


def of_phone(identity: Identity, parameters: Mapping[str, str]) -> dict[str, str]:
    """What a phone's macros stand for, from its own names and its general purpose parameters GPP_A to GPP_P."""
    mac = identity.mac
    return {
        **{letter: parameters.get(f"GPP_{letter}", "") for letter in _GENERAL},
        "MA": mac.lower(),
        "MAU": mac,
        "MAC": ":".join(mac[at : at + 2] for at in range(0, 12, 2)).lower(),
        "PN": identity.model,
        "PSN": identity.series,
        "SN": identity.serial,
        "SWVER": identity.firmware,
        "HWVER": identity.hardware,
        "IP": identity.address,
        "CCERT": "Not Installed",
    }


def secrets(parameters: Mapping[str, str]) -> dict[str, str]:
    """GPP_SA to GPP_SD, which phones put into `--key`, `--uid` and `--pwd` and nowhere else."""
    return {name: parameters.get(f"GPP_{name}", "") for name in _SECRET}


def of_request(url: str) -> dict[str, str]:
    """$SCHEME, $SERV, $PORT and $PATH: the parts of the request that the phone made last."""
    scheme, _, rest = url.partition("://")
    server, slash, path = rest.partition("/")
    host, port = server, ""
    if match := re.fullmatch(r"(.*):(\d+)", server):
        host, port = match[1], match[2]
    default = {"tftp": "69", "http": "80", "https": "443"}.get(scheme, "")
    return {"SCHEME": scheme, "SERV": host, "PORT": port or default, "PATH": slash + path}
