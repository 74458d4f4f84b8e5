"""The feed: an organization's events in the order of their positions, and how long they are kept."""

from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from django.db import transaction

from accounts.tenancy import Viewer
from events.models import Event, Sequencer, WebhookDelivery
from onboarding.errors import OnboardingError

# Rows that one page looks through, at most, where only some types are wanted.
MOST_LOOKED_AT = 10_000
_ROWS_AT_ONCE = 5000


class CursorExpired(OnboardingError):
    """Events after the cursor have been deleted, or the registry was restored from before it was given."""

    code = "cursor_expired"
    remedy = "Begin again without `after`, and compare with GET /api/v1/devices/ what you may have missed."


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order, and the position to go on from, which is never before the last of them."""

    events: list[Event]
    next: int


def page(viewer: Viewer, *, after: int | None, limit: int, types: frozenset[str] = frozenset()) -> Page:
    """The events that `viewer` may see after a position; None: from the oldest kept. Raises CursorExpired.

    Costs one indexed search. A page may hold fewer events than there are: `next` tells where to go on.
    """
    # First: whatever has a position up to this one was committed with it.
    place = Sequencer.objects.filter(pk=1).first() or Sequencer()
    rows = Event.objects.visible_to(viewer).filter(position__gt=after or 0, position__lte=place.position)
    rows, end = rows.order_by("position"), place.position
    if types:
        beyond = list(rows.values_list("position", flat=True)[MOST_LOOKED_AT - 1 : MOST_LOOKED_AT])
        end = beyond[0] if beyond else end
        rows = rows.filter(position__lte=end, type__in=types)
    events = list(rows[:limit])
    # Last: what was deleted while this was read was not read.
    pruned_to = Sequencer.objects.filter(pk=1).values_list("pruned_to", flat=True).first() or 0
    if after is not None and not pruned_to <= after <= place.position:
        raise CursorExpired("The events after this cursor are no longer known.", field="after")
    return Page(events, events[-1].position if len(events) == limit else end)


def prune(*, before: datetime, most: int = 500_000) -> int:
    """Delete events recorded before `before` and deliveries queued then, some thousands a time; gives how many."""
    deleted = 0
    while deleted < most:
        count = _prune_events(before)
        deleted += count
        if count < _ROWS_AT_ONCE:
            break
    while deleted < most:
        # Their ids grow with time: no index of the times is needed.
        rows = WebhookDelivery.objects.order_by("pk").values_list("pk", "at")[:_ROWS_AT_ONCE]
        old = [pk for pk, _ in takewhile(lambda row: row[1] < before, rows)]
        WebhookDelivery.objects.filter(pk__in=old).delete()
        deleted += len(old)
        if len(old) < _ROWS_AT_ONCE:
            break
    return deleted


@transaction.atomic
def _prune_events(before: datetime) -> int:
    place = Sequencer.objects.select_for_update().filter(pk=1).first()
    if place is None:
        return 0
    rows = Event.objects.order_by("position").values_list("position", "recorded_at")[:_ROWS_AT_ONCE]
    old = [position for position, _ in takewhile(lambda row: row[1] < before, rows)]
    if old:
        Event.objects.filter(position__lte=old[-1]).delete()
        Sequencer.objects.filter(pk=1).update(pruned_to=old[-1])
    return len(old)
