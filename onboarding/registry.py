"""What can be done with a device's registration: claim, change, associate, adopt, release. Each records who did it.

Every verb checks everything before it writes anything, writes in one transaction, and leaves a history row.

A device is proven when its owner claimed it, and unproven when its MAC was only said by a phone that used one of the
owner's codes. Anybody can say any MAC, so an unproven device stands in nobody's way: whoever claims or adopts it next
takes it over, and its former owner reads in the history that it was released.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from threading import Lock

from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from accounts import auditing, statements
from accounts.actors import Actor
from accounts.models import Organization
from accounts.statements import Statement
from onboarding import bulkwrites, search, targets
from onboarding.bulkwrites import ChangeRow
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import Device, RedirectProfile, Sighting, UnsettledObservation
from onboarding.observations import RELEASED
from onboarding.search import Label
from onboarding.states import CustomizationState, Event
from onboarding.targets import Addresses

# Events of the registration, beside those of the phone.
CLAIMED, CHANGED, DISOWNED = "claimed", "changed", "released"

MAX_LABEL_LENGTH = 120

# Who ends the life of a device that another organization took over.
REGISTRY = Actor("registry", "registry")

# Looks at a device that others claim and release all the while, before it counts as taken.
_ROUNDS = 5

# Unproven devices of one profile, at most: whoever knows its code could invent 2^47 of them.
MOST_UNPROVEN = 10_000


class DeviceTaken(OnboardingError):
    """Another organization has claimed the device. Which one is told to nobody."""

    code = "device_taken"
    remedy = "Check the MAC on the phone's label. If it is right, ask the seller to have the former owner release it."


class ProfileFull(OnboardingError):
    """The profile has as many unproven devices as one may have."""

    code = "profile_full"
    remedy = "Claim the devices that are really yours, and release the others."


class InvalidDevice(OnboardingError):
    """A field of the registration has a value that it cannot have."""

    code = "invalid_device"
    remedy = "Correct the field and send it again."


class ProfileNotYours(OnboardingError):
    """The organization has no such profile."""

    code = "unknown_profile"
    remedy = "Give the id of one of your own profiles."


class DeviceGone(OnboardingError):
    """The device was released, or claimed anew, while this was under way."""

    code = "not_found"
    remedy = "Look the device up again."


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFields:
    """What an owner says about a device. `profile` must be the owner's own."""

    model: ModelName
    serial: SerialNumber | None = None
    label: str = ""
    profile: RedirectProfile | None = None
    target: str = ""
    valid_from: datetime | None = None
    valid_until: datetime | None = None


def put(
    *,
    actor: Actor,
    organization: Organization,
    mac: MacAddress,
    values: DeviceFields,
    own: Addresses,
    at: datetime,
    held: Device | None = None,
) -> tuple[Device, bool]:
    """Claim the device, or set all fields of one's own; gives it and whether it was claimed. Idempotent.

    One's own unproven device becomes a proven one, another organization's is taken over. `held` is one's own as the
    caller read it under its lock, in the present transaction. Raises DeviceTaken, InvalidDevice, ProfileNotYours, and
    what `targets` raises.
    """
    columns = _columns(organization, values, own=own)
    if held is not None:
        return _write_change(held, {**columns, "proven": True}, actor=actor, at=at), False
    for _ in range(_ROUNDS):
        present = Device.objects.filter(mac=str(mac)).first()
        if present is None:
            claimed = _claim(actor=actor, organization=organization, mac=mac, columns=columns, at=at)
            if claimed is not None:
                return claimed, True
            # Somebody claimed it at the same moment: perhaps this organization itself, by a repeated request.
        elif present.organization_id != organization.pk:
            if present.proven:
                break
            taken = _take_over(
                actor=actor, organization=organization, mac=mac, columns={**columns, "proven": True}, at=at
            )
            if taken is not None:
                return taken, True
        else:
            try:
                return _change(actor=actor, device=present, columns={**columns, "proven": True}, at=at), False
            except DeviceGone:
                continue  # Released at the same moment, so it can be claimed.
    raise DeviceTaken(f"{mac} is registered by another organization.", field="mac")


def claim(
    *, actor: Actor, organization: Organization, mac: MacAddress, values: DeviceFields, own: Addresses, at: datetime
) -> Device:
    """Claim a device that nobody has proven; one's own proven device is refused too. Raises as `put` does."""
    columns = {**_columns(organization, values, own=own), "proven": True}
    for _ in range(_ROUNDS):
        device = _claim(actor=actor, organization=organization, mac=mac, columns=columns, at=at)
        if device is not None:
            return device
        present = Device.objects.filter(mac=str(mac)).first()
        if present is None:
            continue
        if present.organization_id == organization.pk:
            if present.proven:
                raise InvalidDevice(f"{mac} is registered already; change it instead.", field="mac")
            with suppress(DeviceGone):
                return _change(actor=actor, device=present, columns=columns, at=at)
        elif present.proven:
            break
        else:
            device = _take_over(actor=actor, organization=organization, mac=mac, columns=columns, at=at)
            if device is not None:
                return device
    raise DeviceTaken(f"{mac} is registered by another organization.", field="mac")


