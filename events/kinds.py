"""What partners hear of: the types of events, and which rows of the history make which.

    device.claimed          a device was registered
    device.changed          its registration was changed
    device.released         its registration ended
    device.state_changed    its customization state moved
    code.redeemed           a phone redeemed an activation code

What was merely seen, or refused, makes no event. Data holds nothing secret: a provisioning rule that may hold a
password is left out.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

DEVICE_CLAIMED = "device.claimed"
DEVICE_CHANGED = "device.changed"
DEVICE_RELEASED = "device.released"
DEVICE_STATE_CHANGED = "device.state_changed"
CODE_REDEEMED = "code.redeemed"
TYPES = (DEVICE_CLAIMED, DEVICE_CHANGED, DEVICE_RELEASED, DEVICE_STATE_CHANGED, CODE_REDEEMED)

# Sent to one endpoint when somebody asks for it; never in the feed.
WEBHOOK_TEST = "webhook.test"

HIDDEN = "(not shown: it may hold a password)"

_REGISTRATION = {"claimed": DEVICE_CLAIMED, "changed": DEVICE_CHANGED, "released": DEVICE_RELEASED}
# Options, queries and user names of a rule: where passwords and tokens stand.
_TELLING = frozenset("[?@")


class Change(NamedTuple):
    """One row of the history (`onboarding.models.StateChange`), as much of it as is read here."""

    id: int
    device_id: int
    organization_id: int
    mac: str
    at: datetime
    event: str
    before: str
    after: str
    inferred: bool
    refused: str
    source: str
    evidence: Mapping[str, Any]


class Happening(NamedTuple):
    """An event before it has its place in the feed."""

    organization_id: int
    type: str
    at: datetime
    data: dict[str, Any]


def happenings(change: Change, device: Mapping[str, Any]) -> Iterator[Happening]:
    """The events that a row makes, none for most. `device` is `model` and `profile` as they are now, if it still is."""
    if change.refused:
        return
    type_ = _REGISTRATION.get(change.event)
    if type_ is None and change.after and change.before != change.after:
        type_ = DEVICE_STATE_CHANGED
    if type_ is not None:
        data = {"mac": change.mac, **device}
        if type_ == DEVICE_STATE_CHANGED:
            data |= {"event": change.event, "before": change.before, "after": change.after}
            data |= {"inferred": change.inferred}
        data |= {"source": change.source, "evidence": harmless(change.evidence)}
        yield Happening(change.organization_id, type_, change.at, data)
    if change.source == "activation" and change.event == "answered":
        redeemed = {"code": change.evidence.get("code"), "mac": change.mac, **device}
        yield Happening(change.organization_id, CODE_REDEEMED, change.at, redeemed)


def harmless(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence without provisioning rules that may hold a password."""
    shown: dict[str, Any] = {}
    for name, value in evidence.items():
        if isinstance(value, Mapping):
            shown[name] = harmless(value)
        elif name == "target" and isinstance(value, str) and not _TELLING.isdisjoint(value):
            shown[name] = HIDDEN
        else:
            shown[name] = value
    return shown
