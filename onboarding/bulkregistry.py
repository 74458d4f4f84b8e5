"""`registry`'s verbs for thousands of devices at once: put, assign, release, and restoring what an operation changed.

The rules are the registry's, and the history rows are the same but for `operation` in their evidence, and `before` in
those of a release, so that it can be undone. Each call is a few statements whatever its size. It belongs into a
transaction of the caller, who also sees to it that no MAC is in it twice.

With `dry_run` the very same is decided, and not written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.db import connection
from django.db.models import BooleanField, Max, Q
from django.db.models.expressions import RawSQL
from django.utils.dateparse import parse_datetime

from accounts.actors import Actor
from onboarding import bulkwrites, registry, search
from onboarding.bulkwrites import ChangeRow
from onboarding.errors import OnboardingError
from onboarding.models import Device, RedirectProfile, Sighting, StateChange, UnsettledObservation
from onboarding.observations import RELEASED
from onboarding.search import Label

# The columns of a registration, and what a claim that does not name them sets.
DEFAULTS: Mapping[str, object] = {
    "model": "",
    "serial": "",
    "label": "",
    "profile_id": None,
    "target": "",
    "valid_from": None,
    "valid_until": None,
}

# Looks at devices that others claim and release all the while, before they count as taken.
_ROUNDS = 5

_REGISTRATION_EVENTS = (registry.CLAIMED, registry.CHANGED, registry.DISOWNED)


class Wish(NamedTuple):
    """What a device is to be: columns in their normal forms; those that are not named stay as they are."""

    mac: str
    columns: Mapping[str, object]


class Former(NamedTuple):
    """What an operation did to a device: `created`, `changed` or `released` it."""

    mac: str
    device_id: int
    did: str


class Outcome(NamedTuple):
    """What became of a row: `created`, `changed`, `unchanged`, `released`, or `failed` with code and sentence.

    `device_id` is that of the device that was written, or 0.
    """

    status: str
    code: str = ""
    detail: str = ""
    device_id: int = 0


UNCHANGED = Outcome("unchanged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Who does it, as which operation, for whom, when; and whether anything is written.

    `reverts` is the operation that this one undoes.
    """

    actor: Actor
    organization_id: int
    operation_id: int
    at: datetime
    dry_run: bool = False
    reverts: int | None = None

    def row(
        self, device: "_Held", event: str, details: Mapping[str, object], *, actor: Actor | None = None
    ) -> ChangeRow:
        """A history row as the registry writes it."""
        by = actor or self.actor
        named: dict[str, object] = {"by": by.name}
        if actor is None:
            named["operation"] = self.operation_id
            if self.reverts is not None:
                named["reverts"] = self.reverts
        return ChangeRow(
            device.id, device.organization_id, device.mac, self.at, self.at, event, device.state, device.state,
            False, "", by.source, bulkwrites.json_text({**named, **details}),
        )  # fmt: skip


class _Held(NamedTuple):
    """A device as it was read, under its lock where something is written."""

    id: int
    mac: str
    organization_id: int
    proven: bool
    state: str
    model: str
    serial: str
    label: str
    profile_id: int | None
    target: str
    valid_from: datetime | None
    valid_until: datetime | None


@dataclass(slots=True)
class _Round:
    """What one look at the devices decided."""

    claims: list[tuple[int, str, dict[str, object]]] = field(default_factory=list)
    taken_over: list[_Held] = field(default_factory=list)
    changes: list[tuple[int, _Held, dict[str, object]]] = field(default_factory=list)
    ends: list[tuple[int, _Held]] = field(default_factory=list)


def put_all(wishes: Sequence[Wish], *, run: Run) -> list[Outcome]:
    """Claim each device, or change one's own; one outcome a wish, in order.

    One's own unproven devices become proven, others' are taken over. A new device needs a model.
    """
    outcomes: dict[int, Outcome] = {}
    # In one order everywhere, so that two operations on the same phones rarely wait for each other in a circle.
    waiting = sorted(range(len(wishes)), key=lambda index: wishes[index].mac)
    for _ in range(_ROUNDS):
        if not waiting:
            break
        waiting = _put_round(wishes, waiting, outcomes, run=run)
    for index in waiting:
        outcomes[index] = _taken(wishes[index].mac)
    return [outcomes[index] for index in range(len(wishes))]


