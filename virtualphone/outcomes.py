"""What a phone tells: each step as it happens, what failed, and how it ended."""

from dataclasses import dataclass
from datetime import datetime

from virtualphone.downloads import Download
from virtualphone.states import State
from virtualphone.statuses import Reaction


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the phone did, told as it happens. `state` is the state after it."""

    at: datetime
    what: str
    detail: str
    state: State
    is_problem: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, where: `EDOS`, `DHCP`, `activation`, `short code`, or the name of a rule.

    `kind` is a short name to count by.
    """

    what: str
    kind: str
    reaction: Reaction = Reaction.FAILURE
    detail: str = ""
    retry_after: str = ""
    # The activation screen waits for a person, or refused what was typed; trying again without one is of no use.
    needs_person: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a power-on, or typing a code, ended. `failure`: what the phone gave up on; `failures`: all on the way."""

    state: State
    failure: Failure | None
    failures: tuple[Failure, ...]
    queries: tuple[Download, ...]
