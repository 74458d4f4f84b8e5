"""How states, times and steps are drawn, the same on every page. Colours are in `static/onboarding/admin.css`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.humanize.templatetags.humanize import naturaltime
from django.utils.html import format_html
from django.utils.safestring import SafeString

from onboarding.identifiers import MacAddress
from onboarding.states import CustomizationState

# What a state means for the person who looks, and what moves the phone on.
MEANINGS = {
    CustomizationState.OPEN: (
        "Has not asked this service yet.",
        "Connect the phone to the network. One that was set up before must be reset to factory settings first.",
    ),
    CustomizationState.PENDING: (
        "Has asked; the answer is on its way.",
        "This takes seconds. If it stays here, let the phone restart.",
    ),
    CustomizationState.CUSTOM_PENDING: (
        "Knows its provider's URL and is about to fetch its profile from there.",
        "If it stays here, look at the provisioning server: does the phone reach it, and is its file there?",
    ),
    CustomizationState.ACQUIRED: ("Has its provider's profile.", "Nothing to do."),
    CustomizationState.UNAVAILABLE: (
        "Asked, and there was nothing to give.",
        "Press Explain to see which rule refused. Correct it, then let the phone restart.",
    ),
    CustomizationState.ABORTED: (
        "Was set up by DHCP or by hand, and does not ask any more.",
        "Reset the phone to factory settings if it should be onboarded from here.",
    ),
}

_PATH = (
    CustomizationState.OPEN,
    CustomizationState.PENDING,
    CustomizationState.CUSTOM_PENDING,
    CustomizationState.ACQUIRED,
)
_ASIDE = (CustomizationState.UNAVAILABLE, CustomizationState.ABORTED)


def colons(mac: str) -> str:
    """A stored MAC in the form for people."""
    return MacAddress.parse(mac).colons


def label(state: str) -> str:
    """A stored state as people read it."""
    return CustomizationState(state).label


def badge(state: str) -> SafeString:
    """A state as a coloured badge; empty for an empty state."""
    if not state:
        return SafeString("")
    return format_html('<span class="state state-{}">{}</span>', state, label(state))


def stalled_mark(stalled_at: datetime | None) -> SafeString:
    """The mark of a phone that stays Custom Pending for too long."""
    if stalled_at is None:
        return SafeString("")
    return format_html(
        '<span class="mark mark-stalled" title="Stalled since {}">stalled</span>', f"{stalled_at:%Y-%m-%d %H:%M} UTC"
    )


def ago(moment: datetime | None, *, never: str = "never") -> SafeString:
    """A time as people say it, with the exact one as a hint."""
    if moment is None:
        return format_html('<span class="faint">{}</span>', never)
    said = str(naturaltime(moment)).replace("\xa0", " ")
    # "1 day, 3 hours ago": the larger unit is enough.
    larger, comma, rest = said.partition(",")
    if comma:
        said = f"{larger} {'from now' if rest.endswith('from now') else 'ago'}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S} UTC", said
    )


@dataclass(frozen=True, slots=True)
class DrawnStep:
    """One station of the way, with what happened to it: `done`, `here` or `ahead`."""

    state: str
    label: str
    standing: str


def way(state: str) -> tuple[Sequence[DrawnStep], Sequence[DrawnStep]]:
    """The way Open → Pending → Custom Pending → Acquired and the two states beside it, seen from `state`."""
    here = CustomizationState(state)
    # A phone that asked in vain has been Pending; how far an aborted one came is not known from its state.
    reached = {CustomizationState.UNAVAILABLE: 1, CustomizationState.ABORTED: -1}.get(here)
    position = _PATH.index(here) if here in _PATH else -1
    path = []
    for index, station in enumerate(_PATH):
        done = index < position or (reached is not None and index <= reached)
        path.append(DrawnStep(station, station.label, "here" if station == here else "done" if done else "ahead"))
    aside = [DrawnStep(station, station.label, "here" if station == here else "ahead") for station in _ASIDE]
    return path, aside
