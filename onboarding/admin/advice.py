"""What to do next about a phone, in plain words, from where it stands and what it would be answered now. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from onboarding import answers
from onboarding.registration import Confirm
from onboarding.states import CustomizationState

# The answer follows the question within the same second; what takes longer went wrong on the way back.
_ANSWER_TAKES = timedelta(minutes=1)
# From the answer to the confirmation: a phone restarts and fetches its profile.
_FETCHING_TAKES = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Case:
    """What the advice depends on. `outcome` is the rule's name, `target` the provider's URL for this very phone."""

    state: CustomizationState
    state_since: datetime
    last_seen: datetime | None
    outcome: str
    remedy: str
    confirm: str
    target: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Advice:
    """One sentence that says where it stands, and the things to do or check, in order. None means nothing to do."""

    says: str
    steps: tuple[str, ...] = ()
    is_urgent: bool = False


def of(case: Case) -> Advice:
    """What to do next."""
    if case.state == CustomizationState.ACQUIRED:
        return Advice(f"It has its provider's profile, since {_long(case)}. Nothing to do.")
    if case.outcome != answers.REDIRECTED:
        return _refused(case)
    return _ADVICE[case.state](case)


def _refused(case: Case) -> Advice:
    again = "Then let the phone restart: it asks again."
    if case.state == CustomizationState.OPEN:
        return Advice("It has not asked yet, and would get nothing if it did.", (case.remedy,), is_urgent=True)
    if case.state == CustomizationState.ABORTED:
        again = "Then reset the phone to factory settings: only then it asks again."
    return Advice("If it asked now, it would get nothing.", (case.remedy, again), is_urgent=True)


def _open(case: Case) -> Advice:
    return Advice(
        f"Everything is ready for it. It has not asked this service for {_long(case)}.",
        (
            "Connect the phone to the network and let it start.",
            "If it was set up before, reset it to factory settings: only an unprovisioned phone asks.",
            "If it started and is not seen here, its network keeps it from this service: check DNS and the firewall.",
        ),
    )


def _pending(case: Case) -> Advice:
    if case.at - case.state_since < _ANSWER_TAKES:
        return Advice("It has asked, and its answer is on its way. This takes seconds.")
    return Advice(
        f"It asked {_long(case)} ago, and nothing says that it was answered.",
        ("Let the phone restart: it asks again.", "If it stays here, ask the operator whether the journal is applied."),
        is_urgent=True,
    )


def _custom_pending(case: Case) -> Advice:
    if case.confirm == Confirm.NONE:
        return Advice("It was given its provider's URL. Its profile expects no confirmation, so it stays here.")
    if case.at - case.state_since < _FETCHING_TAKES:
        return Advice("It was given its provider's URL and is about to fetch its profile there. This takes minutes.")
    confirmation = (
        "Check that the provisioning server makes its call-back to this service when it has served the phone, "
        "with this MAC: nothing else confirms phones of this profile."
        if case.confirm == Confirm.CALLBACK
        else "The phone confirms by fetching a beacon from this service, right after its profile: check that its "
        "provider's profile does not overwrite Profile_Rule_B."
    )
    return Advice(
        f"Custom Pending for {_long(case)}: the phone got its URL, but never confirmed that it fetched its profile.",
        (
            f"Check that the provisioning server has a file for this phone: {case.target}",
            "Check that the phone reaches that server, and trusts its certificate.",
            confirmation,
        ),
        is_urgent=True,
    )


def _unavailable(case: Case) -> Advice:
    return Advice(
        "It asked before there was anything to give. If it asks now, it is sent to its provider.",
        ("Let the phone restart. Many ask again by themselves within a day.",),
    )


def _aborted(case: Case) -> Advice:
    return Advice(
        "It was set up by DHCP or by hand, and does not ask this service any more.",
        (
            "If that is meant, there is nothing to do.",
            "If not, remove the DHCP option that set it up, and reset the phone to factory settings.",
        ),
    )


_ADVICE = {
    CustomizationState.OPEN: _open,
    CustomizationState.PENDING: _pending,
    CustomizationState.CUSTOM_PENDING: _custom_pending,
    CustomizationState.UNAVAILABLE: _unavailable,
    CustomizationState.ABORTED: _aborted,
}


def _long(case: Case) -> str:
    return duration((case.at - case.state_since).total_seconds())


def duration(seconds: float) -> str:
    """A length of time as people say it: `40 s`, `12 min`, `2 h`, `3 days`."""
    for size, unit in ((86_400, "day"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size or (seconds >= size and unit != "day"):
            count = round(seconds / size)
            return f"{count} {unit}{'s' if unit == 'day' and count != 1 else ''}"
    return f"{max(0, round(seconds))} s"
