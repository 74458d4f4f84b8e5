"""The names of phones (MacAddress, SerialNumber, ModelName) and of profiles (ShortCode).

Parse once at the edge, then trust the value.

Each type has one parser, `parse(text)`, one printed form, `str(value)`, and one error. `parse(str(x)) == x` holds.
"""

import re
from dataclasses import dataclass
from typing import Self

from onboarding.errors import OnboardingError

# Longest input that a parser looks at: hostile input is refused before any work is done on it.
MAX_TEXT_LENGTH = 64


class InvalidMacAddress(OnboardingError):
    """The text is not a MAC address of a phone."""

    code = "invalid_mac"
    remedy = "Type the twelve hexadecimal digits printed on the phone, as 00562B043615 or 00:56:2b:04:36:15."


class InvalidSerialNumber(OnboardingError):
    """The text is not a serial number."""

    code = "invalid_serial"
    remedy = "Type the serial number as printed on the phone: 5 to 32 letters and digits."


class InvalidModelName(OnboardingError):
    """The text is not a model name."""

    code = "invalid_model"
    remedy = "Type the product name as printed on the phone, as CP-8841-3PCC."


class InvalidShortCode(OnboardingError):
    """The text is not a short code."""

    code = "invalid_short_code"
    remedy = "Give 3 to 16 digits, as 123456. On the phone they are typed after a #."


_MAC_NOTATIONS = re.compile(
    r"[0-9A-Fa-f]{12}"
    r"|[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}"
    r"|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}"
    r"|[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2}"
)
_SEPARATORS = str.maketrans("", "", ":-.")


@dataclass(frozen=True, slots=True, order=True)
class MacAddress:
    """A phone's own hardware address, kept as a 48-bit number; printed as twelve upper-case hexadecimal digits."""

    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read any usual notation in any case. Raises InvalidMacAddress.

        Group addresses and all zeros are refused: no phone has them (IEEE 802: the lowest bit of the first octet
        marks a group).
        """
        if len(text) > MAX_TEXT_LENGTH or not _MAC_NOTATIONS.fullmatch(text):
            shown = text[:MAX_TEXT_LENGTH]
            raise InvalidMacAddress(f"{shown!r} is not a MAC address.", field="mac")
        number = int(text.translate(_SEPARATORS), 16)
        if number == 0 or number >> 40 & 1:
            raise InvalidMacAddress(f"{text!r} is a group or null address, which no phone has.", field="mac")
        return cls(number)

    @classmethod
    def from_bytes(cls, octets: bytes) -> Self:
        """Rebuild from the six octets of `bytes(mac)`."""
        return cls(int.from_bytes(octets, "big"))

    def __bytes__(self) -> bytes:
        return self.number.to_bytes(6, "big")

    def __str__(self) -> str:
        # The old way of formatting is twice as fast, and the door prints one for every query.
        return "%012X" % self.number  # noqa: UP031

    @property
    def colons(self) -> str:
        """The form for people: `00:56:2B:04:36:15`."""
        digits = str(self)
        return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


# Matched before it is upper-cased: letters outside ASCII ("ſ", "ß") can become ASCII ones by that.
_SERIAL = re.compile(r"[0-9A-Za-z]{5,32}")


@dataclass(frozen=True, slots=True)
class SerialNumber:
    """A manufacturer's serial number, as `FCH2133E8B9` or `88012BA01234`; upper case."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a serial number in any case. Raises InvalidSerialNumber."""
        if len(text) > MAX_TEXT_LENGTH or not _SERIAL.fullmatch(text):
            raise InvalidSerialNumber(
                f"{text[:MAX_TEXT_LENGTH]!r} is not a serial number: 5 to 32 letters and digits.", field="serial"
            )
        return cls(text.upper())

    def __str__(self) -> str:
        return self.text


_MODEL = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+/-]{0,38}[0-9A-Za-z+]")


@dataclass(frozen=True, slots=True)
class ModelName:
    """A product name as the phone's macro `$PN` gives it, as `CP-8841-3PCC`; upper case, 2 to 40 characters."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a model name in any case. Raises InvalidModelName."""
        if len(text) > MAX_TEXT_LENGTH or not _MODEL.fullmatch(text):
            raise InvalidModelName(
                f"{text[:MAX_TEXT_LENGTH]!r} is not a model name: 2 to 40 of letters, digits and . _ + / -.",
                field="model",
            )
        return cls(text.upper())

    def __str__(self) -> str:
        return self.text


_SHORT_CODE = re.compile(r"[0-9]{3,16}")


@dataclass(frozen=True, slots=True, order=True)
class ShortCode:
    """The name under which a profile can be had from a phone: `#` and 3 to 16 digits; leading zeros count.

    A 16-digit one is no activation code: the `#` tells them apart.
    """

    digits: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a phone sends, as `#123456`. Raises InvalidShortCode, also where the `#` is missing."""
        if not text.startswith("#"):
            raise InvalidShortCode(f"{text[:MAX_TEXT_LENGTH]!r} does not begin with #.", field="code")
        return cls.from_digits(text[1:])

    @classmethod
    def from_digits(cls, text: str) -> Self:
        """Read the digits alone, as `123456`. Raises InvalidShortCode."""
        if len(text) > MAX_TEXT_LENGTH or not _SHORT_CODE.fullmatch(text):
            raise InvalidShortCode(f"{text[:MAX_TEXT_LENGTH]!r} is not 3 to 16 digits.", field="code")
        return cls(text)

    def __str__(self) -> str:
        return f"#{self.digits}"
