"""The chain of each organization's audit: what makes a removed, altered, inserted or reordered entry show.

    entry 1 ──▶ entry 2 ──▶ entry 3 …  each digest = HMAC(digest before, position, the entry's seal)
                  ▲                 ▲
              checkpoint          head      both sealed, so that neither can be moved

`extend` gives committed entries their places, in the order in which it finds them. Writers never wait for it: it locks
nothing but the chain's own head, and where another job holds that, it leaves the organization to it.

Old entries are pruned up to a checkpoint, which says so under its seal; from there on the rest is still proven. An
entry is proven only if its seal is, so a row written into the table by anybody without the key is found too. Whoever
can restore the whole database to an earlier day leaves a chain that is right for that day: `verify_audit --against`
compares it with the checkpoints that the service has written into its log.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, connection, transaction
from django.db.models import Max, QuerySet

from accounts import auditing
from accounts.models import AuditCheckpoint, AuditEntry, AuditHead

logger = logging.getLogger(__name__)

# The chain of what belongs to the operator alone.
OPERATORS = 0

_ROWS_A_STATEMENT = 500
_PLACE = """
    WITH placed (id, position, digest) AS (VALUES {rows})
    UPDATE accounts_auditentry SET position = placed.position, digest = placed.digest
    FROM placed WHERE accounts_auditentry.id = placed.id
"""
_READ_AT_ONCE = 2000
_PRUNED_AT_ONCE = 5000
# A checkpoint a day for a chain that grows, or sooner for one that grows fast: pruning goes by them.
CHECKPOINT_EVERY, CHECKPOINT_ENTRIES = timedelta(days=1), 10_000


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something in a chain that should not be: whose, where, and what."""

    chain: int
    position: int
    what: str


def extend(*, at: datetime, most: int = 20_000) -> int:
    """Give entries that have none their place in their organization's chain, oldest first; gives how many."""
    done = 0
    while done < most:
        unplaced = AuditEntry.objects.filter(position=None).order_by("id").values_list("id", "organization_id")
        waiting = list(unplaced[:_READ_AT_ONCE])
        by_chain: dict[int, list[int]] = defaultdict(list)
        for entry_id, organization_id in waiting:
            by_chain[organization_id or OPERATORS].append(entry_id)
        placed = sum(_extend(chain, ids, at=at) for chain, ids in sorted(by_chain.items()))
        done += placed
        if not placed or len(waiting) < _READ_AT_ONCE:
            break
    return done


def _extend(chain: int, ids: list[int], *, at: datetime) -> int:
    try:
        with transaction.atomic():
            head = _locked_head(chain)
            if head is None:
                return 0
            # Read anew: another job may have placed some of them since.
            rows = list(_entries(chain).filter(pk__in=ids, position=None).order_by("id").only("id", "seal"))
            for row in rows:
                head.position += 1
                head.digest = _digest(head.digest, head.position, row.seal)
                row.position, row.digest = head.position, head.digest
            if rows:
                _write(rows)
                head.seal = _head_seal(head)
                head.save(update_fields=["position", "digest", "seal"])
                _mark(head, at=at)
            return len(rows)
    except IntegrityError:
        # The head was moved back, or an entry stands where the next belongs.
        logger.exception("The audit chain %s cannot be extended; run verify_audit", chain)
        return 0


def _write(rows: Sequence[AuditEntry]) -> None:
    """Set the places of entries: one plain statement for some hundreds, where Django would write a CASE of as many."""
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        part = rows[start : start + _ROWS_A_STATEMENT]
        with connection.cursor() as cursor:
            cursor.execute(
                _PLACE.format(rows=", ".join(["(%s, %s, %s)"] * len(part))),
                [value for row in part for value in (row.pk, row.position, row.digest)],
            )


def _locked_head(chain: int) -> AuditHead | None:
    """The chain's head, locked; None while another job has it."""
    first = AuditHead(chain=chain, position=0, digest=_genesis(chain))
    AuditHead.objects.get_or_create(chain=chain, defaults={"digest": first.digest, "seal": _head_seal(first)})
    held: AuditHead | None = (
        AuditHead.objects.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
        .filter(chain=chain)
        .first()
    )
    return held


