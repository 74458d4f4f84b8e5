"""decide(query, registration, at) -> Answer: what a phone is told, and why.

The one decision of this service. The door, the API's explain call and the admin's explain page all call it, so that an
explanation cannot drift from the behaviour. Rules are tried in the order of RULES; the first that applies ends it.
To a phone every refusal looks like an unknown device: 200 with an empty body.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from onboarding import flatprofile
from onboarding.registration import Confirm, IdentityDemand, PhoneQuery, Profile, Registration

REDIRECTED = "redirected"
UNKNOWN_DEVICE = "unknown_device"

# Hoisted: a member of an enum is slow to look up, and every query passes here.
_REQUIRED, _NONE = IdentityDemand.REQUIRED.value, IdentityDemand.NONE.value


# Every rule by its stable name, in the order in which they are tried.
RULES: tuple[str, ...] = (
    UNKNOWN_DEVICE,
    "not_associated",
    "profile_disabled",
    "organization_suspended",
    "identity_missing",
    "identity_mismatch",
    "model_mismatch",
    "serial_mismatch",
    "outside_window",
    REDIRECTED,
)

# What the owner can do about each outcome.
REMEDIES = {
    UNKNOWN_DEVICE: "None of your devices has this MAC. Claim it, then reboot the phone.",
    "not_associated": "Give the device a redirect profile, or a target of its own.",
    "profile_disabled": "Enable the device's redirect profile.",
    "organization_suspended": "The organization is suspended. Ask the operator of this service.",
    "identity_missing": (
        "The profile requires a manufacturer certificate and the phone showed none that holds: none at all, a generic "
        "or revoked one, one of a manufacturer that the operator has not loaded, or one that has expired. Let the "
        "profile accept expired certificates, or only prefer a certificate."
    ),
    "identity_mismatch": (
        "The phone's certificate names another MAC or model. Check whether the device was cloned or mistyped."
    ),
    "model_mismatch": "The phone says it is another model. Correct the device's model, or let the profile ignore it.",
    "serial_mismatch": "The phone says another serial number. Correct the device's serial number.",
    "outside_window": "The onboarding window is closed. Change valid_from or valid_until of the device.",
    REDIRECTED: "",
}


class Answer(NamedTuple):
    """The outcome by the name of its rule; with `redirected` also the target and the profile that gave it."""

    outcome: str
    target: str = ""
    profile: Profile | None = None

    @property
    def tried(self) -> tuple[tuple[str, str], ...]:
        """The rules tried in order, each with `passed`, `refused` or `applied`: the explanation."""
        last = RULES.index(self.outcome)
        verdict = "applied" if self.outcome == REDIRECTED else "refused"
        return (*((name, "passed") for name in RULES[:last]), (self.outcome, verdict))

    @property
    def remedy(self) -> str:
        """What the owner can do about it; empty where nothing is wrong."""
        return REMEDIES[self.outcome]


_REFUSED = {name: Answer(name) for name in RULES if name != REDIRECTED}


def decide(query: PhoneQuery, registration: Registration | None, at: float) -> Answer:
    """Decide what `query` is answered at `at` (epoch seconds). Pure."""
    refusal = _refusal(query, registration, at)
    if refusal or registration is None:
        return _REFUSED[refusal]
    profile = registration.profile
    return Answer(REDIRECTED, registration.target or (profile.targets[0] if profile else ""), profile)


def _refusal(query: PhoneQuery, registration: Registration | None, at: float) -> str:
    """The first rule that refuses, tried in the order of RULES; "" where none does.

    Written out rather than as a table of functions: that took a tenth of the door's time.
    """
    if registration is None:
        return UNKNOWN_DEVICE
    _, _, suspended, model, serial, target, valid_from, valid_until, profile = registration
    # A profile without targets cannot be made by its verb; a door must not fail on one all the same.
    if not target and not (profile and profile.targets):
        return "not_associated"
    if profile and not profile.enabled:
        return "profile_disabled"
    if suspended:
        return "organization_suspended"
    if profile and profile.identity != _NONE:
        certified = query.certified
        if profile.identity == _REQUIRED and (certified is None or (certified.expired and not profile.accepts_expired)):
            return "identity_missing"
        # An expired one, too: it counts for little as a proof, but it contradicts as well as any.
        if certified is not None and not certified.is_of(query.mac, model):
            return "identity_mismatch"
    if profile and profile.match_model and query.model != model:
        return "model_mismatch"
    if serial and query.serial and query.serial != serial:
        return "serial_mismatch"
    if (valid_from is not None and at < valid_from) or (valid_until is not None and at >= valid_until):
        return "outside_window"
    return ""


# Stand for the links of one phone in a prepared document; neither can occur in a checked value.
_BEACON_MARK, _REPORT_MARK = "\x00beacon\x00", "\x00report\x00"


class Links(NamedTuple):
    """The URLs made for one phone, each with its token."""

    beacon: str
    report: str


# Bounded in number and, by flatprofile's limits, in octets: tens of megabytes at worst, a few kilobytes mostly.
@lru_cache(maxsize=1024)
def _prepared(profile: Profile | None, target: str) -> tuple[bytes, bool]:
    parameters = [("Profile_Rule", target)]
    if profile is not None:
        placeholder = flatprofile.REPORT_PLACEHOLDER
        parameters += [(name, value.replace(placeholder, _REPORT_MARK)) for name, value in profile.parameters]
        if profile.confirm == Confirm.BEACON:
            parameters = [(name, value) for name, value in parameters if name != "Profile_Rule_B"]
            parameters.insert(1, ("Profile_Rule_B", _BEACON_MARK))
    document = flatprofile.document(parameters)
    return document, b"\x00" in document


def document(answer: Answer, links: Callable[[], Links]) -> bytes:
    """The flat-profile for a redirected phone; b"" for every other outcome. `links` is called only when needed."""
    if answer.outcome != REDIRECTED:
        return b""
    prepared, personal = _prepared(answer.profile, answer.target)
    if not personal:
        return prepared
    urls = links()
    for mark, url in ((_BEACON_MARK, urls.beacon), (_REPORT_MARK, urls.report)):
        prepared = prepared.replace(mark.encode(), flatprofile.escaped(url))
    return prepared
