"""Who the phone is: what the factory burned in (MAC, model, serial) and the firmware it runs.

Source: the seed, "HTTP Provisioning" (User-Agent) and "Remote Customization" (the query names MAC and model).
"""

import re
from dataclasses import dataclass
from typing import Self

from virtualphone import versions

_SEPARATORS = str.maketrans("", "", ":-.")
_MAC = re.compile(r"[0-9A-Fa-f]{12}")
# What may stand between the colons of an `id`, and inside a User-Agent, without being mistaken for something else.
_WORD = re.compile(r"[A-Za-z0-9._+-]{1,64}")


class InvalidIdentity(ValueError):
    """No phone has such a MAC address, model, serial or firmware."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A phone's own names. The MAC is kept as twelve upper-case hexadecimal digits."""

    mac: str
    model: str
    serial: str = ""
    firmware: str = ""
    hardware: str = "2.0.1"
    address: str = "127.0.0.1"

    @classmethod
    def parse(cls, mac: str, model: str, serial: str = "", firmware: str = "") -> Self:
        """Read what a person typed. Raises InvalidIdentity.

        Without a firmware the phone runs 11.3(2) of its series, the first release with all of the documented ways
        to be provisioned.
        """
        digits = normal_mac(mac)
        if not _WORD.fullmatch(model):
            raise InvalidIdentity(f"{model!r} is not a model; it is printed on the phone, as CP-8841-3PCC.")
        firmware = firmware or f"sip{_series(model)}.11-3-2MPP0001-609"
        for name, value in (("serial", serial), ("firmware", firmware)):
            if value and not _WORD.fullmatch(value):
                raise InvalidIdentity(f"{value!r} is not a {name}: letters and digits are meant.")
        return cls(digits, model, serial, firmware)

    @property
    def user_agent(self) -> str:
        """`Cisco-CP-8841-3PCC/11.3.2 (00562b043615)`.

        The seed calls the value in parentheses a serial number; its own example and the default macro are the MAC.
        """
        version = versions.Version.find(self.firmware)
        return f"Cisco-{self.model}/{version.release if version else self.firmware} ({self.mac.lower()})"

    @property
    def triple(self) -> str:
        """`MAC:SERIAL:MODEL`, as the EDOS query and the reports name the phone; a missing serial is left out."""
        return ":".join(part for part in (self.mac, self.serial, self.model) if part)

    @property
    def series(self) -> str:
        """$PSN: the model without its maker, `8841-3PCC`."""
        return self.model.removeprefix("CP-")


def normal_mac(text: str) -> str:
    """Twelve upper-case hexadecimal digits from any usual notation. Raises InvalidIdentity."""
    digits = text.translate(_SEPARATORS)
    if not _MAC.fullmatch(digits):
        raise InvalidIdentity(f"{text!r} is not a MAC address; type it as 00562B043615 or 00:56:2b:04:36:15.")
    return digits.upper()


def _series(model: str) -> str:
    """The family that the firmware file is named after: `88xx` for a CP-8841-3PCC."""
    digits = re.search(r"\d{2}(?=\d{2})", model)
    return f"{digits[0]}xx" if digits else "xxxx"
