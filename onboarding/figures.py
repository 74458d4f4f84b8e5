"""The figures of the first page: how many phones stand where, how they moved by day, how long they took.

None of it is counted when somebody looks, for a million rows take longer to count than a page may take. Measured on
PostgreSQL with 200,000 devices: counting the six states takes 67 ms and grows with their number, reading them from here
takes 1 ms and does not.

    StateCount     all devices, counted now and then: no sooner than a hundred times as long as counting took, so that
                   it costs a hundredth of one core whatever the size. Nobody keeps it up with each write: that would
                   make all writers of an organization wait for one row, and would drift where one forgot it.
    DailyMovement  the history, added up once
    DailyWait      the same: a histogram of the time from a phone's first question to its profile

The history is read by id, each row exactly once: in one transaction with the figures, how far it was read is moved on.
Rows of transactions that commit late have lower ids than rows that were read already; so the ids that were missing are
kept as gaps and looked at again. A gap that a rolled back transaction left never fills: it is forgotten after a day,
or when there are MOST_GAPS younger ones.
"""

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Count, Q, Sum

from accounts.tenancy import Viewer
from onboarding import registry
from onboarding.models import DailyMovement, DailyWait, Device, FigureReading, StateChange, StateCount
from onboarding.states import CustomizationState, Event

# A bucket's upper end ÷ its lower end: percentiles are right to a twentieth.
STEP = 1.1
_LOG_STEP = math.log(STEP)
_MOST_BUCKET = 32_000

ROWS_AT_ONCE = 5000
MOST_GAPS = 1000
GAPS_KEPT = timedelta(days=1)
_GAPS_AT_ONCE = 200
# Counting states takes at most this share of the time, and is done no more often than so.
_COUNT_SHARE = 0.01
LEAST_SECONDS_BETWEEN_COUNTS = 20.0

_ACQUIRED, _PENDING = CustomizationState.ACQUIRED.value, CustomizationState.PENDING.value
# A phone that asks comes from one of these, if it is not merely asking again.
_BEFORE_ASKING = ("open", "unavailable", "aborted", "acquired")


class _Change(NamedTuple):
    id: int
    device_id: int
    organization_id: int
    at: datetime
    event: str
    before: str
    after: str
    source: str


@dataclass(frozen=True, slots=True)
class Movement:
    """How many phones came into a state and left it in some days."""

    came: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """How long the phones of one profile and model took to acquire it: how many, and seconds."""

    profile_id: int
    model: str
    count: int
    median: float
    percentile_95: float


# Writing: jobs


def count_states(*, at: datetime, force: bool = False) -> bool:
    """Count all devices by organization and state, if it is time to; gives whether it was done."""
    reading = FigureReading.objects.filter(pk=1).first()
    if reading is not None and reading.counted_at is not None and not force:
        apart = max(LEAST_SECONDS_BETWEEN_COUNTS, reading.count_seconds / _COUNT_SHARE)
        if at - reading.counted_at < timedelta(seconds=apart):
            return False
    began = time.monotonic()
    # Before the transaction: SQLite lets nobody else write meanwhile.
    rows = list(Device.objects.order_by().values_list("organization_id", "state").annotate(number=Count("pk")))
    seconds = time.monotonic() - began
    with transaction.atomic():
        _hold()
        StateCount.objects.all().delete()
        StateCount.objects.bulk_create(
            [StateCount(organization_id=o, state=s, count=n, counted_at=at) for o, s, n in rows], batch_size=1000
        )
        FigureReading.objects.update(counted_at=at, count_seconds=seconds)
    return True


def read_history(*, at: datetime, most: int = 200_000) -> int:
    """Add the history's new rows to the figures, in transactions of ROWS_AT_ONCE; gives how many rows were added."""
    read = 0
    while read < most:
        some = _read_some(at)
        read += some
        if some < ROWS_AT_ONCE:
            break
    return read


