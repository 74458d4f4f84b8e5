"""The sequencer: rows of the history become events with positions, and deliveries to the webhooks that want them.

The history's ids come from a sequence and are committed late, in any order. So the sequencer keeps, beside the highest
id it has read, the ranges of lower ids that were not there yet. Whoever may still bring them held a write lock on the
history's table when the gap was seen (the lock is taken before an id is; a transaction's own number may come later than
its first id, so numbers would not do). When the last of those transactions is gone and the range has been read once
more, the gap is dropped: its transaction rolled back. Nobody waits for anything: later ids become events meanwhile, and
what comes late gets a later position. Rows of one device are always in their order, since each is written under the
device's lock.

Everything is one transaction: events, deliveries and how far was read. Killed anywhere, it has done all or nothing. On
SQLite there is one writer at a time, and nothing comes late.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import QuerySet

from events import kinds
from events.kinds import Change, Happening
from events.models import Event, Sequencer, WebhookDelivery, WebhookEndpoint
from onboarding.models import Device, StateChange

# Rows of the history that one transaction reads.
BATCH = 1000
# Ranges that are waited for, at most: beyond, nothing new is read until some are settled.
MOST_GAPS = 5000
# Deliveries that wait for one endpoint, at most: further events wait in the feed.
MOST_QUEUED = 5000

_FIELDS = (
    "id", "device_id", "organization_id", "mac", "at", "event", "before", "after", "inferred", "refused", "source",
    "evidence",
)  # fmt: skip

# Transactions that may have taken ids of the history. Whoever else holds such a lock is waited for in vain, no more.
_WRITERS = """
    SELECT DISTINCT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'onboarding_statechange'::regclass
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND pid IS DISTINCT FROM pg_backend_pid() AND granted
"""
_IN_GAPS = """
    SELECT change.id FROM unnest(%s::bigint[], %s::bigint[]) AS gap(first, last)
    CROSS JOIN LATERAL (
        SELECT id FROM onboarding_statechange WHERE id BETWEEN gap.first AND gap.last ORDER BY id LIMIT %s
    ) AS change ORDER BY change.id LIMIT %s
"""
_COPY_EVENTS = "COPY events_event (position, organization_id, type, at, recorded_at, data) FROM STDIN"


@dataclass(slots=True)
class _Gap:
    """Ids from `first` to `last` that nobody has seen, and the transactions that may still bring them."""

    first: int
    last: int
    writers: frozenset[str]


def run(*, at: datetime, batches: int = 20) -> int:
    """Read the history on, a bounded number of transactions; gives how many events were made."""
    made = 0
    for _ in range(batches):
        read, events = sequence(at=at)
        made += events
        if read < BATCH:
            break
    return made


@transaction.atomic
def sequence(*, at: datetime, limit: int = BATCH) -> tuple[int, int]:
    """One transaction: rows read, events made. Does nothing while another sequencer is at it."""
    place = _locked()
    if place is None:
        return 0, 0
    before = (place.read_to, place.gaps, place.position)
    changes = _read(place, limit)
    made = [happening for change, device in _described(changes) for happening in kinds.happenings(change, device)]
    first = place.position + 1
    if made:
        _insert(made, first, at)
        _queue(made, first, at=at)
        place.position += len(made)
    _refill(place, at=at)
    if (place.read_to, place.gaps, place.position) != before:
        place.save(update_fields=["read_to", "gaps", "position"])
    return len(changes), len(made)


def _locked() -> Sequencer | None:
    Sequencer.objects.get_or_create(pk=1)
    return Sequencer.objects.select_for_update(skip_locked=True).filter(pk=1).first()


# Reading


def _read(place: Sequencer, limit: int) -> list[Change]:
    """The next rows: late ones first, then on from where reading had got. Moves `place` on."""
    gaps = [_Gap(first, last, frozenset(writers)) for first, last, writers in place.gaps]
    late: list[int] = []
    if gaps:
        # Before the look at the rows: who is gone by now has left whatever it brought.
        writers = _writers()
        for gap in gaps:
            gap.writers &= writers
        late = _in_gaps(gaps, limit)
        gaps = _left(gaps, late, complete=len(late) < limit)
    # No further than gaps can be remembered.
    room = min(limit - len(late), MOST_GAPS - len(gaps))
    new = _rows(StateChange.objects.filter(pk__gt=place.read_to).order_by("pk")[:room]) if room > 0 else []
    found = _missing(place.read_to, [change.id for change in new])
    if found and connection.vendor == "postgresql":
        # After the look at the rows: whoever took one of these ids holds its lock still, or has committed since.
        writers = _writers()
        gaps += [_Gap(first, last, writers) for first, last in found]
    if new:
        place.read_to = new[-1].id
    place.gaps = [[gap.first, gap.last, sorted(gap.writers)] for gap in gaps]
    return [*(_rows(StateChange.objects.filter(pk__in=late).order_by("pk")) if late else ()), *new]


def _rows(changes: "QuerySet[StateChange]") -> list[Change]:
    return [Change(*row) for row in changes.values_list(*_FIELDS)]


def _writers() -> frozenset[str]:
    with connection.cursor() as cursor:
        cursor.execute(_WRITERS)
        return frozenset(row[0] for row in cursor.fetchall())


def _in_gaps(gaps: Sequence[_Gap], limit: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(_IN_GAPS, [[gap.first for gap in gaps], [gap.last for gap in gaps], limit, limit])
        return [row[0] for row in cursor.fetchall()]


def _missing(read_to: int, ids: Sequence[int]) -> list[tuple[int, int]]:
    """The ranges below the highest of `ids` that are not among them."""
    ranges, expected = [], read_to + 1
    for number in ids:
        if number > expected:
            ranges.append((expected, number - 1))
        expected = number + 1
    return ranges


def _left(gaps: Iterable[_Gap], late: Sequence[int], *, complete: bool) -> list[_Gap]:
    """What is still missing after `late` ids came. Unless all were read, nothing above the highest is given up."""
    left = []
    read_to = None if complete else late[-1]
    numbers = iter(late)
    number = next(numbers, None)
    for gap in gaps:
        first = gap.first
        pieces = []
        while number is not None and number <= gap.last:
            if number > first:
                pieces.append((first, number - 1))
            first = number + 1
            number = next(numbers, None)
        if first <= gap.last:
            pieces.append((first, gap.last))
        for piece_first, piece_last in pieces:
            settled = read_to is None or piece_last < read_to
            if gap.writers or not settled:
                left.append(_Gap(piece_first, piece_last, gap.writers))
    return left


def _described(changes: Sequence[Change]) -> list[tuple[Change, dict[str, Any]]]:
    """Each row with its device's model and profile, as they are now; without them once it was released."""
    devices = {
        pk: {"model": model, "profile": profile}
        for pk, model, profile in Device.objects.filter(
            pk__in={change.device_id for change in changes}
        ).values_list("pk", "model", "profile_id")
    }  # fmt: skip
    return [(change, devices.get(change.device_id, {})) for change in changes]


