"""CustomizationState, Event and TRANSITIONS: how a phone's onboarding goes on, as the vendor describes it.

The state lives in the phone; what is kept here is what was seen of it.

    Open            unprovisioned, out of the box or after a factory reset
    Pending         has asked this service, no answer is known yet
    Custom Pending  was given its provider's URL and is about to resync to it
    Acquired        has its provider's profile
    Unavailable     asked, and no provider is associated
    Aborted         was provisioned by DHCP or by hand; does not ask until a factory reset

Source: seed, "Remote Customization (RC) Distribution"; the table is section 4 of the design.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType


class CustomizationState(StrEnum):
    """The six states, named as partners see them."""

    OPEN = "open"
    PENDING = "pending"
    CUSTOM_PENDING = "custom_pending"
    ACQUIRED = "acquired"
    UNAVAILABLE = "unavailable"
    ABORTED = "aborted"

    @property
    def label(self) -> str:
        """The vendor's spelling: `Custom Pending`."""
        return self.value.replace("_", " ").title()


class Event(StrEnum):
    """What can be observed of a phone."""

    ASKED = "asked"
    ANSWERED = "answered"
    NOT_FOUND = "not_found"
    ACQUIRED = "acquired"
    DHCP_PROVISIONED = "dhcp_provisioned"
    MANUALLY_PROVISIONED = "manually_provisioned"
    FACTORY_RESET = "factory_reset"
    RESYNC_FAILED = "resync_failed"


# Events that a phone may report and a provider may call back; the others only a door can see.
REPORTABLE_EVENTS = frozenset(
    {
        Event.ACQUIRED,
        Event.DHCP_PROVISIONED,
        Event.MANUALLY_PROVISIONED,
        Event.FACTORY_RESET,
        Event.RESYNC_FAILED,
    }
)

# Evidence can overtake the journal by this much: an illegal event younger than this is tried again.
SETTLING_TIME = timedelta(minutes=10)

# Anyone can ask with any MAC, so what is told of one is limited; a phone that boots every few minutes tells less.
ROWS_AN_HOUR = 60
# Anyone can ask with any MAC, so resets that are only inferred are limited for each MAC.
INFERRED_RESETS_PER_DAY = 12


@dataclass(frozen=True, slots=True)
class Step:
    """One legal step: to which state, and whether a factory reset is to be inferred before it."""

    state: CustomizationState
    after_reset: bool = False


_OPEN, _PENDING, _CUSTOM, _ACQUIRED, _UNAVAILABLE, _ABORTED = map(Step, CustomizationState)
_AFTER_RESET = Step(CustomizationState.PENDING, after_reset=True)
_STAY = None
_ILLEGAL = False

# One row an event; columns in the order of CustomizationState. A stay is recorded as seen, without a change.
# fmt: off
_TABLE: dict[Event, tuple[Step | bool | None, ...]] = {
    #                            Open       Pending       Custom P.  Acquired             Unavailable   Aborted
    Event.ASKED:                (_PENDING, _STAY,        _PENDING,  _AFTER_RESET,        _PENDING,     _AFTER_RESET),
    Event.ANSWERED:             (_ILLEGAL, _CUSTOM,      _STAY,     _ILLEGAL,            _ILLEGAL,     _ILLEGAL),
    Event.NOT_FOUND:            (_ILLEGAL, _UNAVAILABLE, _ILLEGAL,  _ILLEGAL,            _STAY,        _ILLEGAL),
    Event.ACQUIRED:             (_ILLEGAL, _ILLEGAL,     _ACQUIRED, _STAY,               _ILLEGAL,     _ILLEGAL),
    Event.DHCP_PROVISIONED:     (_ABORTED, _ABORTED,     _ABORTED,  _STAY,               _ABORTED,     _STAY),
    Event.MANUALLY_PROVISIONED: (_ABORTED, _ABORTED,     _ABORTED,  _STAY,               _ABORTED,     _STAY),
    Event.FACTORY_RESET:        (_STAY,    _OPEN,        _OPEN,     _OPEN,               _OPEN,        _OPEN),
    Event.RESYNC_FAILED:        (_STAY,    _STAY,        _STAY,     _STAY,               _STAY,        _STAY),
}
# fmt: on

# (state, event) -> step. A pair that is not here is illegal.
TRANSITIONS: MappingProxyType[tuple[CustomizationState, Event], Step] = MappingProxyType(
    {
        (state, event): step if isinstance(step, Step) else Step(state)
        for event, steps in _TABLE.items()
        for state, step in zip(CustomizationState, steps, strict=True)
        if step is not _ILLEGAL
    }
)


def after(state: CustomizationState, event: Event) -> Step | None:
    """The step that `event` makes from `state`, or None where it is illegal. Pure."""
    return TRANSITIONS.get((state, event))
