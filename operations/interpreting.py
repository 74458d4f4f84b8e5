"""Rows of cells into what devices are to be, by the rules of identifiers, targets and the registry. Reads nothing.

Each value is parsed once, here; what a row says wrongly becomes its result.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime

from onboarding import registry, targets
from onboarding.bulkregistry import Outcome, Wish, refused
from onboarding.errors import OnboardingError
from onboarding.identifiers import InvalidMacAddress, MacAddress, ModelName, SerialNumber
from onboarding.targets import Addresses

# What operations need of a sheet.
NEEDED = {"import": ("mac",), "assign": ("mac",), "release": ("mac",)}

_SCIENTIFIC = re.compile(r"[0-9]+(?:[.,][0-9]+)?E[+-]?[0-9]+", re.IGNORECASE)
_FEW_DIGITS = re.compile(r"[0-9]{6,11}(?:[.,]0+)?")
# Notations that only shipping lists have: two groups of six, and blanks between groups.
_GROUPED = re.compile(
    r"[0-9A-Fa-f]{6}[-:. _][0-9A-Fa-f]{6}"
    r"|[0-9A-Fa-f]{2}(?:[ _][0-9A-Fa-f]{2}){5}"
    r"|[0-9A-Fa-f]{4}(?:[ :-][0-9A-Fa-f]{4}){2}"
)
_NO_HEX = re.compile(r"[^0-9A-Fa-f]")
_SPREADSHEET = "Format the column as text in the spreadsheet, and fill it in anew: the digits are lost."


def mac(text: str) -> MacAddress:
    """Read a MAC as shipping lists have it. Raises InvalidMacAddress, saying so where a spreadsheet spoilt it."""
    try:
        return MacAddress.parse(text)
    except InvalidMacAddress:
        if not text:
            raise InvalidMacAddress("This row has no MAC.", field="mac") from None
        if _GROUPED.fullmatch(text):
            return MacAddress.parse(_NO_HEX.sub("", text))
        if _SCIENTIFIC.fullmatch(text):
            said = f"{text!r} is a MAC that a spreadsheet turned into a number."
            raise InvalidMacAddress(said, field="mac", remedy=_SPREADSHEET) from None
        if _FEW_DIGITS.fullmatch(text):
            said = f"{text!r} has fewer than twelve digits: a spreadsheet may have taken leading zeros away."
            raise InvalidMacAddress(said, field="mac", remedy=_SPREADSHEET) from None
        raise


class InvalidTime(OnboardingError):
    """The text is no time."""

    code = "invalid_time"
    remedy = "Write it as 2026-12-31, or 2026-12-31T18:00:00Z; without an offset it is in UTC."


@lru_cache(maxsize=4096)
def moment(text: str) -> datetime:
    """Read a day or a time of ISO 8601; UTC unless it says otherwise. Raises InvalidTime."""
    try:
        read = parse_datetime(text)
        if read is None and (day := parse_date(text)):
            read = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if read is not None:
            return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidTime(f"{text[:40]!r} is not a time.")


_model = lru_cache(maxsize=4096)(lambda text: str(ModelName.parse(text)))


class Interpreter:
    """Reads the rows of one part. `profiles` finds ids by what rows call them; `default` is for rows that name none."""

    def __init__(
        self,
        kind: str,
        columns: Sequence[str],
        *,
        profiles: Mapping[str, int],
        default: int | None,
        own: Addresses,
    ) -> None:
        self._kind = kind
        self._profiles = profiles
        self._default = default
        self._own = own
        self._targets: dict[str, str] = {}
        self._mac_place = columns.index("mac")
        read: dict[str, tuple[str, Callable[[str], Any]]] = {
            "model": ("model", _model),
            "serial": ("serial", lambda text: str(SerialNumber.parse(text)) if text else ""),
            "label": ("label", registry.checked_label),
            "target": ("target", self._target),
            "valid_from": ("valid_from", lambda text: moment(text) if text else None),
            "valid_until": ("valid_until", lambda text: moment(text) if text else None),
        }
        self._read = [
            (place, *read[column]) for place, column in enumerate(columns) if column in read and kind == "import"
        ]
        self._profile_place = columns.index("profile") if "profile" in columns and kind != "release" else None

    def mac(self, cells: Sequence[str | None]) -> MacAddress:
        """The row's MAC. Raises InvalidMacAddress."""
        return mac(cells[self._mac_place] or "")

    def given_mac(self, cells: Sequence[str | None]) -> str:
        """What a row has where its MAC should be."""
        return (cells[self._mac_place] or "")[:64]

    def wish(self, address: MacAddress, cells: Sequence[str | None]) -> Wish | Outcome:
        """What the row wants the device to be, or the outcome that says what is wrong with it."""
        columns: dict[str, object] = {}
        try:
            for place, name, parse in self._read:
                text = cells[place]
                # A device never is without a model, so an empty cell says nothing.
                if text is not None and (text or name != "model"):
                    columns[name] = parse(text)
        except OnboardingError as error:
            return refused(error)
        if self._kind != "release":
            said = cells[self._profile_place] if self._profile_place is not None else None
            if said:
                found = self._profiles.get(said)
                if found is None:
                    return refused(
                        registry.ProfileNotYours(
                            f"There is no profile {said[:80]!r}.",
                            remedy="Give the name or id of one of your own profiles.",
                        )
                    )
                columns["profile_id"] = found
            elif self._default is not None:
                columns["profile_id"] = self._default
            elif self._kind == "assign":
                return Outcome("failed", "unknown_profile", "This row names no profile.")
            elif said is not None:
                columns["profile_id"] = None
        return Wish(str(address), columns)

    def _target(self, text: str) -> str:
        if not text:
            return ""
        if text not in self._targets:
            if len(self._targets) > 10_000:
                self._targets.clear()
            self._targets[text] = targets.parse(text, own=self._own).text
        return self._targets[text]
