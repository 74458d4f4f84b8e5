"""A target: a profile rule that a phone may be sent to, which is any that does not point back to this service."""

from onboarding.errors import OnboardingError
from onboarding.profilerule import ProfileRule

# Phones would try a longer list for hours; providers have a primary and a few spare servers.
MAX_TARGETS = 8

_DEFAULT_PORTS = {"http": 80, "https": 443, "tftp": 69, "": 69, "gds": None}

# (host in lower case, port) of this service.
Addresses = frozenset[tuple[str, int]]


class TargetPointsBack(OnboardingError):
    """The target is this service itself: the phone would ask in a circle."""

    code = "target_points_back"
    remedy = "Give the URL of your own provisioning server."


class InvalidTargets(OnboardingError):
    """The list of targets is empty, too long or not a list of texts."""

    code = "invalid_targets"
    remedy = "Give a list of profile rules, as [\"https://cfg.example.net/$MA.xml\"]; the first is handed out."


def parse(text: str, *, own: Addresses, field: str = "target") -> ProfileRule:
    """Check one target. Raises InvalidProfileRule (with position) and TargetPointsBack."""
    try:
        rule = ProfileRule.parse(text)
    except OnboardingError as error:
        error.field = field
        raise
    for alternative in rule.alternatives:
        host = alternative.server.lower().strip("[]").rstrip(".")
        port = alternative.port or _DEFAULT_PORTS[alternative.scheme]
        if (host, port) in own:
            raise TargetPointsBack(f"{text!r} points back to this service.", field=field)
    return rule


def parse_list(value: object, *, own: Addresses) -> list[str]:
    """Check a profile's targets; gives them as typed. Raises InvalidTargets and what `parse` raises."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidTargets("Targets are a list of texts.", field="targets")
    if not 1 <= len(value) <= MAX_TARGETS:
        raise InvalidTargets(f"Give 1 to {MAX_TARGETS} targets.", field="targets")
    return [parse(text, own=own, field="targets").text for text in value]
