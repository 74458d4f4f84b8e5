"""The activation screen: a person types 16 digits, or `#` and the digits of a short code, and the phone asks with them.

- 16 digits: one phone, once, before it expires. POST, as in the contract, section 3.
- `#` and 3 to 16 digits: the name of a provider's profile, for any number of phones. GET, answered like an EDOS query.

Without the `#` the phone expects an activation code, so a short code typed so is refused, too. The phone knows neither
how many digits are right nor their check digit: it sends what was typed, and the service decides. Whatever is wrong
with a code, the screen says the same. Sources: the seed, "Onboard Your Phone with the Activation Code" and "Enable Auto
Provisioning with Short Activation Code"; the text of the screen is the vendor's.
"""

import csv
import json
import random
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from virtualphone import edos
from virtualphone.downloads import Download
from virtualphone.identity import Identity
from virtualphone.outcomes import Failure

# What the screen says, word for word.
INVALID = "Invalid activation code"
# The vendor has published no words for these; so they are ours.
CLOSED = "Too many attempts. Try again later"
UNREACHABLE = "Activation service not available"

ACTIVATION, SHORT_CODE = "activation", "short code"
# Failure.kind of a code that the service does not take, and of one that it did not look at.
REFUSED, NOT_TRIED = "invalid activation code", "too many attempts"

# As printed on labels; a keypad has neither.
_SEPARATORS = str.maketrans("", "", " -\u00a0")
# Longer than any code: what the service makes of too many digits can be seen, too.
_KEYS = re.compile(r"#?[0-9]{1,32}")


class Untypeable(ValueError):
    """The text has keys that are not on the keypad."""


class Slip(StrEnum):
    """How a person mistypes."""

    DIGIT = "digit"
    SWAP = "swap"
    MISSING = "missing"
    EXTRA = "extra"
    POUND = "pound"


@dataclass(frozen=True, slots=True)
class Entry:
    """The keys that were pressed. `#` in front makes it a short code."""

    digits: str
    is_short: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a code as it stands on a label, grouped or not. Raises Untypeable."""
        keys = text.translate(_SEPARATORS)
        if not _KEYS.fullmatch(keys):
            raise Untypeable(f"{text!r} cannot be typed: a code is 16 digits, or '#' and 3 to 16 digits (in quotes).")
        return cls(keys.lstrip("#"), keys.startswith("#"))

    def __str__(self) -> str:
        if self.is_short:
            return f"#{self.digits}"
        return " ".join(self.digits[start : start + 4] for start in range(0, len(self.digits), 4))

    @property
    def what(self) -> str:
        """The name under which its failures are told and counted."""
        return SHORT_CODE if self.is_short else ACTIVATION

    def question(self, service: edos.Service, me: Identity) -> edos.Question:
        """The request that the phone makes of it."""
        if self.is_short:
            return edos.Question(self.what, service.short_code_url(me, self.digits))
        fields = {"code": self.digits, "mac": me.mac, "model": me.model, "serial": me.serial, "firmware": me.firmware}
        body = json.dumps({name: value for name, value in fields.items() if value})
        return edos.Question(self.what, service.activation_url, body.encode(), "application/json")

    def mistyped(self, slip: Slip, rng: random.Random) -> Self:
        """What a person types who slips once. Never the entry itself."""
        digits, at = self.digits, rng.randrange(len(self.digits))
        match slip:
            case Slip.POUND:
                return type(self)(digits, not self.is_short)
            case Slip.MISSING if len(digits) > 1:
                digits = digits[:at] + digits[at + 1 :]
            case Slip.EXTRA:
                digits = digits[:at] + digits[at] + digits[at:]
            case Slip.SWAP if places := [at for at in range(len(digits) - 1) if digits[at] != digits[at + 1]]:
                at = rng.choice(places)
                digits = digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :]
            case _:
                # A wrong digit; also where there are no two neighbours to swap, or nothing to leave out.
                wrong = rng.choice([digit for digit in "0123456789" if digit != digits[at]])
                digits = digits[:at] + wrong + digits[at + 1 :]
        return type(self)(digits, self.is_short)


def refusal(entry: Entry, download: Download) -> Failure | None:
    """The answer as the end of the attempt, with a person needed to try again; None if the phone may do so itself."""
    match download.kind:
        case "HTTP 400" | "HTTP 404":
            return Failure(entry.what, REFUSED, download.reaction, _why(entry, download), needs_person=True)
        case "HTTP 429":
            later = f"in {download.retry_after} s" if download.retry_after.isdigit() else "later"
            detail = f"HTTP 429, again {later}"
            return Failure(entry.what, NOT_TRIED, download.reaction, detail, download.retry_after, needs_person=True)
    return None


def message(failure: Failure) -> str:
    """What the screen says."""
    return {REFUSED: INVALID, NOT_TRIED: CLOSED}.get(failure.kind, UNREACHABLE)


def _why(entry: Entry, download: Download) -> str:
    """For the person at this simulator, who may have mistyped the path: a real phone does not tell."""
    if download.kind == "HTTP 404" and not entry.is_short and b"invalid_activation_code" not in download.body:
        return f"{download.kind}, not the service's own refusal: is --activation-path right?"
    return download.kind


def codes_in(text: str) -> list[Entry]:
    """The codes of a file: one a line, or CSV with a column `code`; blank lines and lines of `//` are left out.

    Raises Untypeable with the number of the line.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("//")]
    column = 0
    if lines and "code" in (names := _cells(lines[0][1].lower())):
        column = names.index("code")
        del lines[0]
    entries = []
    for number, line in lines:
        try:
            entries.append(Entry.parse((_cells(line)[column:] or [""])[0]))
        except Untypeable as error:
            raise Untypeable(f"line {number}: {error}") from error
    return entries


def _cells(line: str) -> list[str]:
    # Exports guard a cell against being read as a formula with an apostrophe or a tab in front.
    return [cell.lstrip("'\t") for cell in next(csv.reader([line]))]