def adopt(
    *,
    actor: Actor,
    organization: Organization,
    mac: MacAddress,
    model: str,
    serial: str,
    profile: RedirectProfile,
    proven: bool,
    at: datetime,
    label: str = "",
) -> Device:
    """Make the phone that used a code of `profile` a device of this organization. Idempotent.

    `model`, `serial` and `label` are in their normal forms or empty. A device that nobody proved is taken over; one's
    own gets the profile and stays proven if it was. Raises DeviceTaken (proven by another organization), ProfileFull,
    ProfileNotYours, DeviceGone. Costs a count of up to MOST_UNPROVEN index entries for a new unproven device.
    """
    _check_profile(organization, profile)
    said = {"model": model, "serial": serial, "label": label}
    columns = {**said, "profile_id": profile.pk, "proven": proven}
    for _ in range(_ROUNDS):
        present = Device.objects.filter(mac=str(mac)).first()
        if present is not None and present.organization_id == organization.pk:
            # What the owner wrote down is worth more than what the phone says.
            news: dict[str, object] = {
                name: value for name, value in said.items() if value and not getattr(present, name)
            }
            news["profile_id"] = profile.pk
            if proven:
                news["proven"] = True
            with suppress(DeviceGone):
                return _change(actor=actor, device=present, columns=news, at=at)
            continue
        if present is not None and present.proven:
            break
        if not proven:
            check_room(profile)
        take = _claim if present is None else _take_over
        device = take(actor=actor, organization=organization, mac=mac, columns=columns, at=at)
        if device is not None:
            return device
    raise DeviceTaken(f"{mac} is registered by another organization.", field="mac")