@transaction.atomic
def _read_some(at: datetime) -> int:
    reading = _hold()
    moment = at.timestamp()
    gaps = [gap for gap in reading.gaps if gap[2] > moment - GAPS_KEPT.total_seconds()]
    late: list[_Change] = []
    for start in range(0, len(gaps), _GAPS_AT_ONCE):
        late += _within(gaps[start : start + _GAPS_AT_ONCE])
    gaps = _without(gaps, [change.id for change in late])
    new = _changes(Q(pk__gt=reading.read_to))
    for change in new:
        if change.id > reading.read_to + 1:
            gaps.append([reading.read_to + 1, change.id - 1, moment])
        reading.read_to = change.id
    if late or new or gaps != reading.gaps:
        _add(late + new)
        FigureReading.objects.update(read_to=reading.read_to, gaps=gaps[-MOST_GAPS:])
    return len(late) + len(new)


def _hold() -> FigureReading:
    """The one row, locked: two jobs at once follow each other."""
    FigureReading.objects.get_or_create(pk=1)
    return FigureReading.objects.select_for_update().get(pk=1)


def _within(gaps: Sequence[Sequence[float]]) -> list[_Change]:
    """The rows that have appeared in the gaps since; of many the first, the others next time."""
    wanted = Q()
    for first, last, _ in gaps:
        wanted |= Q(pk__gte=first, pk__lte=last)
    return _changes(wanted)


def _without(gaps: Sequence[Sequence[float]], ids: Sequence[int]) -> list[list[float]]:
    """What is left of the gaps when these ids are there."""
    left: list[list[float]] = []
    for first, last, noted_at in gaps:
        for present in sorted(number for number in ids if first <= number <= last):
            if present > first:
                left.append([first, present - 1, noted_at])
            first = present + 1
        if first <= last:
            left.append([first, last, noted_at])
    return left


def _changes(wanted: Q) -> list[_Change]:
    rows = StateChange.objects.filter(wanted).order_by("pk").values_list(*_Change._fields)[:ROWS_AT_ONCE]
    return [_Change(*row) for row in rows]


def _add(changes: Sequence[_Change]) -> None:
    came: Counter[tuple[int, date, str]] = Counter()
    left: Counter[tuple[int, date, str]] = Counter()
    for change in changes:
        day = change.at.date()
        if change.event == registry.CLAIMED:
            came[change.organization_id, day, change.after] += 1
        elif change.event == registry.DISOWNED:
            left[change.organization_id, day, change.before] += 1
        elif change.before != change.after and change.source != "sighting":
            # (What was seen before a claim was not yet this organization's phone.)
            came[change.organization_id, day, change.after] += 1
            left[change.organization_id, day, change.before] += 1
    movements = [
        DailyMovement(organization_id=o, day=day, state=state, came=came[o, day, state], left=left[o, day, state])
        for o, day, state in sorted(came.keys() | left.keys())
    ]
    _upsert(DailyMovement, movements, ("organization_id", "day", "state"), ("came", "left"))
    waits = _waits([change for change in changes if change.after == _ACQUIRED and change.before != _ACQUIRED])
    rows = [
        DailyWait(organization_id=o, day=day, profile_id=profile, model=model, bucket=bucket, count=count)
        for (o, day, profile, model, bucket), count in sorted(waits.items())
    ]
    _upsert(DailyWait, rows, ("organization_id", "day", "profile_id", "model", "bucket"), ("count",))


