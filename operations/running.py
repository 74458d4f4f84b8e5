"""Operations: started, cancelled, reverted, and done a slice at a time.

An operation's next part, its effects and its results are one transaction, which begins by taking the operation's row:
whoever is killed in between has done nothing, and no part is done twice. The worker that is at it holds a lease; when
that runs out, another goes on. The oldest unfinished operation of each organization may run, whoever waited longest
first, one part at a time, so that a small operation never waits for a large one of somebody else.
"""

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import F, Min, Q, QuerySet

from accounts import auditing
from accounts.actors import Actor
from onboarding import bulkregistry
from onboarding.bulkregistry import Former, Outcome, Run, Wish, refused
from onboarding.errors import OnboardingError
from onboarding.identifiers import InvalidMacAddress, MacAddress
from onboarding.models import RedirectProfile
from onboarding.registry import DeviceTaken, ProfileNotYours
from onboarding.targets import Addresses
from operations import packing, receiving, starters
from operations.interpreting import NEEDED, Interpreter
from operations.models import KINDS, Operation, OperationPart, Sheet, SheetPart, Turn
from operations.reading import Row, UnreadableSheet

logger = logging.getLogger(__name__)

# A worker that died is followed by another after this. Every part renews it.
LEASE = timedelta(seconds=15)
# A bell that was not answered for so long is rung anew.
_BELL_LOST_AFTER = timedelta(seconds=10)
# Other work of the same worker, observations of phones above all, waits for no longer than about this.
SLICE_SECONDS = 1.5
# Tries of a part that goes wrong, before its operation is given up.
_MOST_FAILURES = 5
_MACS_FORGOTTEN_AT_ONCE = 20_000
_SQLITE_REST_SECONDS = 0.03

# Whose devices are others' is told on purpose, to each organization of so many in an hour.
MOST_TAKEN = 1000
_TAKEN_WITHIN = timedelta(hours=1)
_MOST_LOOKED_AT = 1000

COUNTED = ("created", "changed", "unchanged", "released", "failed")
_EFFECTS = ("created", "changed", "released")


class TooManyTaken(OnboardingError):
    """The organization was told of as many devices as it may be that they are others'."""

    code = "too_many_taken"
    remedy = "Check that these are your devices, and start again in an hour."
    retry_after_seconds = 3600


class OperationOver(OnboardingError):
    """The operation has ended, so there is nothing to cancel."""

    code = "operation_over"
    remedy = "Revert it, if it is to be undone."


class NotRevertible(OnboardingError):
    """The operation cannot be reverted."""

    code = "not_revertible"
    remedy = "An operation can be reverted once, when it has ended and as long as its results are kept."


def start(
    *, actor: Actor, sheet: Sheet, kind: str, dry_run: bool, profile: RedirectProfile | None = None, at: datetime
) -> Operation:
    """Have every row of the sheet done. A dry run tells what the run would do, and changes nothing.

    Raises UnreadableSheet (it lacks a column that the kind needs), ProfileNotYours, TooManyOperations, TooManyTaken.
    """
    if kind not in NEEDED:
        raise UnreadableSheet(f"There is no kind {kind!r}.", field="kind", remedy=f"Kinds are {', '.join(NEEDED)}.")
    if missing := [column for column in NEEDED[kind] if column not in sheet.columns]:
        raise UnreadableSheet(f"To {kind}, rows need the column {missing[0]}.", remedy="Name it in the headings.")
    if kind == "assign" and profile is None and "profile" not in sheet.columns:
        raise UnreadableSheet(
            "To assign, rows need the column profile.", remedy="Name it, or choose one profile for all."
        )
    if profile is not None and profile.organization_id != sheet.organization_id:
        raise ProfileNotYours("There is no such profile.", field="profile")
    receiving.check_unfinished(sheet.organization)
    if kind == "import":
        _check_taken(sheet.organization_id, at=at)
    operation = Operation(sheet=sheet, kind=kind, dry_run=dry_run, profile=profile, total=sheet.total)
    return _begin(actor, operation, sheet, at=at)


def _check_taken(organization_id: int, *, at: datetime) -> None:
    recent = Operation.objects.filter(organization_id=organization_id, created_at__gt=at - _TAKEN_WITHIN)
    if sum(recent.order_by("-id").values_list("taken", flat=True)[:_MOST_LOOKED_AT]) >= MOST_TAKEN:
        raise TooManyTaken(f"More than {MOST_TAKEN:,} devices of earlier operations were other organizations'.")


