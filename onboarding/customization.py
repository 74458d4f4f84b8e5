"""The only writer of a device's customization state.

Each write is one guarded update (of the revision and state that were seen) with its history rows in the same
transaction. What the guard refuses lost a race: the evidence is judged again on what the winner left.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import orjson
from django.db import transaction
from django.db.models import DateTimeField, F, Func, Value
from django.db.models.functions import Coalesce

from accounts.models import Organization
from onboarding import bulkwrites, sightings
from onboarding.bulkwrites import ChangeRow, DeviceWrite
from onboarding.models import Device, UnsettledObservation
from onboarding.observations import (
    LATE,
    RELEASED,
    Belief,
    Clock,
    Observation,
    Observed,
    Standing,
    Told,
    observe,
    plausible,
    tell,
)
from onboarding.registration import Confirm, IdentityDemand, UnprovenEvidence
from onboarding.states import CustomizationState, Event

# Rounds against other writers of the same devices before the transaction is given up and its job tries again.
_ROUNDS = 10

# How long a phone without a profile may stay Custom Pending before it counts as stalled.
STALLED_AFTER_MINUTES = 30

DOOR = "door"
# In the evidence of a row: how many before it were counted only.
LEFT_OUT = "left_out"
# Tokens tell the second in which an answer was given.
_TOKEN_RESOLUTION = timedelta(seconds=1)


class StateContended(Exception):
    """Other writers kept winning; nothing was written, try again."""


class Evidence(NamedTuple):
    """An observation of the phone with this MAC.

    `device_id` and `organization_id` tell whose phone it was when the door saw it; None when the door did not know it,
    or did not look. `answered_at` is when the answer was given, to the second, that a beacon or report proves.
    """

    mac: str
    observation: Observation
    device_id: int | None = None
    organization_id: int | None = None
    answered_at: datetime | None = None

    def is_older_than(self, claimed_at: datetime) -> bool:
        """Whether it tells of a life that ended before this claim.

        What a door saw of a phone that nobody had is how the next life begins, and so is never older.
        """
        if self.observation.source == DOOR:
            return False
        answered_before = self.answered_at is not None and self.answered_at + _TOKEN_RESOLUTION <= claimed_at
        return answered_before or self.observation.clock.at < claimed_at


@dataclass(slots=True)
class _Known:
    """A device as it was read, and what becomes of it."""

    id: int
    organization_id: int
    claimed_at: datetime
    belief: Belief
    revision: int
    seen: Standing
    standing: Standing
    rows: list[ChangeRow] = field(default_factory=list)
    unsettled: list[Observation] = field(default_factory=list)


_COLUMNS = (
    "mac",
    "id",
    "organization_id",
    "claimed_at",
    "profile__unproven_evidence",
    "revision",
    "state",
    "state_since",
    "last_seen",
    "evidence_at",
    "evidence_machine",
    "evidence_sequence",
    "resets",
    "resets_since",
    "told",
    "untold",
    "told_since",
    "profile__identity",
    "profile__accepts_expired_certificates",
)
_STATES = {state.value: state for state in CustomizationState}


def begin(
    organization_id: int, standing: Standing, evidence: Sequence[Evidence], *, at: datetime
) -> tuple[Standing, list[ChangeRow]] | None:
    """What evidence of one phone, as it becomes a device at `at`, makes of its first standing, and its history rows.

    Writes nothing: the rows are for the device that the caller writes (0 stands for its id). None where something has
    to settle first.
    """
    known = _Known(0, organization_id, at, Belief(), 0, standing, standing)
    for item in evidence:
        _judge(known, item._replace(observation=plausible(item.observation, at=at)), at=at)
    return None if known.unsettled else (known.standing, known.rows)


def record(evidence: Evidence, *, at: datetime) -> None:
    """Apply one piece of evidence at once, in a transaction of its own."""
    record_all([evidence], at=at)


@transaction.atomic
def record_all(evidence: Sequence[Evidence], *, at: datetime) -> None:
    """Apply evidence in the given order: states, history, sightings of unknown phones, and what has yet to settle.

    Costs a read, a guarded write and an insert for the whole sequence. Raises StateContended.
    """
    waiting: dict[str, list[Evidence]] = defaultdict(list)
    for item in evidence:
        observation = plausible(item.observation, at=at)
        waiting[item.mac].append(item if observation is item.observation else item._replace(observation=observation))
    for _ in range(_ROUNDS):
        waiting = _record_round(waiting, at=at)
        if not waiting:
            return
    raise StateContended


def _record_round(waiting: dict[str, list[Evidence]], *, at: datetime) -> dict[str, list[Evidence]]:
    """Judge and write once; gives the evidence of the devices whose guard refused."""
    devices = _read(waiting)
    strangers: list[Evidence] = []
    former: list[Evidence] = []
    for mac, items in waiting.items():
        known = devices.get(mac)
        for item in items:
            if item.device_id is not None and (known is None or known.id != item.device_id):
                former.append(item)
            elif known is None:
                strangers.append(item)
            else:
                _judge(known, item, at=at)
    touched = {known.id for known in devices.values() if known.rows or known.standing != known.seen}
    won = bulkwrites.write_devices([_write(known, at=at) for known in devices.values() if known.id in touched])
    # What only waits is held against a release, too: it would be left without a device.
    idle = {known.id for known in devices.values() if known.unsettled} - touched
    lost_ids = (touched - won) | (idle - _hold(idle))
    lost = {mac for mac, known in devices.items() if known.id in lost_ids}
    rows = _former_rows(former, at=at)
    unsettled: list[tuple[int, Observation]] = []
    for mac, known in devices.items():
        if mac not in lost:
            rows += known.rows
            unsettled += [(known.id, observation) for observation in known.unsettled]
    bulkwrites.insert_changes(rows)
    _keep_unsettled(unsettled)
    sightings.record_all([(item.mac, item.observation) for item in strangers])
    return {
        # What belongs to a former life was written above and is not to be written again.
        mac: [item for item in waiting[mac] if item.device_id in (None, devices[mac].id)]
        for mac in lost
    }


def _read(macs: Iterable[str]) -> dict[str, _Known]:
    known = {}
    for row in Device.objects.filter(mac__in=list(macs)).values_list(*_COLUMNS):
        clock = Clock(row[9], row[10], row[11]) if row[9] is not None else None
        standing = Standing(_STATES[row[6]], row[7], clock, row[8], *row[12:17])
        known[row[0]] = _Known(row[1], row[2], row[3], _belief(row[4], row[17], row[18]), row[5], standing, standing)
    return known


@cache
def _belief(unproven: str | None, identity: str | None, accepts_expired: bool | None) -> Belief:
    """What the profile of a phone believes; without one, what a new profile does."""
    return Belief(
        hearsay=unproven == UnprovenEvidence.APPLY,
        strangers=unproven != UnprovenEvidence.RECORD_ALL,
        expired=bool(accepts_expired),
        token=identity == IdentityDemand.REQUIRED,
    )


def _hold(device_ids: set[int]) -> set[int]:
    """Lock devices until the transaction ends, in one order; gives those that are still there."""
    if not device_ids:
        return set()
    held = Device.objects.select_for_update(no_key=True).filter(pk__in=device_ids).order_by("pk")
    return set(held.values_list("pk", flat=True))


def _judge(known: _Known, item: Evidence, *, at: datetime) -> None:
    mac, observation = item.mac, item.observation
    if item.is_older_than(known.claimed_at):
        # What was said is nothing for the present owner's eyes, unless it was the present owner who said it.
        told = observation if item.device_id is not None else observation._replace(evidence={})
        telling = tell(known.standing, observation, 1)
        known.standing = telling.standing
        if telling.written:
            told = told._replace(evidence=_with_left_out(told, telling))
            known.rows.append(_row(known, mac, told, known.standing.state, known.standing.state, LATE, at=at))
        return
    observed: Observed = observe(known.standing, observation, at=at, belief=known.belief)
    if observed.unsettled:
        known.unsettled.append(observation)
        return
    telling = tell(observed.standing, observation, len(observed.records))
    known.standing = telling.standing
    if not telling.written:
        return
    evidence = bulkwrites.json_text(_with_left_out(observation, telling))
    clock_at, source = observation.clock.at, observation.source
    for record in observed.records:
        known.rows.append(
            ChangeRow(
                known.id,
                known.organization_id,
                mac,
                clock_at,
                at,
                record.event,
                record.before,
                record.after,
                record.inferred,
                record.refused,
                source,
                "{}" if record.inferred else evidence,
            )
        )


def _with_left_out(observation: Observation, telling: Told) -> Mapping[str, object]:
    evidence = observation.evidence
    return {**evidence, LEFT_OUT: telling.left_out} if telling.left_out else evidence


def _row(
    known: _Known,
    mac: str,
    observation: Observation,
    before: CustomizationState,
    after: CustomizationState,
    refused: str,
    *,
    at: datetime,
) -> ChangeRow:
    evidence = bulkwrites.json_text(observation.evidence)
    return ChangeRow(
        known.id,
        known.organization_id,
        mac,
        observation.clock.at,
        at,
        observation.event,
        before,
        after,
        False,
        refused,
        observation.source,
        evidence,
    )


def _former_rows(items: list[Evidence], *, at: datetime) -> list[ChangeRow]:
    """Rows in the history of the former owners.

    An owner that this registry does not know (it was restored from before that owner's time) has no history here.
    """
    if not items:
        return []
    owners = {item.organization_id for item in items if item.organization_id is not None}
    present = set(Organization.objects.filter(pk__in=owners).values_list("pk", flat=True))
    return [_former_row(item, at=at) for item in items if item.organization_id in present]


def _former_row(item: Evidence, *, at: datetime) -> ChangeRow:
    observation = item.observation
    return ChangeRow(
        item.device_id or 0,
        item.organization_id or 0,
        item.mac,
        observation.clock.at,
        at,
        observation.event,
        "",
        "",
        False,
        RELEASED,
        observation.source,
        bulkwrites.json_text(observation.evidence),
    )


def _write(known: _Known, *, at: datetime) -> DeviceWrite:
    standing, seen = known.standing, known.seen
    clock = standing.evidence
    return DeviceWrite(
        known.id,
        known.revision,
        seen.state.value,
        standing.state.value,
        standing.since,
        standing.last_seen,
        clock.at if clock else None,
        clock.machine if clock else "",
        clock.sequence if clock else 0,
        standing.resets,
        standing.resets_since,
        standing.told,
        standing.untold,
        standing.told_since,
        at,
    )


def _keep_unsettled(unsettled: list[tuple[int, Observation]]) -> None:
    UnsettledObservation.objects.bulk_create(
        [
            UnsettledObservation(
                device_id=device_id,
                event=observation.event.value,
                at=observation.clock.at,
                machine=observation.clock.machine,
                sequence=observation.clock.sequence,
                source=observation.source,
                hearsay=observation.hearsay,
                evidence=orjson.loads(bulkwrites.json_text(observation.evidence)),
            )
            for device_id, observation in unsettled
        ]
    )


def settle(*, at: datetime, limit: int = 1000) -> int:
    """Try all unsettled evidence again, oldest first, in transactions of `limit` rows; gives how many were tried.

    What is still illegal and young waits on, in a new row of the same content; what is older than the settling time is
    written to the history as refused.
    """
    newest = UnsettledObservation.objects.order_by("-id").values_list("pk", flat=True).first() or 0
    tried = 0
    while count := _settle_some(newest, at=at, limit=limit):
        tried += count
    return tried


@transaction.atomic
def _settle_some(newest: int, *, at: datetime, limit: int) -> int:
    """Try the oldest rows up to the id `newest`: a row that waits on gets a higher one, so each is tried once."""
    older = UnsettledObservation.objects.select_related("device").filter(pk__lte=newest)
    waiting = list(older.order_by("at", "id")[:limit])
    if not waiting:
        return 0
    # As a release does: first the device, then what waits for it.
    _hold({row.device_id for row in waiting})
    deleted, _ = UnsettledObservation.objects.filter(pk__in=[row.pk for row in waiting]).delete()
    if deleted != len(waiting):
        # Another worker settles the same rows: it has them.
        transaction.set_rollback(True)
        return 0
    record_all(
        [
            Evidence(
                row.device.mac,
                Observation(
                    Event(row.event), Clock(row.at, row.machine, row.sequence), row.source, row.evidence, row.hearsay
                ),
                row.device_id,
                row.device.organization_id,
            )
            for row in waiting
        ],
        at=at,
    )
    return len(waiting)


def flag_stalled(*, at: datetime, limit: int = 5000) -> int:
    """Mark phones that are Custom Pending for longer than their profile allows; gives how many were marked.

    A phone with a target of its own and no profile is measured by STALLED_AFTER_MINUTES. Of a profile that expects no
    confirmation no phone is stalled. The mark goes with the next change of state.
    """
    waiting = Device.objects.filter(
        state=CustomizationState.CUSTOM_PENDING.value,
        stalled_at=None,
        # No allowance is shorter; also keeps out a phone that leaves the state and reaches it anew meanwhile.
        state_since__lte=at - timedelta(minutes=1),
    ).exclude(profile__confirm=Confirm.NONE.value)
    allowed = Coalesce("profile__stalled_after_minutes", STALLED_AFTER_MINUTES)
    # Annotated first: inside a filter Django would join by INNER and lose the phones without a profile.
    measured = waiting.annotate(latest=_MinutesBefore(Value(at, output_field=DateTimeField()), allowed))
    due = measured.filter(state_since__lte=F("latest"))
    return waiting.filter(pk__in=list(due.values_list("pk", flat=True)[:limit])).update(stalled_at=at, changed_at=at)


class _MinutesBefore(Func):
    """A time less so many minutes out of a column: one query whatever allowances there are. SQLite has no intervals."""

    output_field = DateTimeField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "(%(expressions)s * interval '1 minute')"
        return self.as_sql(compiler, connection, template=template, arg_joiner=" - ", **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "strftime('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', %(expressions)s || ' minutes')"
        return self.as_sql(compiler, connection, template=template, arg_joiner=", -", **context)
