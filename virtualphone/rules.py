"""Profile rules, evaluated as a phone does.

    rule        := alternative { "|" alternative }
    alternative := [ "(" condition ")?" ] [ "(" name = "value" ; … ")!" ] [ [ "[" options "]" ] URL ]
    options     := { "--key" K | "--uid" U | "--pwd" P | "--post" x | "--alias" x | "--srv" }

From left to right the first alternative whose condition holds is taken. None holds, or the rule is empty: the rule is
skipped. No scheme means TFTP. Source: the vendor's provisioning guide, "Profile Rule"; the seed for `[--srv]`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from virtualphone import conditions, macros

# In the order in which a phone runs them; the first that fails stops the sequence.
NAMES = ("Profile_Rule", "Profile_Rule_B", "Profile_Rule_C", "Profile_Rule_D")

# More than any parameter of a phone holds; also the bound for hostile input.
MAX_RULE_LENGTH = 2048

# Quoted texts and one level of parentheses (a macro) may stand inside the parentheses.
_INSIDE = r'(?:"[^"]*"|[^"()]|\([^()]*\))*'
# Blanks are possessive (`*+`): a rule that is nothing but blanks must not be tried in every way to split them.
_ALTERNATIVE = re.compile(
    rf"\s*+(?:\((?P<condition>{_INSIDE})\)\?\s*+)?"
    rf"(?:\((?P<assignments>{_INSIDE})\)!\s*+)?"
    r'(?:\[(?P<options>\s*--(?:"[^"]*"|[^"\]])*)\]\s*+)?'
    r"(?P<url>(?![(\[])[^\s|]*+)\s*+(?P<end>\||$)"
)
_OPTION = re.compile(r'\s*--(?:(?P<flag>srv)\b|(?P<name>key|uid|pwd|post|alias)\s+(?P<value>"[^"]+"|(?!--)[^\s"]+))\s*')
_ASSIGNMENT = re.compile(r'\s*(?P<name>[A-Za-z][A-Za-z0-9_]*)\s*=\s*"(?P<value>[^"]*)"\s*;?\s*')
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LETTER_OPTIONS = frozenset({"post", "alias"})


class InvalidRule(ValueError):
    """The text is not a profile rule that a phone can follow."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a rule came to: parameters to set, and where to download from, with its options."""

    url: str
    assignments: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password for a server that asks for them."""
        return (self.options["uid"], self.options.get("pwd", "")) if self.options.get("uid") else None


def evaluate(text: str, values: Mapping[str, str], secrets: Mapping[str, str] | None = None) -> Target | None:
    """The first alternative that holds, macros expanded; None if the rule is skipped. Raises InvalidRule."""
    if len(text) > MAX_RULE_LENGTH:
        raise InvalidRule(f"longer than {MAX_RULE_LENGTH} characters")
    here = 0
    while here < len(text):
        match = _ALTERNATIVE.match(text, here)
        if not match:
            raise InvalidRule(f"cannot be read from {text[here:].strip()!r} on")
        here = match.end()
        if match["condition"] is None and match["end"] and not match["url"] and match["assignments"] is None:
            raise InvalidRule('an alternative before "|" says nothing')
        try:
            taken = match["condition"] is None or conditions.holds(match["condition"], values)
        except conditions.InvalidCondition as error:
            raise InvalidRule(str(error)) from error
        if taken:
            return _target(match, values, secrets or {})
    return None


def _target(match: re.Match[str], values: Mapping[str, str], secrets: Mapping[str, str]) -> Target | None:
    url = macros.expand(match["url"], values)
    if url and not _SCHEME.match(url):
        # Of a relative path the server would be the one that DHCP option 66 names: TFTP in either case.
        url = f"tftp://{url}"
    assignments = _assignments(match["assignments"] or "", values)
    options = _options(match["options"] or "", {**values, **secrets})
    return Target(url, assignments, options) if url or assignments else None


def _assignments(text: str, values: Mapping[str, str]) -> dict[str, str]:
    found, here = {}, 0
    while here < len(text):
        match = _ASSIGNMENT.match(text, here)
        if not match:
            raise InvalidRule(f'an assignment Name="value" was expected at {text[here:]!r}')
        found[match["name"]] = macros.expand(match["value"], values)
        here = match.end()
    return found


def _options(text: str, values: Mapping[str, str]) -> dict[str, str]:
    found, here = {}, 0
    while here < len(text):
        match = _OPTION.match(text, here)
        if not match:
            raise InvalidRule(f"an option --key --uid --pwd --post --alias or --srv was expected at {text[here:]!r}")
        name = match["flag"] or match["name"]
        value = macros.expand((match["value"] or "").strip('"'), values)
        if name in _LETTER_OPTIONS:
            value = value.upper()
            if value not in tuple("ABCDEFGHIJKLMNOP"):
                raise InvalidRule(f"--{name} names one of GPP_A to GPP_P by its letter")
        found[name] = value
        here = match.end()
    return found