def run_for_real(*, actor: Actor, operation: Operation, at: datetime) -> Operation:
    """Do what a dry run told: the same rows, kind and profile. Raises as `start` does."""
    if operation.sheet is None:
        raise NotRevertible("This is not a dry run of a sheet.", remedy="Start an operation on a sheet.")
    return start(
        actor=actor, sheet=operation.sheet, kind=operation.kind, dry_run=False, profile=operation.profile, at=at
    )


def revert(*, actor: Actor, operation: Operation, at: datetime) -> Operation:
    """Undo what the operation did to devices that nobody touched since. Raises NotRevertible, TooManyOperations."""
    effects = operation.created + operation.changed + operation.released
    if operation.dry_run or operation.kind == "revert":
        raise NotRevertible("A dry run changed nothing." if operation.dry_run else "A revert is not reverted itself.")
    if not operation.is_over or operation.status == "reverted" or not effects:
        reason = "changed nothing" if operation.is_over and not effects else f"is {operation.status}"
        raise NotRevertible(f"Operation {operation.pk} {reason}.")
    receiving.check_unfinished(operation.organization)
    new = Operation(reverts=operation, kind="revert", total=effects)
    try:
        with transaction.atomic():
            return _begin(actor, new, operation, at=at)
    except IntegrityError as error:
        raise NotRevertible(f"Operation {operation.pk} is being reverted already.") from error


@transaction.atomic
def _begin(actor: Actor, operation: Operation, of: Sheet | Operation, *, at: datetime) -> Operation:
    operation.organization_id = of.organization_id
    operation.source, operation.by = actor.source, actor.name[:160]
    operation.through_id = actor.through(of.organization_id)
    operation.created_at = operation.served_at = at
    # Rows of a single part are compared as they are read.
    operation.has_met = operation.kind != "revert" and operation.total > receiving.ROWS_A_PART
    operation.save(force_insert=True)
    _audit(actor, operation, "started", at=at)
    return operation


@transaction.atomic
def cancel(*, actor: Actor, operation: Operation, at: datetime) -> Operation:
    """End the operation after the part that is being done; what was done stays. Again changes nothing.

    Raises OperationOver.
    """
    held: Operation = Operation.objects.select_for_update().get(pk=operation.pk)
    if held.is_over and held.status != "cancelled":
        raise OperationOver(f"Operation {held.pk} is {held.status}.")
    if held.cancel_asked_at is None:
        held.cancel_asked_at = at
        held.save(update_fields=["cancel_asked_at"])
        _audit(actor, held, "cancelled", at=at)
        if held.lease_until is None or held.lease_until <= at:
            _finish(held, "cancelled", at=at)
    return held


def _audit(actor: Actor, operation: Operation, what: str, *, at: datetime) -> None:
    rows = {"rows": operation.total, "dry_run": operation.dry_run}
    of = {"reverts": operation.reverts_id} if operation.reverts_id else {"sheet": str(operation.sheet)}
    auditing.record(
        actor, organization_id=operation.organization_id, action=f"operation.{what}",
        subject=f"{KINDS[operation.kind]} {operation.pk}", at=at, after={**rows, **of},
    )  # fmt: skip


# Doing it


def run_slice(
    *,
    at: datetime,
    own: Addresses,
    seconds: Callable[[], float],
    rest: Callable[[float], None],
    most_seconds: float = SLICE_SECONDS,
) -> bool:
    """Do parts of whatever waits, fairly, for about `most_seconds` by the clock `seconds`; gives whether more waits.

    `rest` sleeps for so many seconds.
    """
    until = seconds() + most_seconds
    while True:
        lease = uuid.uuid4().hex
        operation_id = _lease_next(lease, at=at)
        if operation_id is None:
            return _forget_met(until, seconds)
        do_part(operation_id, lease, at=at, own=own)
        if seconds() >= until:
            return True
        if connection.vendor == "sqlite":
            # Its lock is nobody's turn: whoever comes back first has it, and others sleep meanwhile.
            rest(_SQLITE_REST_SECONDS)