def _put_round(wishes: Sequence[Wish], waiting: Sequence[int], outcomes: dict[int, Outcome], *, run: Run) -> list[int]:
    """Decide and write once; gives the wishes whose devices somebody else took or gave up at the same moment."""
    macs = [wishes[index].mac for index in waiting]
    foreign = _foreign(macs, run=run)
    present = _hold(macs, run=run)
    decided = _Round()
    for index in waiting:
        mac, columns = wishes[index]
        held = present.get(mac)
        if held is None and mac in foreign:
            outcomes[index] = _taken(mac)
        elif held is not None and held.organization_id == run.organization_id:
            changes = _differences(held, {**columns, "proven": True})
            if problem := _window_problem(held, columns):
                outcomes[index] = problem
            elif changes:
                decided.changes.append((index, held, changes))
            else:
                outcomes[index] = UNCHANGED
        elif "model" not in columns:
            outcomes[index] = Outcome("failed", "invalid_model", "A new device needs its model; this row names none.")
        elif problem := _window_problem(None, columns):
            outcomes[index] = problem
        else:
            full = {**DEFAULTS, **columns}
            if held is not None:
                decided.taken_over.append(held)
                # As the registry has it: who takes over proves it in the same breath, and the history says so.
                full["proven"] = True
            decided.claims.append((index, mac, full))
    _end([(held, registry.REGISTRY, {"reason": "taken_over"}) for held in decided.taken_over], run=run)
    made = _claim(decided.claims, run=run)
    again = []
    for index, mac, _ in decided.claims:
        if mac in made:
            outcomes[index] = Outcome("created", device_id=made[mac])
        else:
            again.append(index)
    _change([(held, changes) for _, held, changes in decided.changes], run=run)
    for index, held, _ in decided.changes:
        outcomes[index] = Outcome("changed", device_id=held.id)
    return again


def assign_all(wishes: Sequence[Wish], *, run: Run) -> list[Outcome]:
    """Give each of one's own devices the profile that its wish names, and nothing else; one outcome a wish."""
    present = _hold([wish.mac for wish in wishes], run=run)
    outcomes, changed = [], []
    for mac, columns in wishes:
        held = present.get(mac)
        if held is None or held.organization_id != run.organization_id:
            outcomes.append(_not_yours(mac))
            continue
        changes = _differences(held, {"profile_id": columns["profile_id"]})
        if changes:
            changed.append((held, changes))
        outcomes.append(Outcome("changed", device_id=held.id) if changes else UNCHANGED)
    _change(changed, run=run)
    return outcomes


def release_all(macs: Sequence[str], *, run: Run) -> list[Outcome]:
    """End the lives of one's own devices; one outcome a MAC."""
    present = _hold(macs, run=run)
    outcomes, ended = [], []
    for mac in macs:
        held = present.get(mac)
        if held is None or held.organization_id != run.organization_id:
            outcomes.append(_not_yours(mac))
            continue
        ended.append((held, run.actor, {"before": _registration(held)}))
        outcomes.append(Outcome("released", device_id=held.id))
    _end(ended, run=run)
    return outcomes


