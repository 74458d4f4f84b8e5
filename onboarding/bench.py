"""The in-house case: phones registered at the bench by the bar codes of their boxes, before they are shipped.

One box is one scan (a MAC, or a 2D code with all of it) or two (MAC and serial number, in any order). `take` says what
a scan makes of the box that is begun; `register` and `undo` change the registry.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction

from accounts.actors import Actor
from accounts.tenancy import Viewer
from onboarding import registry
from onboarding.barcodes import Scan
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import Device, RedirectProfile
from onboarding.registry import DeviceFields, DeviceTaken
from onboarding.targets import Addresses


class SerialMissing(OnboardingError):
    """The next box was begun before the serial number of the last was scanned."""

    code = "serial_missing"
    remedy = "Scan both bar codes of that box again, then go on with this one."


class ModelMissing(OnboardingError):
    """Nobody said which model the phone is."""

    code = "model_missing"
    remedy = "Type the model, as CP-8841-3PCC, and scan the box again."


class NotAsItWas(OnboardingError):
    """Something happened to the device since it was scanned."""

    code = "not_as_it_was"
    remedy = "Open its page to see what, and release it there."


@dataclass(frozen=True, slots=True)
class Box:
    """What was scanned of one box so far."""

    mac: MacAddress | None = None
    serial: SerialNumber | None = None
    model: ModelName | None = None


def take(box: Box, scan: Scan, *, with_serial: bool) -> tuple[Box, bool]:
    """The box after one more scan, and whether it is whole. `with_serial`: a box has a serial number to be scanned too.

    Raises SerialMissing where the scan is another box's MAC.
    """
    mac, serial = scan.mac, scan.serial
    # Of two texts in a MAC's form the second is the serial number, but for the next phone of the same maker.
    if with_serial and box.mac and mac and scan.may_be_serial and mac.number >> 24 != box.mac.number >> 24:
        mac, serial = None, scan.may_be_serial
    if with_serial and box.mac and mac and mac != box.mac:
        raise SerialMissing(f"The serial number of {box.mac.colons} was not scanned, so it is not registered.")
    box = Box(mac or box.mac, serial or box.serial, scan.model or box.model)
    return box, box.mac is not None and (box.serial is not None or not with_serial)


@dataclass(frozen=True, slots=True)
class Before:
    """What a device of one's own had before it was scanned."""

    profile_id: int | None
    model: str
    serial: str
    label: str


@dataclass(frozen=True, slots=True)
class Registered:
    """A device that was scanned: `before` is None where it was claimed by the scan."""

    device: Device
    before: Before | None
    changed: bool


def register(
    *,
    actor: Actor,
    viewer: Viewer,
    profile: RedirectProfile,
    box: Box,
    model: ModelName | None,
    label: str,
    own: Addresses,
    at: datetime,
) -> Registered:
    """Register a whole box with a profile. Idempotent: a scan that is sent twice changes nothing the second time.

    A device of one's own keeps what the scan does not say, its label too; one that `viewer` may not see is taken.
    Raises ModelMissing and what `registry.put` raises.
    """
    assert box.mac is not None
    known = box.model or model
    with transaction.atomic():
        mine = Device.objects.select_for_update().filter(mac=str(box.mac), organization_id=profile.organization_id)
        present = mine.first()
        if present is not None and not viewer.sees(present.organization_id, present.profile_id):
            raise DeviceTaken(f"{box.mac} is registered already, with a profile that is not yours to use.", field="mac")
        if known is None and present is None:
            raise ModelMissing("The model of this phone is not known.", field="model")
        model = known or ModelName.parse(present.model)  # type: ignore[union-attr]
        values = DeviceFields(model=model, serial=box.serial, label=label, profile=profile)
        before = None
        if present is not None:
            before = Before(present.profile_id, present.model, present.serial, present.label)
            values = _kept(values, present)
        device, claimed = registry.put(
            actor=actor, organization=profile.organization, mac=box.mac, values=values, own=own, at=at, held=present
        )
        if viewer.limited and present is None and not claimed:
            # It came to the organization at this moment, with a profile that the viewer may not use.
            raise DeviceTaken(f"{box.mac} is registered already, with a profile that is not yours to use.", field="mac")
        return Registered(device, None if claimed else before, claimed or device.changed_at == at)


def _kept(values: DeviceFields, present: Device) -> DeviceFields:
    serial = values.serial or (SerialNumber.parse(present.serial) if present.serial else None)
    return replace(
        values,
        serial=serial,
        label=present.label or values.label,
        target=present.target,
        valid_from=present.valid_from,
        valid_until=present.valid_until,
    )


def undo(
    *, actor: Actor, device: Device, before: Before | None, changed_at: datetime, own: Addresses, at: datetime
) -> None:
    """Take one scan back: release the device it claimed, or give it back what it had.

    Raises NotAsItWas where it was changed, or has been at work, since `changed_at`; and what `registry` raises.
    """
    with transaction.atomic():
        present = Device.objects.select_for_update().select_related("organization").filter(pk=device.pk).first()
        if present is None or present.changed_at != changed_at:
            raise NotAsItWas(f"{MacAddress.parse(device.mac).colons} is not as it was when it was scanned.")
        if before is None:
            registry.release(actor=actor, device=present, at=at)
            return
        profiles = RedirectProfile.objects.filter(organization_id=present.organization_id)
        profile = profiles.filter(pk=before.profile_id).first() if before.profile_id else None
        values = DeviceFields(
            model=ModelName.parse(before.model),
            serial=SerialNumber.parse(before.serial) if before.serial else None,
            label=before.label,
            profile=profile,
            target=present.target,
            valid_from=present.valid_from,
            valid_until=present.valid_until,
        )
        registry.change(actor=actor, device=present, values=values, own=own, at=at)