def _mark(head: AuditHead, *, at: datetime) -> None:
    """Seal a checkpoint where one is due."""
    last = AuditCheckpoint.objects.filter(chain=head.chain).order_by("-position").first()
    if last and at - last.at < CHECKPOINT_EVERY and head.position - last.position < CHECKPOINT_ENTRIES:
        return
    mark = AuditCheckpoint(chain=head.chain, position=head.position, digest=head.digest, at=at)
    mark.seal = _checkpoint_seal(mark)
    mark.save(force_insert=True)
    logger.info("Audit checkpoint %s %s %s", mark.chain, mark.position, mark.digest)


def prune(*, before: datetime, at: datetime, most: int = 200_000) -> int:
    """Delete entries whose checkpoint is older than `before`, and the checkpoints before it; gives how many entries.

    A checkpoint is marked first; then its entries go, a few thousand at a time. Whatever a stopped run leaves, the next
    one deletes.
    """
    due = AuditCheckpoint.objects.filter(at__lt=before)
    newest = due.values("chain").annotate(position=Max("position")).values_list("chain", "position")
    deleted = 0
    for chain, position in list(newest):
        with transaction.atomic():
            mark = AuditCheckpoint.objects.select_for_update().get(chain=chain, position=position)
            if mark.pruned_at is None:
                mark.pruned_at = at
                mark.seal = _checkpoint_seal(mark)
                mark.save(update_fields=["pruned_at", "seal"])
        while deleted < most:
            with transaction.atomic():
                old = _entries(chain).filter(position__lte=position).order_by("position").values_list("pk", flat=True)
                count, _ = AuditEntry.objects.filter(pk__in=list(old[:_PRUNED_AT_ONCE])).delete()
            deleted += count
            if count < _PRUNED_AT_ONCE:
                AuditCheckpoint.objects.filter(chain=chain, position__lt=position).delete()
                break
        if deleted >= most:
            break
    return deleted


def chains() -> list[int]:
    """All chains that there are or should be, the operator's first."""
    with_entries = AuditEntry.objects.order_by().values_list("organization_id", flat=True).distinct()
    heads = AuditHead.objects.values_list("chain", flat=True)
    marks = AuditCheckpoint.objects.order_by().values_list("chain", flat=True).distinct()
    return sorted({found or OPERATORS for found in with_entries} | set(heads) | set(marks))


def verify(chain: int) -> Iterator[Flaw]:
    """Every flaw of a chain, in order. Reads it once, a bounded number of rows at a time; may run beside the jobs."""
    start = _start(chain)
    position, digest = (start.position, start.digest) if start else (0, _genesis(chain))
    # Beside the digest that stands there the one that should: of two neighbours only the wrong one is named.
    due = digest
    if start and not _is_sealed(start):
        yield Flaw(chain, start.position, "the checkpoint that pruning left is not sealed by this service")
    marks = {mark.position: mark for mark in AuditCheckpoint.objects.filter(chain=chain, position__gt=position)}
    for mark in marks.values():
        if not _is_sealed(mark):
            yield Flaw(chain, mark.position, "the checkpoint is not sealed by this service")
    # First the last entry, then the head: a job that runs beside moves both at once.
    last = _entries(chain).aggregate(last=Max("position"))["last"] or 0
    for row in _in_order(chain, after=position, until=last):
        place = row.position or 0
        if place > position + 1:
            yield _missing(chain, position + 1, place - 1)
        if not auditing.is_sealed(row):
            yield Flaw(chain, place, f"entry {row.pk} was altered, or not written by this service")
        if place <= position + 1 and not (_follows(row, digest) or _follows(row, due)):
            yield Flaw(chain, place, f"entry {row.pk} does not follow the one before it")
        seen = marks.pop(place, None)
        if seen is not None and seen.digest != row.digest:
            yield Flaw(chain, place, f"entry {row.pk} is not the one that the checkpoint has seen")
        position, digest, due = place, row.digest, _digest(due, place, row.seal)
    yield from _verify_end(chain, position, digest, marks)
    yield from _verify_waiting(chain)


