"""Undoing an operation: every device whose registration nobody touched since is as it was before."""

from typing import Any

import pytest

from onboarding import customization, registry
from onboarding.customization import Evidence
from onboarding.models import Device, StateChange
from onboarding.observations import Clock, Observation
from onboarding.states import Event
from operations import running
from operations.models import Operation
from operations.running import NotRevertible
from tests.factories import ACTOR, OWN, make_device, make_fields, make_mac, make_organization, make_profile
from tests.operations.work import all_results, done, later, short, start

pytestmark = pytest.mark.django_db

_REGISTRATION = ("model", "serial", "label", "profile_id", "target", "valid_from", "valid_until", "proven")


def _registration(mac: str) -> dict[str, Any]:
    return dict(Device.objects.values(*_REGISTRATION).get(mac=mac))


def _revert(operation: Operation, *, seconds: float = 100) -> Operation:
    reverting = running.revert(actor=ACTOR, operation=operation, at=later(seconds))
    return done(reverting, at=later(seconds))


def test_created_devices_are_released_changed_ones_get_back_what_they_had() -> None:
    organization = make_organization()
    profile = make_profile(organization=organization)
    changed = make_device(organization=organization, label="Before", valid_until=later(9), serial="FCH2133E8B9")
    Device.objects.filter(pk=changed.pk).update(proven=False)
    same = make_device(organization=organization, label="Lobby")
    before = _registration(changed.mac)
    new = make_mac()
    operation = done(
        start(
            organization,
            "mac,model,label,profile,valid_until,valid_from\n"
            f"{new},CP-8841-3PCC,,,,\n{changed.mac},CP-7841-3PCC,After,{profile.pk},,2026-01-01\n"
            f"{same.mac},CP-8841-3PCC,Lobby,,,\nnonsense,,,,,\n",
        )
    )
    assert (operation.created, operation.changed, operation.unchanged, operation.failed) == (1, 1, 1, 1)

    reverting = _revert(operation)

    assert (reverting.kind, reverting.total) == ("revert", 2)
    assert short(all_results(reverting)) == [(2, "released", ""), (3, "changed", "")]
    assert _registration(changed.mac) == before
    assert not Device.objects.filter(mac=str(new)).exists()
    operation.refresh_from_db()
    assert (operation.status, reverting.status) == ("reverted", "done")
    last = StateChange.objects.filter(mac=str(new)).latest("id")
    assert (last.event, last.evidence["reverts"]) == ("released", operation.pk)


def test_released_devices_are_claimed_again_unless_somebody_has_them() -> None:
    profile = make_profile()
    organization = profile.organization
    devices = [
        make_device(organization=organization, profile=profile, label=str(n), valid_until=later(9)) for n in range(4)
    ]
    free, mine, theirs, passed_on = devices
    before = _registration(free.mac)
    operation = done(start(organization, "mac\n" + "".join(f"{device.mac}\n" for device in devices), kind="release"))
    make_device(organization=organization, mac=mine.mac, label="Anew", at=later(5))
    make_device(mac=theirs.mac, at=later(5))
    through_others = make_device(mac=passed_on.mac, at=later(5))
    registry.release(actor=ACTOR, device=through_others, at=later(6))

    reverting = _revert(operation)

    assert short(all_results(reverting)) == [
        (2, "created", ""), (3, "failed", "touched_since"), (4, "failed", "device_taken"), (5, "created", ""),
    ]  # fmt: skip
    assert _registration(free.mac) == before
    assert Device.objects.get(mac=mine.mac).label == "Anew"


@pytest.mark.parametrize("touch", ["changed", "claimed anew"])
def test_what_somebody_touched_since_is_left_as_it_is(touch: str) -> None:
    organization = make_organization()
    device = make_device(organization=organization, label="Before")
    operation = done(start(organization, f"mac,label\n{device.mac},After\n"))
    device.refresh_from_db()
    values = make_fields(label="Later")
    if touch == "changed":
        registry.change(actor=ACTOR, device=device, values=values, own=OWN, at=later(5))
    else:
        registry.release(actor=ACTOR, device=device, at=later(5))
        registry.claim(
            actor=ACTOR, organization=organization, mac=_mac(device), values=values, own=OWN, at=later(6)
        )  # fmt: skip

    reverting = _revert(operation)

    assert short(all_results(reverting)) == [(2, "failed", "touched_since")]
    assert Device.objects.get(mac=device.mac).label == "Later"


def _mac(device: Device) -> Any:
    from onboarding.identifiers import MacAddress

    return MacAddress.parse(device.mac)


def test_what_phones_did_since_does_not_count_as_touching() -> None:
    organization = make_organization()
    mac = make_mac()
    operation = done(start(organization, f"mac,model\n{mac},CP-8841-3PCC\n"))
    device = Device.objects.get()
    asked = Observation(Event.ASKED, Clock(later(5)), "door", {})
    customization.record(Evidence(device.mac, asked, device.pk, organization.pk), at=later(6))

    reverting = _revert(operation)

    assert short(all_results(reverting)) == [(2, "released", "")]


def test_devices_whose_former_profile_is_gone_stay_as_they_are() -> None:
    profile = make_profile()
    device = make_device(profile=profile)
    other = make_profile(organization=profile.organization)
    operation = done(start(profile.organization, f"mac,profile\n{device.mac},{other.pk}\n", kind="assign"))
    profile.delete()

    assert short(all_results(_revert(operation))) == [(2, "failed", "unknown_profile")]
    assert Device.objects.get().profile_id == other.pk


def test_an_operation_is_reverted_once_and_only_if_it_changed_something() -> None:
    organization = make_organization()
    text = f"mac,model\n{make_mac()},CP-8841-3PCC\n"
    dry = done(start(organization, text, dry_run=True))
    real = done(start(organization, text))
    again = done(start(organization, text))
    waiting = start(organization, text)

    for operation in (dry, again, waiting):
        with pytest.raises(NotRevertible):
            running.revert(actor=ACTOR, operation=operation, at=later(5))
    done(waiting)
    reverting = running.revert(actor=ACTOR, operation=real, at=later(5))
    with pytest.raises(NotRevertible):
        running.revert(actor=ACTOR, operation=real, at=later(5))
    done(reverting, at=later(6))
    real.refresh_from_db()
    with pytest.raises(NotRevertible):
        running.revert(actor=ACTOR, operation=real, at=later(7))
    with pytest.raises(NotRevertible):
        running.revert(actor=ACTOR, operation=reverting, at=later(7))