def _candidates(*, at: datetime) -> "QuerySet[Operation]":
    """Each organization's oldest unfinished operation, if no worker is at it; whoever waited longest first."""
    oldest = Operation.objects.filter(finished_at=None).values("organization_id").annotate(oldest=Min("pk"))
    free = Operation.objects.filter(Q(lease_until=None) | Q(lease_until__lte=at), finished_at=None)
    return free.filter(pk__in=list(oldest.values_list("oldest", flat=True))).order_by("served_at", "pk")


def _lease_next(lease: str, *, at: datetime) -> int | None:
    for operation in _candidates(at=at)[:20]:
        if lease_it(operation, lease, at=at):
            return int(operation.pk)
    return None


def lease_it(operation: Operation, lease: str, *, at: datetime) -> bool:
    """Take the operation for one worker, for a while; gives whether nobody else has it."""
    free = Operation.objects.filter(Q(lease_until=None) | Q(lease_until__lte=at), pk=operation.pk, finished_at=None)
    return bool(free.update(lease=lease, lease_until=at + LEASE))


def do_part(operation_id: int, lease: str, *, at: datetime, own: Addresses, keep: bool = False) -> None:
    """Do the operation's next part, if the lease is still held, and give the lease back unless it is to be kept."""
    try:
        with transaction.atomic():
            _do_part(operation_id, lease, at=at, own=own, keep=keep)
    except OperationalError as error:
        # A deadlock, or a database that goes away: the part is tried again.
        logger.warning("A part of operation %s is tried again: %s", operation_id, error)
        _note_failure(operation_id, lease, "The registry could not be written to.", at=at)
    except Exception:
        logger.exception("A part of operation %s went wrong", operation_id)
        _note_failure(operation_id, lease, "A mistake of this service; its operator finds it in the log.", at=at)


def _note_failure(operation_id: int, lease: str, reason: str, *, at: datetime) -> None:
    with transaction.atomic():
        held = Operation.objects.select_for_update().filter(pk=operation_id, lease=lease, finished_at=None).first()
        if held is None:
            return
        held.failures += 1
        held.lease_until, held.served_at = None, at
        held.save(update_fields=["failures", "lease_until", "served_at"])
        if held.failures >= _MOST_FAILURES:
            _finish(held, "failed", at=at, reason=reason)


def _do_part(operation_id: int, lease: str, *, at: datetime, own: Addresses, keep: bool) -> None:
    # Taken first: whoever held it before has committed its part or none of it.
    held = Operation.objects.select_for_update().filter(pk=operation_id, lease=lease, finished_at=None).first()
    if held is None:
        return
    if held.cancel_asked_at is not None:
        _finish(held, "cancelled", at=at)
        return
    if stopped := starters.why_stopped(held):
        _finish(held, "failed", at=at, reason=stopped)
        return
    results = _restored(held, at=at) if held.kind == "revert" else _done(held, at=at, own=own)
    if results is None:
        _finish(held, "done", at=at)
        return
    counts = Counter(result[2] for result in results)
    taken = sum(result[3] == DeviceTaken.code for result in results)
    if results:
        OperationPart.objects.create(
            operation=held, number=held.position, first_row=results[0][0], last_row=results[-1][0], rows=len(results),
            content=packing.pack(results), **{status: counts[status] for status in COUNTED},
        )  # fmt: skip
    held.position += 1
    held.processed += len(results)
    held.taken += taken
    for status in COUNTED:
        setattr(held, status, getattr(held, status) + counts[status])
    held.status, held.started_at, held.served_at, held.failures = "running", held.started_at or at, at, 0
    held.lease_until = at + LEASE if keep else None
    held.save(update_fields=["position", "processed", "taken", *COUNTED, *_STANDING])
    if held.taken >= MOST_TAKEN:
        said = f"More than {MOST_TAKEN:,} of these devices are other organizations'; no more of this is told."
        _finish(held, "failed", at=at, reason=said)
    elif held.processed >= held.total:
        _finish(held, "done", at=at)


_STANDING = ("status", "started_at", "served_at", "failures", "lease_until")

# A row's number, its MAC, and the outcome: status, code, detail, and the id of the device that was written.
Result = tuple[int, str, str, str, str, int]


