"""observe(standing, observation, at): what one piece of evidence does to what is known of a phone. Pure.

An observation is, in this order:

    late       older than evidence that was already applied: recorded, moves nothing
    unproven   nothing proves that it is the phone's own, and the profile only records such: recorded, moves nothing
    unsettled  illegal now, but young enough that evidence before it may still be on its way: to be tried again
    illegal    illegal for good: recorded, moves nothing
    reset_limit  asks for one more inferred factory reset than a MAC may have in a day: recorded, moves nothing
    applied    makes the step that the table in `states` gives, after an inferred factory reset where it says so

Source: design 4.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from onboarding.states import INFERRED_RESETS_PER_DAY, ROWS_AN_HOUR, SETTLING_TIME, CustomizationState, Event, after
from trust.identity import Proof

LATE, UNPROVEN, ILLEGAL, RESET_LIMIT = "late", "unproven", "illegal", "reset_limit"
# The device that the evidence belongs to was released meanwhile; only the writer can know that.
RELEASED = "released"

_RESET_PERIOD = timedelta(days=1)
_TELLING_PERIOD = timedelta(hours=1)

# How far a witness's clock may run ahead of ours: what contract 4 allows call-backs.
_MOST_AHEAD = timedelta(minutes=5)


class Clock(NamedTuple):
    """When evidence arose: wall time, and the position in the one order that its machine gives (empty: none)."""

    at: datetime
    machine: str = ""
    sequence: int = 0

    def before(self, other: "Clock") -> bool:
        """Whether this is older. One machine's own order beats its wall clock, which may be set back."""
        if self.machine and self.machine == other.machine:
            return self.sequence < other.sequence
        return self.at < other.at


class Observation(NamedTuple):
    """One event as it was seen, by whom (`source`) and with what evidence. `hearsay`: nothing proves the sender."""

    event: Event
    clock: Clock
    source: str
    evidence: Mapping[str, object] = MappingProxyType({})
    hearsay: bool = False


class Belief(NamedTuple):
    """What a profile believes: hearsay (reports without a token); phones that showed no certificate at all; and what
    else is as good as a certificate, expired ones or the token of an answer that only certified phones get."""

    hearsay: bool = False
    strangers: bool = True
    expired: bool = False
    token: bool = False


def identity_of(source: str, evidence: Mapping[str, object]) -> Proof | None:
    """What proves that evidence is the phone's own. None for what comes from somebody else. Pure."""
    return Proof(str(evidence.get("identity", Proof.NONE))) if source in _OF_PHONES else None


# A phone that types an activation code proves itself by the code.
_OF_PHONES = {"door", "beacon", "report"}


def is_believed(observation: Observation, belief: Belief) -> bool:
    """Whether it may move the state of a phone whose profile believes so. Pure."""
    if observation.hearsay and not belief.hearsay:
        return False
    if belief.strangers:
        return True
    identity = identity_of(observation.source, observation.evidence)
    good = {None, Proof.CERTIFICATE, Proof.EXPIRED if belief.expired else None, Proof.TOKEN if belief.token else None}
    return identity in good


class Standing(NamedTuple):
    """What is known of one phone's customization."""

    state: CustomizationState
    since: datetime
    evidence: Clock | None = None
    last_seen: datetime | None = None
    resets: int = 0
    resets_since: datetime | None = None
    # Rows of the running hour, written and left out: see `tell`.
    told: int = 0
    untold: int = 0
    told_since: datetime | None = None


class Record(NamedTuple):
    """One row for the history."""

    event: Event
    before: CustomizationState
    after: CustomizationState
    inferred: bool = False
    refused: str = ""


class Observed(NamedTuple):
    """The new standing and the rows to write; no rows means unsettled: try again later."""

    standing: Standing
    records: tuple[Record, ...]

    @property
    def unsettled(self) -> bool:
        return not self.records


class Told(NamedTuple):
    """Whether the rows of an observation are written, and how many were left out before them."""

    standing: Standing
    written: bool = True
    left_out: int = 0


def tell(standing: Standing, observation: Observation, rows: int) -> Told:
    """Count the rows of what a phone did: beyond ROWS_AN_HOUR they move the state, but are not written. Pure.

    Whoever knows a MAC could fill its history otherwise. What was left out is told with the next row after that hour.
    """
    if observation.source not in _OF_PHONES:
        return Told(standing)
    at = observation.clock.at
    if standing.told_since is None or at - standing.told_since >= _TELLING_PERIOD:
        return Told(standing._replace(told=rows, untold=0, told_since=at), left_out=standing.untold)
    if standing.told < ROWS_AN_HOUR:
        return Told(standing._replace(told=standing.told + rows))
    return Told(standing._replace(untold=standing.untold + rows), written=False)


def plausible(observation: Observation, *, at: datetime) -> Observation:
    """The observation, with our time `at` where its clock is far ahead of ours. Pure.

    One door with a wrong clock would otherwise make everything that is seen of its phones from then on late.
    """
    if observation.clock.at <= at + _MOST_AHEAD:
        return observation
    return observation._replace(clock=observation.clock._replace(at=at))


def observe(standing: Standing, observation: Observation, *, at: datetime, belief: Belief) -> Observed:
    """Judge `observation` at the time `at`; the cases are in the module's docstring."""
    seen = standing
    if standing.last_seen is None or standing.last_seen < observation.clock.at:
        seen = standing._replace(last_seen=observation.clock.at)
    if standing.evidence is not None and observation.clock.before(standing.evidence):
        return _refused(seen, observation, LATE)
    if not is_believed(observation, belief):
        return _refused(seen, observation, UNPROVEN)
    step = after(standing.state, observation.event)
    if step is None:
        if at - observation.clock.at < SETTLING_TIME:
            return Observed(standing, ())
        return _refused(seen, observation, ILLEGAL)
    records: tuple[Record, ...] = ()
    state = standing.state
    if step.after_reset:
        limited = _count_reset(seen, observation.clock.at)
        if limited is None:
            return _refused(seen, observation, RESET_LIMIT)
        seen = limited
        records = (Record(Event.FACTORY_RESET, state, CustomizationState.OPEN, inferred=True),)
        state = CustomizationState.OPEN
    records += (Record(observation.event, state, step.state),)
    since = standing.since if step.state == standing.state else observation.clock.at
    # A failed resync never moves a state, so it makes nothing before it late either.
    bar = standing.evidence if observation.event == Event.RESYNC_FAILED else observation.clock
    return Observed(seen._replace(state=step.state, since=since, evidence=bar), records)


def _refused(seen: Standing, observation: Observation, reason: str) -> Observed:
    return Observed(seen, (Record(observation.event, seen.state, seen.state, refused=reason),))


def _count_reset(standing: Standing, at: datetime) -> Standing | None:
    """Count one inferred reset into the running day; None when the day's number is used up."""
    if standing.resets_since is None or at - standing.resets_since >= _RESET_PERIOD:
        return standing._replace(resets=1, resets_since=at)
    if standing.resets >= INFERRED_RESETS_PER_DAY:
        return None
    return standing._replace(resets=standing.resets + 1)
