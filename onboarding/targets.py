"""A target: a profile rule that a phone may be sent to, which is any that does not point back to this service."""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from onboarding.errors import OnboardingError
from onboarding.profilerule import ProfileRule

# Phones would try a longer list for hours; providers have a primary and a few spare servers.
MAX_TARGETS = 8

_DEFAULT_PORTS = {"http": 80, "https": 443, "tftp": 69, "": 69, "gds": None}

# (host, port) of this service.
Addresses = frozenset[tuple[str, int]]

_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]{1,8}|0[0-7]{1,11}|[1-9][0-9]{0,9}|0")


_SECRET_OPTION = re.compile(r"""(--(?:key|pwd)) *(?:"[^"]*"|[^\s\]"]+)""")


class TargetPointsBack(OnboardingError):
    """The target is this service itself: the phone would ask in a circle."""

    code = "target_points_back"
    remedy = "Give the URL of your own provisioning server."


class InvalidTargets(OnboardingError):
    """The list of targets is empty, too long or not a list of texts."""

    code = "invalid_targets"
    remedy = 'Give a list of profile rules, as ["https://cfg.example.net/$MA.xml"]; the first is handed out.'


def parse(text: str, *, own: Addresses, field: str = "target") -> ProfileRule:
    """Check one target. Raises InvalidProfileRule (with position) and TargetPointsBack."""
    try:
        rule = ProfileRule.parse(text)
    except OnboardingError as error:
        error.field = field
        raise
    here = _canonical_all(own)
    for alternative in rule.alternatives:
        port = alternative.port or _DEFAULT_PORTS[alternative.scheme]
        if alternative.server and (_canonical(alternative.server), port) in here:
            raise TargetPointsBack(f"{text!r} points back to this service.", field=field)
    return rule


def parse_list(value: object, *, own: Addresses) -> list[str]:
    """Check a profile's targets; gives them as typed. Raises InvalidTargets and what `parse` raises."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidTargets("Targets are a list of texts.", field="targets")
    if not 1 <= len(value) <= MAX_TARGETS:
        raise InvalidTargets(f"Give 1 to {MAX_TARGETS} targets.", field="targets")
    return [_parse_of_list(text, place, own=own) for place, text in enumerate(value, 1)]


def _parse_of_list(text: str, place: int, *, own: Addresses) -> str:
    try:
        return parse(text, own=own, field="targets").text
    except OnboardingError as error:
        error.detail = f"Target {place}: {error.detail}"
        raise


def masked(text: str) -> str:
    """A rule as it may be shown to people who must not learn its keys and passwords."""
    return _SECRET_OPTION.sub(r"\1 ***", text)


@lru_cache(maxsize=8)
def _canonical_all(own: Addresses) -> frozenset[tuple[str, int | None]]:
    return frozenset((_canonical(host), port) for host, port in own)


def _canonical(host: str) -> str:
    """One spelling for each host; every address that means "this machine" is `localhost` (RFC 1122, 4291, 6761)."""
    name = host.lower().removesuffix(".")
    address: IPv4Address | IPv6Address | None = _ipv4(name)
    # A name with a macro can hold colons too; only phones know what it is.
    if address is None and ":" in name and "$" not in name:
        address = IPv6Address(name.strip("[]"))
        address = address.ipv4_mapped or address
    if address is not None:
        return "localhost" if address.is_loopback or address.is_unspecified else str(address)
    return "localhost" if name.endswith(".localhost") else name


def _ipv4(name: str) -> IPv4Address | None:
    """Read what resolvers read as an IPv4 address (inet_aton): one to four parts, decimal, octal or hexadecimal."""
    parts = name.split(".")
    if len(parts) > 4 or not all(map(_NUMBER.fullmatch, parts)):
        return None
    numbers = [int(part, 16) if part[:2] == "0x" else int(part, 8 if part[0] == "0" else 10) for part in parts]
    *leading, last = numbers
    if any(number > 255 for number in leading) or last >= 256 ** (5 - len(parts)):
        return None
    return IPv4Address(sum(number << 24 - 8 * place for place, number in enumerate(leading)) + last)