def _done(held: Operation, *, at: datetime, own: Addresses) -> list[Result] | None:
    """Do the rows of the next part of the sheet; None after the last."""
    assert held.sheet is not None
    part = SheetPart.objects.filter(sheet=held.sheet, number=held.position).first()
    if part is None:
        return None
    rows = receiving.rows_of(part)
    columns = receiving.column_order(held.sheet)
    interpreter = Interpreter(
        held.kind, columns, profiles=_profiles(held, rows, columns), default=_default(held), own=own
    )
    outcomes: list[Outcome | None] = [None] * len(rows)
    macs: list[str] = [""] * len(rows)
    addresses: dict[int, MacAddress] = {}
    for index, row in enumerate(rows):
        try:
            addresses[index] = interpreter.mac(row.cells)
            macs[index] = str(addresses[index])
        except InvalidMacAddress as error:
            macs[index] = interpreter.given_mac(row.cells)
            outcomes[index] = refused(error)
        if row.problem:
            outcomes[index] = Outcome("failed", "invalid_row", row.problem)
    for index in _met(held, addresses):
        outcomes[index] = Outcome("failed", "duplicate", f"An earlier row has {macs[index]} too; that one counts.")
    wishes: list[Wish] = []
    places: list[int] = []
    for index, row in enumerate(rows):
        if outcomes[index] is None:
            wish = interpreter.wish(addresses[index], row.cells)
            if isinstance(wish, Outcome):
                outcomes[index] = wish
            else:
                wishes.append(wish)
                places.append(index)
    for index, outcome in zip(places, _apply(held, wishes, at=at), strict=True):
        outcomes[index] = outcome
    return [(row.number, mac, *outcome) for row, mac, outcome in zip(rows, macs, outcomes, strict=True) if outcome]


def _apply(held: Operation, wishes: Sequence[Wish], *, at: datetime) -> list[Outcome]:
    run = _run(held, at=at)
    if held.kind == "import":
        return bulkregistry.put_all(wishes, run=run)
    if held.kind == "assign":
        return bulkregistry.assign_all(wishes, run=run)
    return bulkregistry.release_all([wish.mac for wish in wishes], run=run)


def _run(held: Operation, *, at: datetime) -> Run:
    actor = Actor(held.source, held.by, organization_id=held.through_id)
    return Run(
        actor=actor, organization_id=held.organization_id, operation_id=held.pk, at=at, dry_run=held.dry_run,
        reverts=held.reverts_id,
    )  # fmt: skip


def _profiles(held: Operation, rows: Sequence[Row], columns: Sequence[str]) -> dict[str, int]:
    """The ids of the organization's profiles that these rows name, by id or name; an id comes before a name."""
    if "profile" not in columns:
        return {}
    place = columns.index("profile")
    said = {row.cells[place] or "" for row in rows} - {""}
    ids = [int(text) for text in said if text.isascii() and text.isdecimal() and len(text) < 19]
    mine = RedirectProfile.objects.filter(organization_id=held.organization_id)
    found = {name: pk for pk, name in mine.filter(name__in=said).values_list("pk", "name")}
    return found | {str(pk): pk for pk in mine.filter(pk__in=ids).values_list("pk", flat=True)}


def _default(held: Operation) -> int | None:
    if held.profile_id is None:
        return None
    mine = RedirectProfile.objects.filter(pk=held.profile_id, organization_id=held.organization_id)
    return held.profile_id if mine.exists() else None


_MEET = "INSERT INTO operations_metmac (operation_id, mac) SELECT %s, {macs} ON CONFLICT DO NOTHING RETURNING mac"
_MEET_POSTGRESQL = _MEET.format(macs="unnest(%s::bigint[])")
_MEET_SQLITE = _MEET.format(macs="value FROM json_each(%s) WHERE true")


def _met(held: Operation, addresses: Mapping[int, MacAddress]) -> list[int]:
    """Which rows of the part have a MAC that an earlier row of the sheet has; the others are remembered."""
    again: list[int] = []
    first: dict[int, int] = {}
    for index, mac in addresses.items():
        if first.setdefault(mac.number, index) != index:
            again.append(index)
    if not held.has_met or not first:
        return again
    numbers: Any = orjson.dumps(sorted(first)).decode() if connection.vendor == "sqlite" else sorted(first)
    with connection.cursor() as cursor:
        cursor.execute(_MEET_SQLITE if connection.vendor == "sqlite" else _MEET_POSTGRESQL, [held.pk, numbers])
        new = {row[0] for row in cursor.fetchall()}
    return again + [index for number, index in first.items() if number not in new]


