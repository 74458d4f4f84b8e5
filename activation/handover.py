"""How a code reaches the person with the phone: printed, as CSV, by mail, or spoken by the help desk."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import segno

from activation.codes import ActivationCode
from activation.models import IssuedCode
from onboarding.identifiers import MacAddress

CSV_COLUMNS = ("id", "code", "label", "model", "mac", "serial", "profile", "email", "expires_at")

# What a spreadsheet would run instead of showing it (OWASP, CSV injection).
_FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True)
class Label:
    """One code on the print sheet, everything as text; `qr` is an SVG of the digits."""

    grouped: str
    qr: str
    label: str
    model: str
    bound_to: str
    expires: str

    @classmethod
    def of(cls, row: IssuedCode, code: ActivationCode) -> Self:
        return cls(
            grouped=code.grouped,
            qr=qr(code),
            label=row.label,
            model=row.model,
            bound_to=bound_to(row),
            expires=f"{row.expires_at:%d %B %Y, %H:%M} UTC",
        )


def bound_to(row: IssuedCode) -> str:
    """The one phone that the code works on; empty where any will do."""
    parts = [MacAddress.parse(row.mac).colons] if row.mac else []
    return ", ".join([*parts, *([f"serial {row.serial}"] if row.serial else [])])


def qr(code: ActivationCode) -> str:
    """An SVG for scanners that type: the digits and nothing else."""
    image = segno.make(code.digits, error="m", micro=False)
    return str(image.svg_inline(scale=3, border=2, omitsize=True))


def spoken(code: ActivationCode) -> str:
    """The form to read aloud, with a pause after each group: `one two three four, five six …`."""
    return ", ".join(" ".join(_WORDS[int(digit)] for digit in group) for group in code.grouped.split())


def csv_text(issued: Iterable[tuple[IssuedCode, ActivationCode]]) -> str:
    """A table of codes with digits. Groups of four keep spreadsheets from rounding sixteen digits."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_COLUMNS)
    for row, code in issued:
        cells = (row.label, row.model, row.mac, row.serial, row.profile.name, row.email)
        writer.writerow([row.pk, code.grouped, *map(_harmless, cells), f"{row.expires_at:%Y-%m-%dT%H:%M:%SZ}"])
    return out.getvalue()


def letter(row: IssuedCode, code: ActivationCode) -> tuple[str, str]:
    """Subject and text of the mail. Neither the subject nor a link holds the code."""
    whose = f" for {row.label}" if row.label else ""
    only = f"It works on this phone only: {bound_to(row)}.\n" if bound_to(row) else ""
    return (
        "Your phone's activation code",
        f"""Hello,

here is the activation code of your phone{whose}, from {row.organization.name}:

    {code.grouped}

1. Connect the phone to the network and wait until it asks for an activation code.
   A phone that was used before must be reset to factory settings first.
2. Type the 16 digits and press Continue.
3. The phone fetches its settings and restarts, perhaps more than once.

{only}The code works once, until {row.expires_at:%d %B %Y, %H:%M} UTC.
If the phone says that the code is invalid, compare the digits; after too many tries it makes you wait.
""",
    )


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA_BEGINNINGS) else cell
