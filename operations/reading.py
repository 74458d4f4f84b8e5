"""Files of rows, as vendors send them and spreadsheets save them, into rows of cells. Pure, and bounded in memory.

    octets   UTF-8 with or without BOM, UTF-16 with BOM; anything else is refused, with what to do about it
    lines    ended by LF, CR LF or CR; at most MAX_LINE characters each
    cells    divided by comma, semicolon, tab or bar, quoted or not: whichever way the headings are best understood
    heading  the first of the first rows that names a MAC column; rows above it (a title, `sep=;`) are passed over
    rows     numbered as a spreadsheet numbers them: the first row of the file is 1; empty ones are passed over

Of each cell a spreadsheet's habits are taken off: blanks around it, also those that do not break, an apostrophe in
front, and `="…"`.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from onboarding.errors import OnboardingError
from operations.headings import COLUMNS, Recognized, recognize

MAX_OCTETS = 128 * 1024 * 1024
MAX_ROWS = 1_000_000
# Characters. Longer cells than a target may be are nothing that a device has.
MAX_LINE, MAX_CELL = 32_768, 1_100
# A label with line breaks in it may take some lines; a quote that never closes takes all.
_MOST_LINES_A_ROW = 50
_MOST_CELLS = 500
# Titles, addresses and order numbers stand above the headings of some lists.
_HEADING_WITHIN_ROWS = 15
_DELIMITERS = ",;\t|"

_MEANT = "Save the sheet as “CSV UTF-8” and send that file."

# BOM → encoding. UTF-32's little-endian BOM begins with UTF-16's.
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\x00\x00", ""), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_NO_TEXT = {
    b"PK\x03\x04": "This is an Excel workbook (or another ZIP file), not CSV.",
    b"\xd0\xcf\x11\xe0": "This is an old Excel workbook, not CSV.",
    b"%PDF": "This is a PDF document, not CSV.",
    b"\x1f\x8b": "This is a compressed file, not CSV.",
}


class UnreadableSheet(OnboardingError):
    """The file or the list cannot be read as rows."""

    code = "invalid_sheet"
    remedy = _MEANT


class SheetTooLarge(OnboardingError):
    """More rows or octets than one sheet may have."""

    code = "sheet_too_large"
    remedy = f"Divide it: at most {MAX_ROWS:,} rows and {MAX_OCTETS // 1024 // 1024} MiB at once."


class Stream(Protocol):
    """What is read from."""

    def read(self, size: int, /) -> bytes: ...


class Row(NamedTuple):
    """A row: its number in the file, its cells in the order of the sheet's columns, and what makes it unreadable.

    A cell is None where the row says nothing of it.
    """

    number: int
    cells: Sequence[str | None]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """The columns of a sheet, as ours and as headed, the headings that mean nothing here, and the rows."""

    columns: dict[str, str]
    ignored: list[str]
    rows: Iterator[Row]


class _Octets(io.RawIOBase):
    """The stream, bounded, for Python's own decoder."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = MAX_OCTETS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        octets = self._stream.read(min(len(buffer), self._left + 1))
        if len(octets) > self._left:
            raise SheetTooLarge(f"The file is longer than {MAX_OCTETS // 1024 // 1024} MiB.")
        self._left -= len(octets)
        buffer[: len(octets)] = octets
        return len(octets)


def read_csv(stream: Stream) -> Rows:
    """Read a file. Raises UnreadableSheet and SheetTooLarge, at once or while rows are taken."""
    buffered = io.BufferedReader(_Octets(stream), 256 * 1024)
    text = io.TextIOWrapper(buffered, encoding=_encoding(buffered), errors="strict", newline="")
    lines = _Lines(text)
    first = lines.look(_HEADING_WITHIN_ROWS * 2)
    if not first:
        raise UnreadableSheet("The file is empty.", remedy="Send a file with headings and rows.")
    delimiter, above, recognized, width = _layout(first)
    return Rows(recognized.headed, recognized.ignored, _rows(lines, delimiter, above, recognized, width))


def _encoding(buffered: "io.BufferedReader[_Octets]") -> str:
    begin = bytes(buffered.peek(8)[:512])
    for sign, what in _NO_TEXT.items():
        if begin.startswith(sign):
            raise UnreadableSheet(what)
    for bom, encoding in _BOMS:
        if begin.startswith(bom):
            if not encoding:
                raise UnreadableSheet("The file is in UTF-32.")
            return encoding
    if b"\0" in begin:
        raise UnreadableSheet("The file holds NUL octets; it may be UTF-16 without its mark.")
    return "utf-8"