def _restored(held: Operation, *, at: datetime) -> list[Result] | None:
    """Undo the next part of the operation that this one reverts; None after the last."""
    part = OperationPart.objects.filter(operation=held.reverts, number=held.position).first()
    if part is None:
        return None
    rows: list[Result] = [row for row in packing.unpack(part.content) if row[2] in _EFFECTS]
    outcomes = bulkregistry.restore_all([Former(row[1], row[5], row[2]) for row in rows], run=_run(held, at=at))
    return [(row[0], row[1], *outcome) for row, outcome in zip(rows, outcomes, strict=True)]


def _finish(held: Operation, status: str, *, at: datetime, reason: str = "") -> None:
    held.status, held.reason, held.finished_at, held.lease_until = status, reason, at, None
    held.started_at = held.started_at or at
    held.save(update_fields=["status", "reason", "finished_at", "lease_until", "started_at"])
    if held.taken:
        actor = Actor(held.source, held.by, organization_id=held.through_id)
        auditing.record(
            actor, organization_id=held.organization_id, action="device.taken_refused",
            subject=f"{held.taken} devices of {KINDS[held.kind].lower()} {held.pk}", at=at,
        )  # fmt: skip
    if status == "done" and held.reverts_id is not None:
        Operation.objects.filter(pk=held.reverts_id).update(status="reverted")


# The bell


def ring(*, at: datetime) -> int | None:
    """The number of a new bell, if something waits and the last one was not answered of late; else None."""
    if not _candidates(at=at).exists() and not Operation.objects.filter(_TO_TIDY).exists():
        return None
    Turn.objects.get_or_create(pk=1)
    quiet = Turn.objects.filter(Q(rung_at=None) | Q(rung_at__lt=at - _BELL_LOST_AFTER), pk=1)
    if not quiet.update(bell=F("bell") + 1, rung_at=at):
        return None
    return int(Turn.objects.values_list("bell", flat=True).get(pk=1))


def answer(bell: int, *, at: datetime) -> bool:
    """Whether this bell is the one that is out; it is put off then."""
    return bool(Turn.objects.filter(pk=1, bell=bell).update(rung_at=at))


def hush(bell: int) -> None:
    """Nothing waits any more: the next ring may come at once."""
    Turn.objects.filter(pk=1, bell=bell).update(rung_at=None)


# Keeping it bounded

_TO_TIDY = Q(has_met=True, finished_at__isnull=False)


def _forget_met(until: float, seconds: Callable[[], float]) -> bool:
    """Delete the MACs that ended operations met; gives whether some are left."""
    while True:
        ended = Operation.objects.filter(_TO_TIDY).order_by("pk").first()
        if ended is None:
            return False
        with connection.cursor() as cursor:
            cursor.execute(_FORGET, [ended.pk, _MACS_FORGOTTEN_AT_ONCE])
            if cursor.rowcount < _MACS_FORGOTTEN_AT_ONCE:
                Operation.objects.filter(pk=ended.pk).update(has_met=False)
        if seconds() >= until:
            return True


_FORGET = (
    "DELETE FROM operations_metmac WHERE (operation_id, mac) IN"
    " (SELECT operation_id, mac FROM operations_metmac WHERE operation_id = %s ORDER BY mac LIMIT %s)"
)


def prune(*, before: datetime, abandoned_before: datetime, most: int = 200) -> int:
    """Delete operations that ended before `before`, sheets that nobody uses any more, and what was never received.

    Gives how many operations and sheets went; at most `most` of each.
    """
    old = Operation.objects.filter(finished_at__lt=before, has_met=False)
    # What a later operation reverted stays until that goes.
    ended = list(old.filter(reverted_by=None).order_by("finished_at").values_list("pk", flat=True)[:most])
    unused = Sheet.objects.filter(operations=None, begun_at__lt=abandoned_before).order_by("begun_at")
    with transaction.atomic():
        OperationPart.objects.filter(operation_id__in=ended).delete()
        Operation.objects.filter(pk__in=ended).delete()
    sheets = list(unused.values_list("pk", flat=True)[:most])
    with transaction.atomic():
        SheetPart.objects.filter(sheet_id__in=sheets).delete()
        Sheet.objects.filter(pk__in=sheets).delete()
    return len(ended) + len(sheets)