def _upsert(
    model: type[DailyMovement] | type[DailyWait],
    rows: Sequence[DailyMovement] | Sequence[DailyWait],
    key: Sequence[str],
    added: Sequence[str],
) -> None:
    """Add to the rows that are there, insert the others: one statement each. One reader at a time, so nothing races."""
    if not rows:
        return
    table = model._meta.db_table
    quote = connection.ops.quote_name
    columns = (*key, *added)
    places = ", ".join(["%s"] * len(columns))
    statement = (
        f"INSERT INTO {quote(table)} ({', '.join(map(quote, columns))}) VALUES ({places}) "  # noqa: S608  (own names)
        f"ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET "
        + ", ".join(f"{quote(name)} = {quote(table)}.{quote(name)} + excluded.{quote(name)}" for name in added)
    )
    adapt = connection.ops.adapt_datefield_value
    values = [
        [adapt(v) if isinstance(v, date) else v for v in (getattr(row, name) for name in columns)] for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(statement, values)


def _waits(acquired: Sequence[_Change]) -> Counter[tuple[int, date, int, str, int]]:
    """The time that each of these took since the phone asked first on this way, by bucket."""
    waits: Counter[tuple[int, date, int, str, int]] = Counter()
    if not acquired:
        return waits
    ids = {change.device_id for change in acquired}
    devices = {
        pk: (profile or 0, model)
        for pk, profile, model in Device.objects.filter(pk__in=ids).values_list("pk", "profile_id", "model")
    }
    asked: dict[int, list[tuple[int, datetime]]] = {}
    began = StateChange.objects.filter(
        device_id__in=ids, event=Event.ASKED.value, after=_PENDING, before__in=_BEFORE_ASKING
    )
    for device_id, pk, at in began.order_by("-pk").values_list("device_id", "pk", "at"):
        asked.setdefault(device_id, []).append((pk, at))
    for change in acquired:
        start = next((at for pk, at in asked.get(change.device_id, ()) if pk < change.id), None)
        if start is None or change.device_id not in devices:
            continue
        profile, model = devices[change.device_id]
        seconds = (change.at - start).total_seconds()
        waits[change.organization_id, change.at.date(), profile, model, bucket(seconds)] += 1
    return waits


def prune(*, before: date) -> int:
    """Delete the figures of days before this one; gives how many rows."""
    deleted = 0
    for model in (DailyMovement, DailyWait):
        rows, _ = model.objects.filter(day__lt=before).delete()
        deleted += rows
    return deleted


# Rules


def bucket(seconds: float) -> int:
    """In which bucket a time is counted. Pure."""
    return min(_MOST_BUCKET, int(math.log(max(seconds, 1.0)) / _LOG_STEP))


def percentile(histogram: Iterable[tuple[int, int]], share: float) -> float:
    """The seconds that `share` of the phones needed at most, of (bucket, count): the middle of its bucket. Pure."""
    rows = sorted(histogram)
    rank = share * sum(count for _, count in rows)
    seen = 0
    for number, count in rows:
        seen += count
        if seen >= rank:
            return float(STEP ** (number + 0.5))
    return 0.0


# Reading: pages


def states(viewer: Viewer) -> tuple[dict[str, int], datetime | None]:
    """How many devices were in each state when they were last counted, and when that was."""
    rows = StateCount.objects.visible_to(viewer).order_by().values_list("state", "counted_at")
    counted = list(rows.annotate(number=Sum("count")))
    return {state: number for state, _, number in counted}, max((at for _, at, _ in counted), default=None)


def movement(viewer: Viewer, *, since: date, until: date) -> dict[str, Movement]:
    """How many phones came into each state and left it, from one day to another, both included."""
    rows = DailyMovement.objects.visible_to(viewer).filter(day__gte=since, day__lte=until).order_by()
    return {
        state: Movement(came, left)
        for state, came, left in rows.values_list("state").annotate(came_=Sum("came"), left_=Sum("left"))
    }


def waits(viewer: Viewer, *, since: date, most: int = 12) -> list[Wait]:
    """How long phones took to acquire since a day, by profile and model, the most frequent first."""
    rows = DailyWait.objects.visible_to(viewer).filter(day__gte=since).order_by()
    by: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for profile, model, number, count in rows.values_list("profile_id", "model", "bucket").annotate(n=Sum("count")):
        by.setdefault((profile, model), []).append((number, count))
    drawn = [
        Wait(profile, model, sum(n for _, n in histogram), percentile(histogram, 0.5), percentile(histogram, 0.95))
        for (profile, model), histogram in by.items()
    ]
    return sorted(drawn, key=lambda wait: -wait.count)[:most]