class _Room:
    """How many more unproven devices each profile may surely take, as this process counted.

    Counting reads up to MOST_UNPROVEN index entries, too many for each phone. A hundredth of the room that was found
    is used without counting again, for a minute at most: so many too many there may be for each process.
    """

    _KEPT_SECONDS = 60.0
    _MOST_PROFILES = 10_000

    def __init__(self) -> None:
        self._left: dict[tuple[int, int], tuple[int, float]] = {}
        self._lock = Lock()

    def take(self, profile_id: int) -> bool:
        """Whether the profile may have one more."""
        key, now = (profile_id, MOST_UNPROVEN), time.monotonic()
        with self._lock:
            left, until = self._left.get(key, (0, 0.0))
            if left and now < until:
                self._left[key] = (left - 1, until)
                return True
        unproven = Device.objects.filter(profile_id=profile_id, proven=False)
        # Counts no further than there may be.
        room = MOST_UNPROVEN - unproven.order_by()[:MOST_UNPROVEN].count()
        with self._lock:
            if len(self._left) >= self._MOST_PROFILES:
                self._left.clear()
            self._left[key] = (room // 100, now + self._KEPT_SECONDS)
        return room > 0


_room = _Room()


def check_room(profile: RedirectProfile) -> None:
    """Take room for one more unproven device. Raises ProfileFull."""
    if not _room.take(profile.pk):
        raise ProfileFull(f"The profile {profile.name!r} has {MOST_UNPROVEN} unproven devices, the most it may have.")


def change(*, actor: Actor, device: Device, values: DeviceFields, own: Addresses, at: datetime) -> Device:
    """Set all fields of a device. Raises DeviceGone, InvalidDevice, ProfileNotYours, and what `targets` raises."""
    return _change(actor=actor, device=device, columns=_columns(device.organization, values, own=own), at=at)


def associate(*, actor: Actor, device: Device, profile: RedirectProfile | None, at: datetime) -> Device:
    """Give a device another profile, or none. Raises DeviceGone, ProfileNotYours."""
    _check_profile(device.organization, profile)
    return _change(actor=actor, device=device, columns={"profile_id": profile.pk if profile else None}, at=at)


@transaction.atomic
def release(*, actor: Actor, device: Device, at: datetime) -> None:
    """End the device's life with its owner; anybody may claim it then. Raises DeviceGone."""
    # Locked, so that no evidence is applied between the last history row and the end.
    held = Device.objects.select_for_update().filter(pk=device.pk, organization=device.organization).first()
    if held is None:
        raise DeviceGone(f"{device.mac} is not registered any more.")
    _end(held, actor, {}, at=at)


def _end(held: Device, actor: Actor, details: Mapping[str, object], *, at: datetime) -> None:
    """Write the last rows of a device's life and delete it. The caller holds its lock."""
    rows = [
        ChangeRow(
            held.pk, held.organization_id, held.mac, waiting.at, at, waiting.event, held.state, held.state,
            False, RELEASED, waiting.source, bulkwrites.json_text(waiting.evidence),
        )
        for waiting in UnsettledObservation.objects.filter(device=held).order_by("at", "id")
    ]  # fmt: skip
    bulkwrites.insert_changes([*rows, _own_row(held, DISOWNED, actor, details, at=at)])
    _audit(actor, held, DISOWNED, details, {}, at=at)
    search.delete_words([_label(held)])
    held.delete()


def _take_over(
    *, actor: Actor, organization: Organization, mac: MacAddress, columns: Mapping[str, object], at: datetime
) -> Device | None:
    """End the unproven device's life with another organization and begin one here; None where it is so no more."""
    with transaction.atomic():
        # Read anew under the lock: it may have been proven a moment ago.
        held = Device.objects.select_for_update().filter(mac=str(mac), proven=False).first()
        if held is None or held.organization_id == organization.pk:
            return None
        # Who has it now is nothing for the former owner's eyes.
        _end(held, REGISTRY, {"reason": "taken_over"}, at=at)
        device = _claim(actor=actor, organization=organization, mac=mac, columns=columns, at=at)
        if device is None:
            transaction.set_rollback(True)
        return device


def owned(macs: Iterable[MacAddress], organization: Organization) -> dict[MacAddress, bool]:
    """Which of these devices are claimed, and whether by this organization. By whom else is told to nobody.

    Another organization's unproven device is as good as free.
    """
    claimed = Device.objects.filter(Q(proven=True) | Q(organization=organization), mac__in=[str(mac) for mac in macs])
    rows = claimed.values_list("mac", "organization_id")
    return {MacAddress.parse(mac): owner == organization.pk for mac, owner in rows}


def _columns(organization: Organization, values: DeviceFields, *, own: Addresses) -> dict[str, object]:
    """Check the fields and give them as columns."""
    _check_profile(organization, values.profile)
    check_window(values.valid_from, values.valid_until)
    return {
        "model": str(values.model),
        "serial": str(values.serial or ""),
        "label": checked_label(values.label),
        "profile_id": values.profile.pk if values.profile else None,
        "target": targets.parse(values.target, own=own).text if values.target else "",
        "valid_from": values.valid_from,
        "valid_until": values.valid_until,
    }


def checked_label(text: str) -> str:
    """The label in its normal form. Raises InvalidDevice."""
    label = text.strip()
    if len(label) > MAX_LABEL_LENGTH or not label.isprintable():
        raise InvalidDevice(f"A label has at most {MAX_LABEL_LENGTH} printable characters.", field="label")
    return label


def check_window(valid_from: datetime | None, valid_until: datetime | None) -> None:
    """Raises InvalidDevice where the window could never be open."""
    if valid_from is not None and valid_until is not None and valid_from >= valid_until:
        raise InvalidDevice("The window must open before it closes.", field="valid_until")


def _check_profile(organization: Organization, profile: RedirectProfile | None) -> None:
    if profile is not None and profile.organization_id != organization.pk:
        raise ProfileNotYours("There is no such profile.", field="profile")


def _claim(
    *, actor: Actor, organization: Organization, mac: MacAddress, columns: Mapping[str, object], at: datetime
) -> Device | None:
    """Insert the device, its life beginning with what was seen of it before; None where the MAC is taken."""
    try:
        with transaction.atomic():
            sighting = Sighting.objects.select_for_update().filter(mac=str(mac)).first()
            device = new_device(organization.pk, mac, columns, sighting, at=at)
            device.save(force_insert=True)
            search.write_words([_label(device)])
            bulkwrites.insert_changes(first_rows(device, sighting, columns, actor=actor, at=at))
            _audit(actor, device, CLAIMED, {}, printed(columns), at=at)
            if sighting:
                sighting.delete()
            return device
    except IntegrityError:
        if Device.objects.filter(mac=str(mac)).exists():
            return None
        _check_profile_is_there(columns)
        raise


def new_device(
    organization_id: int, mac: MacAddress, columns: Mapping[str, object], sighting: Sighting | None, *, at: datetime
) -> Device:
    """The device as a claim at `at` begins it; not written. Its life begins with what was seen of the phone before."""
    standing: dict[str, object] = {"state": "open", "state_since": at}
    if sighting:
        standing = {"state": "unavailable", "state_since": sighting.last_at, "last_seen": sighting.last_at}
    return Device(
        organization_id=organization_id, mac=str(mac), claimed_at=at, changed_at=at, **(standing | dict(columns))
    )


def first_rows(
    device: Device, sighting: Sighting | None, columns: Mapping[str, object], *, actor: Actor, at: datetime
) -> list[ChangeRow]:
    """The history rows with which a claimed device begins."""
    seen = [sighting_row(device, sighting, at=at)] if sighting else []
    return [*seen, _own_row(device, CLAIMED, actor, printed(columns), at=at)]


def _change(*, actor: Actor, device: Device, columns: Mapping[str, object], at: datetime) -> Device:
    try:
        with transaction.atomic():
            return _write_change(_hold(device), columns, actor=actor, at=at)
    except IntegrityError:
        _check_profile_is_there(columns)
        raise


def _hold(device: Device) -> Device:
    """The device as it is now, locked: the history tells before and after, which must be of one moment."""
    mine = Device.objects.select_for_update().filter(pk=device.pk, organization_id=device.organization_id)
    present: Device | None = mine.first()
    if present is None:
        raise DeviceGone(f"{device.mac} is not registered any more.")
    return present


def _check_profile_is_there(columns: Mapping[str, object]) -> None:
    """After a failed write: whether the profile was deleted at the same moment."""
    profile_id = columns.get("profile_id")
    if isinstance(profile_id, int) and not RedirectProfile.objects.filter(pk=profile_id).exists():
        raise ProfileNotYours("There is no such profile.", field="profile")


def _write_change(present: Device, columns: Mapping[str, object], *, actor: Actor, at: datetime) -> Device:
    """Set these columns of a device whose lock the caller holds, and tell of it."""
    changes = {name: value for name, value in columns.items() if getattr(present, name) != value}
    if not changes:
        return present
    before = {name: getattr(present, name) for name in changes}
    details = {"before": printed(before), "after": printed(changes)}
    with statements.together():
        statements.write(_update(tuple(changes)), [*changes.values(), at, present.pk])
        bulkwrites.insert_changes([_own_row(present, CHANGED, actor, details, at=at)])
        _audit(actor, present, CHANGED, details["before"], details["after"], at=at)
        if "label" in changes:
            search.delete_words([_label(present)])
        for name, value in changes.items():
            setattr(present, name, value)
        if "label" in changes:
            search.write_words([_label(present)])
    present.changed_at = at
    return present


@cache
def _update(names: tuple[str, ...]) -> Statement:
    kinds = {field.attname: str(field.db_type(connection)) for field in Device._meta.concrete_fields}
    written = (*names, "changed_at")
    return Statement.of(
        f"UPDATE onboarding_device SET {', '.join(f'{name} = %s' for name in written)} WHERE id = %s",  # noqa: S608  (our own columns)
        [*(kinds[name] for name in written), "bigint"],
    )


def _audit(
    actor: Actor,
    device: Device,
    event: str,
    before: Mapping[str, object],
    after: Mapping[str, object],
    *,
    at: datetime,
) -> None:
    """Leave the audit's entry, if somebody did it: what phones do, the history tells."""
    if actor.is_somebody:
        auditing.record(
            actor, organization_id=device.organization_id, action=f"device.{event}", subject=f"device {device.mac}",
            thing=f"device:{device.mac}", before=before, after=after, at=at,
        )  # fmt: skip


def printed(columns: Mapping[str, object]) -> dict[str, object]:
    """Columns as the history shows them: set ones only, times as text."""
    return {
        name.removesuffix("_id"): value.isoformat() if isinstance(value, datetime) else value
        for name, value in columns.items()
        if value not in ("", None)
    }


def _label(device: Device) -> Label:
    return Label(device.organization_id, device.pk, device.label)


def _own_row(device: Device, event: str, actor: Actor, details: Mapping[str, object], *, at: datetime) -> ChangeRow:
    evidence = bulkwrites.json_text({"by": actor.name, **details})
    return ChangeRow(
        device.pk or 0, device.organization_id, device.mac, at, at, event, device.state, device.state,
        False, "", actor.source, evidence,
    )  # fmt: skip


def sighting_row(device: Device, sighting: Sighting, *, at: datetime) -> ChangeRow:
    evidence = {
        "first": sighting.first_at.isoformat(),
        "last": sighting.last_at.isoformat(),
        "count": sighting.count,
        "model": sighting.model,
        "serial": sighting.serial,
        "firmware": sighting.firmware,
    }
    return ChangeRow(
        device.pk or 0, device.organization_id, device.mac, sighting.last_at, at, Event.NOT_FOUND.value,
        CustomizationState.OPEN.value, CustomizationState.UNAVAILABLE.value,
        False, "", "sighting", bulkwrites.json_text(evidence),
    )  # fmt: skip