def restore_all(formers: Sequence[Former], *, run: Run) -> list[Outcome]:
    """Undo what the operation `run.reverts` did to each device, if its registration was not touched since.

    Touched means: a later row of its history is about the registration, or it has begun another life. What phones did
    meanwhile does not count. Devices that were created are released, changed ones get their former values, released
    ones are claimed again if nobody has them.
    """
    present = _hold([former.mac for former in formers], run=run)
    foreign = _foreign([former.mac for former in formers if former.did == "released"], run=run)
    last = _last_registrations([former.device_id for former in formers])
    outcomes: dict[int, Outcome] = {}
    decided = _Round()
    profiles = _Profiles(run.organization_id)
    for index, (mac, device_id, did) in enumerate(formers):
        held = present.get(mac)
        mine = held is not None and held.organization_id == run.organization_id
        evidence = last.get(device_id, {})
        untouched = evidence.get("operation") == run.reverts
        if did == "released":
            if mac in foreign:
                outcomes[index] = _taken(mac)
            elif mine or not untouched:
                outcomes[index] = _touched(mac)
            else:
                columns = {**DEFAULTS, **_columns_of(evidence.get("before", {})), "proven": True}
                if held is not None:
                    decided.taken_over.append(held)
                decided.claims.append((index, mac, columns))
        elif held is None or not mine or held.id != device_id or not untouched:
            outcomes[index] = _touched(mac)
        elif did == "created":
            decided.ends.append((index, held))
        else:
            before = _columns_of(evidence.get("before", {}))
            after = _columns_of(evidence.get("after", {}))
            former_values = {name: before.get(name, DEFAULTS.get(name)) for name in {**before, **after}}
            decided.changes.append((index, held, former_values))
    for index, _, columns in [*decided.claims, *((i, "", c) for i, _, c in decided.changes)]:
        if not profiles.has(columns.get("profile_id")):
            outcomes[index] = Outcome("failed", "unknown_profile", "The profile that it had is not there any more.")
    decided.claims = [claim for claim in decided.claims if claim[0] not in outcomes]
    claimed = {mac for _, mac, _ in decided.claims}
    taken = [held for held in decided.taken_over if held.mac in claimed]
    _end([(held, registry.REGISTRY, {"reason": "taken_over"}) for held in taken], run=run)
    made = _claim(decided.claims, run=run)
    for index, mac, _ in decided.claims:
        outcomes[index] = Outcome("created", device_id=made[mac]) if mac in made else _taken(mac)
    changed = [(index, held, values) for index, held, values in decided.changes if index not in outcomes]
    _change([(held, values) for _, held, values in changed], run=run)
    outcomes |= {index: Outcome("changed", device_id=held.id) for index, held, _ in changed}
    _end([(held, run.actor, {"before": _registration(held)}) for _, held in decided.ends], run=run)
    outcomes |= {index: Outcome("released", device_id=held.id) for index, held in decided.ends}
    return [outcomes[index] for index in range(len(formers))]


class _Profiles:
    """Whether the organization still has a profile, asked once for each."""

    def __init__(self, organization_id: int) -> None:
        self._organization_id = organization_id
        self._known: dict[object, bool] = {None: True}

    def has(self, profile_id: object) -> bool:
        if profile_id not in self._known:
            assert isinstance(profile_id, int)
            found = RedirectProfile.objects.filter(pk=profile_id, organization_id=self._organization_id)
            self._known[profile_id] = found.exists()
        return self._known[profile_id]


# Reading


def _foreign(macs: Sequence[str], *, run: Run) -> set[str]:
    """Which of these other organizations have proven. Not locked: they are only refused."""
    theirs = Device.objects.filter(_one_of("onboarding_device", macs), proven=True).exclude(
        organization_id=run.organization_id
    )
    return set(theirs.values_list("mac", flat=True))


def _hold(macs: Sequence[str], *, run: Run) -> dict[str, _Held]:
    """One's own devices and those that nobody has proven, locked in the order in which evidence locks them."""
    rows = Device.objects.filter(
        _one_of("onboarding_device", macs), Q(organization_id=run.organization_id) | Q(proven=False)
    )
    if not run.dry_run:
        rows = rows.select_for_update().order_by("pk")
    return {row[1]: _Held._make(row) for row in rows.values_list(*_Held._fields)}


def _one_of(table: str, macs: Sequence[str]) -> RawSQL:
    """The condition that a row's MAC is one of these: as one parameter, not as thousands that are prepared each."""
    values = orjson.dumps(macs).decode()
    if _sqlite():
        found, given = f"{table}.mac IN (SELECT value FROM json_each(%s))", values  # noqa: S608  (our own tables)
    else:
        found, given = f"{table}.mac = ANY(%s::text[])", f"{{{values[1:-1]}}}"
    return RawSQL(found, [given], output_field=BooleanField())  # noqa: S611  (as above)


