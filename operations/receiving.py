"""Rows handed in: kept in the database, in parts, as they are read; a failure on the way leaves nothing behind.

Any worker machine can go on with them from there. Nothing is held in memory but one part.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from django.db.models import Sum

from accounts.models import Organization
from onboarding.errors import OnboardingError
from operations import packing, reading
from operations.headings import COLUMNS
from operations.interpreting import mac
from operations.models import Operation, Sheet, SheetPart
from operations.reading import Row, Rows, Stream

# A transaction of a worker does one part: a fraction of a second of work.
ROWS_A_PART = 2000

# Being received at the same moment, and waiting or running; of one organization.
_MOST_AT_ONCE = 3
MOST_UNFINISHED = 20
# What one organization may have lying here until it is pruned.
_MOST_ROWS_KEPT = 20_000_000
# A sheet that is still being received after this was given up by who sent it.
ABANDONED_AFTER = timedelta(hours=1)


class TooManyOperations(OnboardingError):
    """The organization has as many sheets and operations under way as it may have."""

    code = "too_many_operations"
    remedy = "Wait until some of them are done, or cancel them."


class SampleRow(NamedTuple):
    """A row as it was understood: its values by column, and what is wrong with its MAC or the row as a whole."""

    row: int
    values: dict[str, str]
    problem: str


def receive_csv(*, organization: Organization, stream: Stream, file_name: str = "", at: datetime) -> Sheet:
    """Take a file in. Raises UnreadableSheet, SheetTooLarge, TooManyOperations."""
    check_room(organization, at=at)
    return _receive(organization, reading.read_csv(stream), file_name, at=at)


def receive_rows(*, organization: Organization, rows: Sequence[object], at: datetime) -> Sheet:
    """Take rows in that are given as objects. Raises as `receive_csv` does."""
    check_room(organization, at=at)
    return _receive(organization, reading.read_rows(rows), "", at=at)


def check_room(organization: Organization, *, at: datetime) -> None:
    """Raises TooManyOperations where the organization may have no further sheet."""
    sheets = Sheet.objects.filter(organization=organization)
    if sheets.filter(received_at=None, begun_at__gt=at - ABANDONED_AFTER).count() >= _MOST_AT_ONCE:
        raise TooManyOperations(f"{_MOST_AT_ONCE} files are being received already.")
    check_unfinished(organization)
    if (sheets.aggregate(rows=Sum("total"))["rows"] or 0) >= _MOST_ROWS_KEPT:
        raise TooManyOperations(
            f"More than {_MOST_ROWS_KEPT:,} rows of earlier operations are kept.",
            remedy="Wait until the oldest of them are deleted.",
        )


def check_unfinished(organization: Organization) -> None:
    """Raises TooManyOperations where so many wait already."""
    unfinished = Operation.objects.filter(organization=organization, finished_at=None)
    if unfinished.count() >= MOST_UNFINISHED:
        raise TooManyOperations(f"{MOST_UNFINISHED} operations are waiting or running.")


def _receive(organization: Organization, read: Rows, file_name: str, *, at: datetime) -> Sheet:
    sheet: Sheet = Sheet.objects.create(
        organization=organization,
        file_name=_printable(file_name),
        begun_at=at,
        columns={column: _printable(heading) for column, heading in read.columns.items()},
        ignored=[_printable(heading) for heading in read.ignored[:100]],
    )
    try:
        total = _keep(sheet, read)
        if not total:
            raise reading.UnreadableSheet("There are no rows in it.", remedy="Send at least one row.")
    except BaseException:
        discard(sheet)
        raise
    Sheet.objects.filter(pk=sheet.pk).update(total=total, received_at=at)
    sheet.total, sheet.received_at = total, at
    return sheet


def _keep(sheet: Sheet, read: Rows) -> int:
    total = 0
    for number in range(reading.MAX_ROWS):
        rows = list(islice(read.rows, ROWS_A_PART))
        if not rows:
            break
        content = packing.pack([_stored(row) for row in rows])
        SheetPart.objects.create(sheet=sheet, number=number, rows=len(rows), content=content)
        total += len(rows)
    return total


def _stored(row: Row) -> list[object]:
    return [row.number, row.cells, row.problem] if row.problem else [row.number, row.cells]


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200]


def rows_of(part: SheetPart) -> list[Row]:
    """The rows of a part."""
    return [Row(*stored) for stored in packing.unpack(part.content)]


def sample(sheet: Sheet, most: int = 20) -> list[SampleRow]:
    """The first rows, for people to see whether they were understood."""
    part = SheetPart.objects.filter(sheet=sheet, number=0).first()
    # In the order in which cells are kept; a database may give a JSON object's names in another.
    columns = column_order(sheet)
    return [_shown(row, columns) for row in (rows_of(part)[:most] if part else [])]


def column_order(sheet: Sheet) -> list[str]:
    """Our columns of the sheet, in the order of each row's cells."""
    return [column for column in COLUMNS if column in sheet.columns]


def _shown(row: Row, columns: Sequence[str]) -> SampleRow:
    values = {column: cell for column, cell in zip(columns, row.cells, strict=False) if cell is not None}
    problem = row.problem
    if not problem:
        try:
            mac(values.get("mac", ""))
        except OnboardingError as error:
            problem = error.detail
    return SampleRow(row.number, values, problem)


def discard(sheet: Sheet) -> None:
    """Forget a sheet that no operation uses."""
    SheetPart.objects.filter(sheet=sheet).delete()
    Sheet.objects.filter(pk=sheet.pk).delete()