def _verify_end(chain: int, position: int, digest: str, marks: dict[int, AuditCheckpoint]) -> Iterator[Flaw]:
    head = AuditHead.objects.filter(chain=chain).first()
    if head is None:
        if position:
            yield Flaw(chain, position, "the chain's head is missing")
    elif not auditing.proves(head.seal, _head_text(head)):
        yield Flaw(chain, head.position, "the chain's head is not sealed by this service")
    elif head.position == position and head.digest != digest:
        yield Flaw(chain, position, "the last entry is not the one that the chain's head has seen")
    elif head.position < position:
        yield Flaw(chain, head.position + 1, f"entries up to {position} stand behind the chain's head")
    elif head.position > position and not _entries(chain).filter(position=head.position).exists():
        # Those that a job has placed meanwhile are there.
        yield _missing(chain, position + 1, head.position)
        return
    beyond = [place for place in marks if place > max(position, head.position if head else 0)]
    if beyond:
        yield _missing(chain, position + 1, max(beyond))


def _verify_waiting(chain: int) -> Iterator[Flaw]:
    """Entries that no job has placed yet: their seals can be looked at."""
    waiting = _entries(chain).filter(position=None).order_by("id")
    for row in waiting.iterator(chunk_size=_READ_AT_ONCE):
        if not auditing.is_sealed(row):
            yield Flaw(chain, 0, f"entry {row.pk}, without a place yet, was altered, or not written by this service")


def present(chain: int, position: int) -> str | None:
    """The digest at a place of the chain, as entry or checkpoint; None where there is nothing any more."""
    row = _entries(chain).filter(position=position).values_list("digest", flat=True).first()
    mark = AuditCheckpoint.objects.filter(chain=chain, position=position).values_list("digest", flat=True).first()
    return row or mark


def pruned_until(chain: int) -> int:
    """The last place whose entry may have been pruned; 0 where none was."""
    start = _start(chain)
    return start.position if start else 0


def _start(chain: int) -> AuditCheckpoint | None:
    """The checkpoint from which on the chain is there; None where it is there from its beginning."""
    pruned = AuditCheckpoint.objects.filter(chain=chain, pruned_at__isnull=False)
    found: AuditCheckpoint | None = pruned.order_by("-position").first()
    return found


def _in_order(chain: int, *, after: int, until: int) -> Iterator[AuditEntry]:
    while True:
        rows = _entries(chain).filter(position__gt=after, position__lte=until).order_by("position")
        found = list(rows[:_READ_AT_ONCE])
        yield from found
        if len(found) < _READ_AT_ONCE:
            return
        after = found[-1].position or until


def _missing(chain: int, first: int, last: int) -> Flaw:
    which = f"the entry {first} is" if first == last else f"the entries {first} to {last} are"
    return Flaw(chain, first, f"{which} missing")


def _entries(chain: int) -> "QuerySet[AuditEntry]":
    return auditing.of_organization(None if chain == OPERATORS else chain)


def _follows(row: AuditEntry, digest: str) -> bool:
    return auditing.proves(row.digest, _link_text(digest, row.position or 0, row.seal))


def _digest(before: str, position: int, seal: str) -> str:
    return auditing.seal_of(_link_text(before, position, seal))


def _link_text(before: str, position: int, seal: str) -> bytes:
    return f"entry {before} {position} {seal}".encode()


def _genesis(chain: int) -> str:
    return f"chain {chain}"


def _head_text(head: AuditHead) -> bytes:
    return f"head {head.chain} {head.position} {head.digest}".encode()


def _head_seal(head: AuditHead) -> str:
    return auditing.seal_of(_head_text(head))


def _checkpoint_text(mark: AuditCheckpoint) -> bytes:
    times = [moment and moment.timestamp() for moment in (mark.at, mark.pruned_at)]
    return json.dumps(["checkpoint", mark.chain, mark.position, mark.digest, *times]).encode()


def _checkpoint_seal(mark: AuditCheckpoint) -> str:
    return auditing.seal_of(_checkpoint_text(mark))


def _is_sealed(mark: AuditCheckpoint) -> bool:
    return auditing.proves(mark.seal, _checkpoint_text(mark))