# Writing


def _insert(made: Sequence[Happening], first: int, at: datetime) -> None:
    rows = [
        (position, one.organization_id, one.type, one.at, at, orjson.dumps(one.data).decode())
        for position, one in enumerate(made, first)
    ]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            lines = (
                f"{position}\t{organization}\t{type_}\t{happened.isoformat()}\t{recorded.isoformat()}\t"
                + data.replace("\\", "\\\\")
                + "\n"
                for position, organization, type_, happened, recorded, data in rows
            )
            cursor.cursor.copy_expert(_COPY_EVENTS, io.StringIO("".join(lines)))
        else:
            adapt = connection.ops.adapt_datetimefield_value
            cursor.executemany(
                "INSERT INTO events_event (position, organization_id, type, at, recorded_at, data) "
                "VALUES (%s, %s, %s, %s, %s, %s)",
                [(*row[:3], adapt(row[3]), adapt(row[4]), row[5]) for row in rows],
            )


def _queue(made: Sequence[Happening], first: int, *, at: datetime) -> None:
    """A delivery to each endpoint that wants an event; endpoints with too many waiting are left behind."""
    endpoints = WebhookEndpoint.objects.filter(
        enabled=True, queued_to=None, organization_id__in={one.organization_id for one in made}
    )
    # Locked: one that is switched off at this moment gets nothing any more.
    endpoints = endpoints.select_for_update(no_key=True).order_by("pk")
    by_organization: dict[int, list[WebhookEndpoint]] = {}
    for endpoint in endpoints:
        if endpoint.paused_at is not None or _is_full(endpoint, MOST_QUEUED):
            WebhookEndpoint.objects.filter(pk=endpoint.pk).update(queued_to=first - 1)
        else:
            by_organization.setdefault(endpoint.organization_id, []).append(endpoint)
    _deliver_later(
        [
            (endpoint, position, one.type)
            for position, one in enumerate(made, first)
            for endpoint in by_organization.get(one.organization_id, ())
            if endpoint.wants(one.type)
        ],
        at=at,
    )


def _is_full(endpoint: WebhookEndpoint, most: int) -> bool:
    queued = WebhookDelivery.objects.filter(endpoint=endpoint, status="queued").order_by()
    return queued.values_list("pk", flat=True)[most - 1 : most].exists()


def _refill(place: Sequencer, *, at: datetime, most_endpoints: int = 100) -> None:
    """Queue on from the feed for endpoints that were left behind and have room again."""
    behind = WebhookEndpoint.objects.filter(queued_to__isnull=False, enabled=True, paused_at=None)
    for endpoint in behind.select_for_update(no_key=True, skip_locked=True).order_by("pk")[:most_endpoints]:
        if _is_full(endpoint, MOST_QUEUED // 2):
            continue
        events = list(
            Event.objects.filter(organization_id=endpoint.organization_id, position__gt=endpoint.queued_to)
            .order_by("position")
            .values_list("position", "type")[: MOST_QUEUED // 2]
        )
        _deliver_later([(endpoint, position, type_) for position, type_ in events if endpoint.wants(type_)], at=at)
        up_to_date = len(events) < MOST_QUEUED // 2
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(queued_to=None if up_to_date else events[-1][0])


def _deliver_later(wanted: Sequence[tuple[WebhookEndpoint, int, str]], *, at: datetime) -> None:
    WebhookDelivery.objects.bulk_create(
        [
            WebhookDelivery(endpoint=endpoint, event=position, type=type_, at=at, next_attempt_at=at)
            for endpoint, position, type_ in wanted
        ],
        batch_size=500,
    )