def _last_registrations(device_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The evidence of the last history row about each device's registration."""
    about = StateChange.objects.filter(device_id__in=list(device_ids), event__in=_REGISTRATION_EVENTS)
    newest = about.values("device_id").annotate(newest=Max("id")).values_list("newest", flat=True)
    rows = StateChange.objects.filter(pk__in=list(newest.order_by())).values_list("device_id", "evidence")
    return dict(rows)


# Deciding


def _differences(held: _Held, columns: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in columns.items() if getattr(held, name) != value}


def _window_problem(held: _Held | None, columns: Mapping[str, object]) -> Outcome | None:
    if "valid_from" not in columns and "valid_until" not in columns:
        return None
    opens = columns.get("valid_from", held.valid_from if held else None)
    closes = columns.get("valid_until", held.valid_until if held else None)
    try:
        registry.check_window(opens, closes)  # type: ignore[arg-type]  # columns in their normal forms
    except OnboardingError as error:
        return refused(error)
    return None


def refused(error: OnboardingError) -> Outcome:
    """The outcome of a row that a rule refuses."""
    return Outcome("failed", error.code, f"{error.detail} {error.remedy}".strip())


def _taken(mac: str) -> Outcome:
    return refused(registry.DeviceTaken(f"{mac} is registered by another organization."))


def _not_yours(mac: str) -> Outcome:
    return Outcome("failed", "not_found", f"{mac} is not among your devices.")


def _touched(mac: str) -> Outcome:
    return Outcome("failed", "touched_since", f"{mac} was changed, released or claimed since; it is left as it is.")


def _registration(held: _Held) -> dict[str, object]:
    """A device's registration as the history prints it."""
    columns = {name: getattr(held, name) for name in DEFAULTS}
    return registry.printed({**columns, "proven": held.proven})


def _columns_of(shown: Mapping[str, Any]) -> dict[str, object]:
    """Columns out of what the history printed."""
    columns: dict[str, object] = {}
    for name, value in shown.items():
        if name == "profile":
            columns["profile_id"] = value
        elif name in ("valid_from", "valid_until"):
            columns[name] = parse_datetime(value)
        elif name in DEFAULTS or name == "proven":
            columns[name] = value
    return columns


# Writing


def _claim(claims: Sequence[tuple[int, str, dict[str, object]]], *, run: Run) -> dict[str, int]:
    """Insert devices with the beginnings of their histories; gives the ids of those that nobody else had inserted."""
    if not claims or run.dry_run:
        return {mac: 0 for _, mac, _ in claims}
    macs = [mac for _, mac, _ in claims]
    sightings = {
        sighting.mac: sighting
        for sighting in Sighting.objects.select_for_update()
        .filter(_one_of("onboarding_sighting", macs))
        .order_by("mac")
    }
    rows = []
    for _, mac, columns in claims:
        sighting = sightings.get(mac)
        standing = ("unavailable", sighting.last_at, sighting.last_at) if sighting else ("open", run.at, None)
        rows.append((mac, *(columns[name] for name in DEFAULTS), *standing))
    made = _insert(rows, run=run)
    history = []
    for (_, mac, columns), row in zip(claims, rows, strict=True):
        if mac not in made:
            continue
        device = _Held(made[mac], mac, run.organization_id, True, row[8], *row[1:8])
        if mac in sightings:
            begun = Device(pk=made[mac], organization_id=run.organization_id, mac=mac)
            history.append(registry.sighting_row(begun, sightings[mac], at=run.at))
        history.append(run.row(device, registry.CLAIMED, registry.printed(columns)))
    bulkwrites.insert_changes(history)
    search.write_words(
        Label(run.organization_id, made[mac], str(columns["label"])) for _, mac, columns in claims if mac in made
    )
    if sightings:
        Sighting.objects.filter(pk__in=[row.pk for mac, row in sightings.items() if mac in made]).delete()
    return made


def _change(changes: Sequence[tuple[_Held, Mapping[str, Any]]], *, run: Run) -> None:
    if not changes or run.dry_run:
        return
    rows, history, old, new = [], [], [], []
    for held, values in changes:
        after = held._replace(**values)
        rows.append((held.id, *(getattr(after, name) for name in (*DEFAULTS, "proven"))))
        before = {name: getattr(held, name) for name in values}
        details = {"before": registry.printed(before), "after": registry.printed(values)}
        history.append(run.row(held, registry.CHANGED, details))
        if held.label != after.label:
            old.append(Label(run.organization_id, held.id, held.label))
            new.append(Label(run.organization_id, held.id, after.label))
    _update(rows, run=run)
    bulkwrites.insert_changes(history)
    search.delete_words(old)
    search.write_words(new)


def _end(ends: Sequence[tuple[_Held, Actor, Mapping[str, object]]], *, run: Run) -> None:
    """Write the last rows of devices' lives and delete them. Their locks are held."""
    if not ends or run.dry_run:
        return
    devices = {held.id: held for held, _, _ in ends}
    history = []
    waiting = UnsettledObservation.objects.filter(device_id__in=list(devices))
    for row in waiting.order_by("device_id", "at", "id"):
        held = devices[row.device_id]
        history.append(
            ChangeRow(
                held.id, held.organization_id, held.mac, row.at, run.at, row.event, held.state, held.state,
                False, RELEASED, row.source, bulkwrites.json_text(row.evidence),
            )
        )  # fmt: skip
    for held, actor, details in ends:
        # What the registry itself ends is none of this operation's in the eyes of the former owner.
        history.append(run.row(held, registry.DISOWNED, details, actor=None if actor is run.actor else actor))
    bulkwrites.insert_changes(history)
    search.delete_words(Label(held.organization_id, held.id, held.label) for held in devices.values())
    waiting.delete()
    # Past Django's collecting, which would read every device again; nothing else refers to them.
    rows = Device.objects.filter(pk__in=list(devices))
    rows._raw_delete(rows.db)


# Each database's fastest way

_TYPES = {
    "mac": "text",
    "model": "text",
    "serial": "text",
    "label": "text",
    "profile_id": "bigint",
    "target": "text",
    "valid_from": "timestamptz",
    "valid_until": "timestamptz",
    "state": "text",
    "state_since": "timestamptz",
    "last_seen": "timestamptz",
}
_UPDATED = {"id": "bigint", **{name: _TYPES[name] for name in DEFAULTS}, "proven": "boolean"}


def _insert(rows: Sequence[tuple[Any, ...]], *, run: Run) -> dict[str, int]:
    """Insert devices that are not there; gives MAC and id of those that were not."""
    same: dict[str, Any] = {
        "organization_id": run.organization_id,
        "proven": True,
        "claimed_at": _stored(run.at),
        "changed_at": _stored(run.at),
    }
    for column in Device._meta.concrete_fields:
        if not (column.primary_key or column.generated or column.attname in _TYPES or column.attname in same):
            same[column.attname] = column.get_default()
    table, values = _table(_TYPES, rows)
    statement = (
        f"INSERT INTO onboarding_device ({', '.join([*_TYPES, *same])})"  # noqa: S608  (names of our own columns)
        f" SELECT {', '.join([*(f'v.{name}' for name in _TYPES), *(['%s'] * len(same))])} FROM {table} AS v"
        " WHERE true ON CONFLICT DO NOTHING RETURNING mac, id"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*same.values(), values] if _sqlite() else [*same.values(), *values])
        return dict(cursor.fetchall())