class _Lines:
    """Lines of the text, each bounded, and how many were taken since the last row."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._ahead: list[str] = []
        self._number = 0
        self.of_this_row = 0

    def look(self, most: int) -> list[str]:
        """The first lines, which will be given again."""
        while len(self._ahead) < most and (line := self._read()):
            self._ahead.append(line)
        ahead = list(self._ahead)
        self._ahead.reverse()
        return ahead

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._ahead.pop() if self._ahead else self._read()
        if not line:
            raise StopIteration
        self.of_this_row += 1
        if self.of_this_row > _MOST_LINES_A_ROW:
            raise UnreadableSheet(
                f"A quote that opens about line {self._number - self.of_this_row} does not close.",
                remedy="Close it, or double it where it is part of the text.",
            )
        return line

    def _read(self) -> str:
        try:
            line = self._text.readline(MAX_LINE + 1)
        except UnicodeError as error:
            raise UnreadableSheet(
                f"After line {self._number} the file holds octets that are not {self._text.encoding.upper()}; "
                "it may be in Windows-1252 or another encoding of one country."
            ) from error
        self._number += 1
        if len(line) > MAX_LINE:
            raise UnreadableSheet(f"Line {self._number} is longer than {MAX_LINE:,} characters.")
        return line


def _layout(first: Sequence[str]) -> tuple[str, int, Recognized, int]:
    """The delimiter, how many rows lead up to and with the headings, the columns, and the number of headings."""
    best: tuple[int, int, str, int, Recognized, int] | None = None
    likely: list[str] = []
    for preference, delimiter in enumerate(_DELIMITERS):
        for place, cells in enumerate(_try(first, delimiter)[:_HEADING_WITHIN_ROWS]):
            recognized = recognize([_cleaned(cell) for cell in cells])
            if "mac" in recognized.places:
                found = (len(recognized.places), -preference, delimiter, place + 1, recognized, len(cells))
                best = max(best, found, key=lambda one: one[:2]) if best else found
                break
            likely = max(likely, [cell for cell in cells if cell.strip()], key=len)
    if best is None:
        seen = ", ".join(repr(cell.strip()[:40]) for cell in likely[:8]) or "nothing"
        raise UnreadableSheet(
            f"No heading in the first rows names a MAC column; found {seen}.",
            remedy="Put headings in the first row, one of them “MAC”. docs/imports.md lists those that are known.",
        )
    return best[2], best[3], best[4], best[5]


def _try(lines: Iterable[str], delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    # What cannot be divided like this is seen again when the rows are read.
    with suppress(csv.Error):
        rows.extend(csv.reader(iter(lines), delimiter=delimiter))
    return rows


def _rows(lines: _Lines, delimiter: str, above: int, recognized: Recognized, width: int) -> Iterator[Row]:
    places = [recognized.places[column] for column in COLUMNS if column in recognized.places]
    reader = csv.reader(lines, delimiter=delimiter)
    number = total = 0
    while True:
        lines.of_this_row = 0
        number += 1
        try:
            raw = next(reader, None)
        except csv.Error as error:
            raise UnreadableSheet(f"Row {number} cannot be read: {error}.") from error
        if raw is None:
            return
        if number <= above or not any(raw):
            continue
        cells = [_cleaned(raw[place]) if place < len(raw) else "" for place in places]
        if not any(cells) and not any(_cleaned(cell) for cell in raw):
            continue
        total += 1
        if total > MAX_ROWS:
            raise SheetTooLarge(f"The file has more than {MAX_ROWS:,} rows.")
        problem = ""
        if len(raw) > width and any(_cleaned(cell) for cell in raw[width:]):
            problem = (
                f"This row has {len(raw)} cells and the headings are {width}; quote cells that hold {delimiter!r}."
            )
        elif any(len(cell) > MAX_CELL or "\0" in cell for cell in cells):
            problem = _UNUSABLE
            cells = [cell[:64].replace("\0", "") for cell in cells]
        yield Row(number, cells, problem)


_UNUSABLE = f"A cell has more than {MAX_CELL:,} characters, or a NUL."

# Blanks that spreadsheets and web pages leave, beside Python's own; the BOM is one where files were put together.
_BLANKS = "\u200b\u200c\u200d\u2060\ufeff"
_FORMULA = re.compile(r'="(.*)"', re.DOTALL)


def _cleaned(cell: str) -> str:
    if cell.isalnum() and cell.isascii():
        return cell
    text = cell.replace("\xa0", " ").strip().strip(_BLANKS).strip()
    if found := _FORMULA.fullmatch(text):
        text = found[1].replace('""', '"').strip()
    return text[1:].lstrip() if text.startswith("'") else text


def read_rows(rows: Sequence[object]) -> Rows:
    """Read rows given as objects (JSON): names as in contract 4.1 or any known heading. Raises as `read_csv` does."""
    if len(rows) > MAX_ROWS:
        raise SheetTooLarge(f"These are more than {MAX_ROWS:,} rows.")
    headings: dict[str, None] = {}
    for row in rows:
        if isinstance(row, dict):
            headings |= dict.fromkeys(row)
            if len(headings) > _MOST_CELLS:
                raise UnreadableSheet(f"The rows have more than {_MOST_CELLS} different names.", remedy="Name fewer.")
    names = list(headings)
    recognized = recognize(names)
    keys = [(column, names[recognized.places[column]]) for column in COLUMNS if column in recognized.places]
    return Rows(
        recognized.headed, recognized.ignored, (_object_row(number, row, keys) for number, row in enumerate(rows, 1))
    )


def _object_row(number: int, row: object, keys: Sequence[tuple[str, str]]) -> Row:
    if not isinstance(row, dict):
        return Row(number, [None] * len(keys), "A row is an object with names and texts.")
    cells: list[str | None] = []
    problem = ""
    for column, key in keys:
        if key not in row:
            cells.append(None)
            continue
        value = row[key]
        if value is None:
            value = ""
        elif column == "profile" and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or len(value) > MAX_CELL or "\0" in value:
            problem = problem or f"{column} is not a text of at most {MAX_CELL:,} characters."
            value = ""
        cells.append(_cleaned(value))
    return Row(number, cells, problem)
