"""decide(query, registration, at) -> Answer: what a phone is told, and why.

The one decision of this service. The door, the API's explain call and the admin's explain page all call it, so that an
explanation cannot drift from the behaviour. Rules are tried in the order of RULES; the first that applies ends it.
To a phone every refusal looks like an unknown device: 200 with an empty body.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from onboarding import flatprofile
from onboarding.registration import Confirm, IdentityDemand, PhoneQuery, Profile, Registration

REDIRECTED = "redirected"
UNKNOWN_DEVICE = "unknown_device"

Rule = Callable[[PhoneQuery, Registration, float], bool]


def _not_associated(query: PhoneQuery, registration: Registration, at: float) -> bool:
    # A profile without targets cannot be made by its verb; a door must not fail on one all the same.
    return not registration.target and not (registration.profile and registration.profile.targets)


def _profile_disabled(query: PhoneQuery, registration: Registration, at: float) -> bool:
    return registration.profile is not None and not registration.profile.enabled


def _organization_suspended(query: PhoneQuery, registration: Registration, at: float) -> bool:
    return registration.organization_suspended


def _identity_missing(query: PhoneQuery, registration: Registration, at: float) -> bool:
    profile = registration.profile
    return profile is not None and profile.identity == IdentityDemand.REQUIRED and query.certified_mac is None


def _identity_mismatch(query: PhoneQuery, registration: Registration, at: float) -> bool:
    profile = registration.profile
    if profile is None or profile.identity == IdentityDemand.NONE or query.certified_mac is None:
        return False
    return query.certified_mac != query.mac


def _model_mismatch(query: PhoneQuery, registration: Registration, at: float) -> bool:
    profile = registration.profile
    return profile is not None and profile.match_model and query.model != registration.model


def _serial_mismatch(query: PhoneQuery, registration: Registration, at: float) -> bool:
    return bool(registration.serial and query.serial) and query.serial != registration.serial


def _outside_window(query: PhoneQuery, registration: Registration, at: float) -> bool:
    if registration.valid_from is not None and at < registration.valid_from:
        return True
    return registration.valid_until is not None and at >= registration.valid_until


_REFUSALS: tuple[tuple[str, Rule], ...] = (
    ("not_associated", _not_associated),
    ("profile_disabled", _profile_disabled),
    ("organization_suspended", _organization_suspended),
    ("identity_missing", _identity_missing),
    ("identity_mismatch", _identity_mismatch),
    ("model_mismatch", _model_mismatch),
    ("serial_mismatch", _serial_mismatch),
    ("outside_window", _outside_window),
)

# Every rule by its stable name, in the order in which they are tried.
RULES: tuple[str, ...] = (UNKNOWN_DEVICE, *(name for name, _ in _REFUSALS), REDIRECTED)

# What the owner can do about each outcome.
REMEDIES = {
    UNKNOWN_DEVICE: "Nobody has registered this MAC. Claim it, then reboot the phone.",
    "not_associated": "Give the device a redirect profile, or a target of its own.",
    "profile_disabled": "Enable the device's redirect profile.",
    "organization_suspended": "The organization is suspended. Ask the operator of this service.",
    "identity_missing": "The profile requires a manufacturer certificate and the phone showed none.",
    "identity_mismatch": "The phone's certificate names another MAC. Check whether the device was cloned or mistyped.",
    "model_mismatch": "The phone says it is another model. Correct the device's model, or let the profile ignore it.",
    "serial_mismatch": "The phone says another serial number. Correct the device's serial number.",
    "outside_window": "The onboarding window is closed. Change valid_from or valid_until of the device.",
    REDIRECTED: "",
}


@dataclass(frozen=True, slots=True)
class Answer:
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


_UNKNOWN = Answer(UNKNOWN_DEVICE)
_REFUSED = {name: Answer(name) for name, _ in _REFUSALS}


def decide(query: PhoneQuery, registration: Registration | None, at: float) -> Answer:
    """Decide what `query` is answered at `at` (epoch seconds). Pure."""
    if registration is None:
        return _UNKNOWN
    for name, refuses in _REFUSALS:
        if refuses(query, registration, at):
            return _REFUSED[name]
    profile = registration.profile
    target = registration.target or (profile.targets[0] if profile else "")
    return Answer(REDIRECTED, target, profile)


# Stand for the links of one phone in a prepared document; neither can occur in a checked value.
_BEACON_MARK, _REPORT_MARK = "\x00beacon\x00", "\x00report\x00"


@dataclass(frozen=True, slots=True)
class Links:
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