def _update(rows: Sequence[tuple[Any, ...]], *, run: Run) -> None:
    table, values = _table(_UPDATED, rows)
    columns = [name for name in _UPDATED if name != "id"]
    statement = (
        f"UPDATE onboarding_device SET {', '.join(f'{name} = v.{name}' for name in columns)}, changed_at = %s"  # noqa: S608
        f" FROM {table} AS v WHERE onboarding_device.id = v.id"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [_stored(run.at), values] if _sqlite() else [_stored(run.at), *values])


def _sqlite() -> bool:
    return connection.vendor == "sqlite"


def _stored(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def _table(types: Mapping[str, str], rows: Sequence[tuple[Any, ...]]) -> tuple[str, Any]:
    """SQL for a table of these rows, and what goes into it."""
    if _sqlite():
        fields = ", ".join(f"value ->> {place} AS {name}" for place, name in enumerate(types))
        stored = [[_stored(value) if isinstance(value, datetime) else value for value in row] for row in rows]
        return f"(SELECT {fields} FROM json_each(%s))", orjson.dumps(stored).decode()  # noqa: S608  (as above)
    arrays = ", ".join(f"%s::{kind}[]" for kind in types.values())
    table = f"(SELECT * FROM unnest({arrays}) AS u ({', '.join(types)}))"  # noqa: S608  (as above)
    return table, [_array(column) for column in zip(*rows, strict=True)]


def _array(column: Sequence[object]) -> str:
    # JSON's numbers, nulls, times and quoted texts are those of an array too: no text here holds a control character.
    return f"{{{orjson.dumps(column).decode()[1:-1]}}}"
