"""A phone's history in words, for its page and for the history's list."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString

from accounts.models import ApiKey
from accounts.tenancy import Viewer
from onboarding import customization, history, registry
from onboarding.admin import drawing
from onboarding.models import Device, StateChange
from onboarding.observations import ILLEGAL, LATE, RELEASED, RESET_LIMIT, UNPROVEN, identity_of
from onboarding.states import Event
from trust.identity import Proof

# A page shows so many; the rest is in the history's list.
MOST_ON_A_PAGE = 50

_API = "api"

EVENTS: Mapping[str, str] = {
    Event.ASKED: "Asked this service where to go",
    Event.ANSWERED: "Was given its provider's URL",
    Event.NOT_FOUND: "Asked in vain: there was nothing to give",
    Event.ACQUIRED: "Fetched its provider's profile",
    Event.DHCP_PROVISIONED: "Was set up by DHCP",
    Event.MANUALLY_PROVISIONED: "Was set up by hand",
    Event.FACTORY_RESET: "Was reset to factory settings",
    Event.RESYNC_FAILED: "Could not fetch its provider's profile",
    registry.CLAIMED: "Registered",
    registry.CHANGED: "Registration changed",
    registry.DISOWNED: "Released",
}
SOURCES: Mapping[str, str] = {
    "door": "the phone's query",
    "beacon": "the phone's beacon",
    "report": "the phone's report",
    "callback": "the provider's call-back",
    "admin": "admin site",
    "api": "API",
    "command": "command line",
    "sighting": "seen before it was registered",
    "activation": "activation code",
}
PROOFS: Mapping[Proof, tuple[str, str]] = {
    Proof.NONE: ("not proven", "Nothing proves that it was this phone: anybody can say its MAC."),
    Proof.TOKEN: ("answered", "Whoever sent it had got our answer to this phone."),
    Proof.EXPIRED: ("expired certificate", "The phone showed its manufacturer's certificate, which has expired."),
    Proof.CERTIFICATE: ("proven", "The phone showed its manufacturer's certificate."),
}
REFUSALS: Mapping[str, str] = {
    LATE: "Arrived late: newer evidence had been counted already.",
    UNPROVEN: "Nothing proves the sender, and the profile only records such evidence.",
    ILLEGAL: "Cannot follow from the state that the phone was in.",
    RESET_LIMIT: "More inferred factory resets in a day than a phone can make.",
    RELEASED: "The device was released meanwhile.",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One point of the timeline."""

    at: datetime
    ago: SafeString
    words: str
    source: str
    by: str
    moved: bool
    before: SafeString
    after: SafeString
    dot: str
    inferred: bool
    refused: str
    # What proves that the phone itself did it: a sentence; the same in a word or two; and whether that is nothing.
    # Empty where it was no phone.
    proof: str
    proof_mark: str
    unproven: bool
    # How many rows before it were counted only, as they were too many for an hour.
    left_out: int
    evidence: tuple[tuple[str, str], ...]


def words(event: str) -> str:
    """An event as a person would say it."""
    return EVENTS.get(event, event.replace("_", " ").capitalize())


def source(name: str) -> str:
    """Where the evidence came from, in words."""
    return SOURCES.get(name, name)


def refusal(reason: str) -> str:
    """Why a row moved nothing, in words."""
    return REFUSALS.get(reason, reason)


def entry(row: StateChange, keys: Mapping[str, str] | None = None) -> Entry:
    """A history row as it is drawn; `keys` has the names of API keys by their prefixes."""
    evidence = {**row.evidence}
    by = str(evidence.pop("by", ""))
    identity = None if row.inferred else identity_of(row.source, row.evidence)
    evidence.pop("identity", None)
    left_out = int(evidence.pop(customization.LEFT_OUT, 0))
    mark, proof = PROOFS[identity] if identity else ("", "")
    by = (keys or {}).get(by, by)
    own = row.event in (registry.CLAIMED, registry.CHANGED, registry.DISOWNED)
    dot = "own" if own else "refused" if row.refused else f"state-{row.after}" if row.after else "own"
    return Entry(
        at=row.at,
        ago=drawing.ago(row.at),
        words=words(row.event),
        source=source(row.source),
        by=by,
        moved=row.before != row.after,
        before=drawing.badge(row.before),
        after=drawing.badge(row.after),
        dot=dot,
        inferred=row.inferred,
        refused=refusal(row.refused) if row.refused else "",
        proof=proof,
        proof_mark=mark,
        unproven=identity is Proof.NONE,
        left_out=left_out,
        evidence=tuple((name, _printed(value)) for name, value in evidence.items()),
    )


def of(device: Device, viewer: Viewer) -> tuple[list[Entry], int | None, bool]:
    """The newest entries of a device's history, newest first; the newest row's id; and whether there are more."""
    # `id` is the order in which rows were written, which the index has; `at` may jump back for late evidence.
    rows = list(history.of_device(device, viewer).order_by("-id")[: MOST_ON_A_PAGE + 1])
    keys = names_of_keys(rows)
    entries = [entry(row, keys) for row in rows[:MOST_ON_A_PAGE]]
    return entries, rows[0].pk if rows else None, len(rows) > MOST_ON_A_PAGE


def names_of_keys(rows: Iterable[StateChange]) -> dict[str, str]:
    """The names of the API keys that stand in these rows by their prefixes, if they are the same organization's.

    Another organization's key that acted by a mandate keeps its prefix: its name is not this one's to see.
    """
    named = {(row.organization_id, str(row.evidence.get("by", ""))) for row in rows if row.source == _API}
    if not named:
        return {}
    found = ApiKey.objects.filter(prefix__in={prefix for _, prefix in named})
    return {key.prefix: f"API key {key.name}" for key in found if (key.organization_id, key.prefix) in named}


def _printed(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
