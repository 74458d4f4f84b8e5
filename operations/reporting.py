"""What became of the rows, and how far an operation is."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from operations import packing
from operations.models import Operation, OperationPart

STATUSES = ("created", "changed", "unchanged", "released", "failed")

_HEADINGS = ("row", "mac", "status", "code", "detail")
# What spreadsheets take for the beginning of a formula (OWASP, CSV injection).
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")


class Result(NamedTuple):
    """What became of one row."""

    row: int
    mac: str
    status: str
    code: str
    detail: str


class Progress(NamedTuple):
    """How far it is (0 to 1), and the seconds that the rest may take; None where nothing can be said."""

    share: float
    seconds_left: int | None


def progress(operation: Operation, *, at: datetime) -> Progress:
    """How far the operation is, estimated by its pace so far."""
    if operation.is_over:
        return Progress(1.0 if operation.status in ("done", "reverted") else _share(operation), None)
    if operation.started_at is None or not operation.processed:
        return Progress(0.0, None)
    elapsed = (at - operation.started_at).total_seconds()
    left = elapsed / operation.processed * (operation.total - operation.processed)
    return Progress(_share(operation), max(1, round(left)) if elapsed > 0 else None)


def _share(operation: Operation) -> float:
    return min(1.0, operation.processed / operation.total) if operation.total else 0.0


def results(operation: Operation, *, after: int = 0, most: int = 100, status: str = "") -> list[Result]:
    """Results of the rows after the row `after`, in input order; with `status` only those. Costs what it shows."""
    found: list[Result] = []
    parts = OperationPart.objects.filter(operation=operation, last_row__gt=after).order_by("last_row")
    if status:
        parts = parts.filter(**{f"{status}__gt": 0})
    for part in parts.iterator(chunk_size=1):
        for row in packing.unpack(part.content):
            if row[0] > after and (not status or row[2] == status):
                found.append(Result(*row[:5]))
                if len(found) == most:
                    return found
    return found


def results_csv(operation: Operation, *, status: str = "") -> Iterator[bytes]:
    """All results as CSV in UTF-8 with BOM, part by part; no cell is a formula to a spreadsheet."""
    yield b"\xef\xbb\xbf" + _lines([_HEADINGS])
    parts = OperationPart.objects.filter(operation=operation).order_by("last_row")
    if status:
        parts = parts.filter(**{f"{status}__gt": 0})
    for part in parts.iterator(chunk_size=1):
        yield _lines(
            [
                (row[0], *map(_harmless, row[1:5]))
                for row in packing.unpack(part.content)
                if not status or row[2] == status
            ]
        )


def _lines(rows: list[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_SIGNS) else text
