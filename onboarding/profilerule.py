"""ProfileRule: the phones' profile rule, parsed against its grammar and refused with position and reason.

    rule        := alternative { "|" alternative }
    alternative := [ "(" condition ")?" ] [ "(" assignments ")!" ] [ [ "[" options "]" ] URL ]
    condition   := comparison { "and" comparison }
    comparison  := operand operator operand     operator: = eq != ne < lt <= le > gt >= ge
    options     := { "--key" V | "--uid" V | "--pwd" V | "--post" x | "--alias" x | "--srv" }
    URL         := [ scheme "://" ] [ server [ ":" port ] ] [ filepath ]    scheme: tftp http https gds

Every alternative but the last needs a condition. Macros are `$NAME`, `$(NAME)`, `$(NAME:p)`, `$(NAME:p:q)` and `$$`;
they are checked for form and kept as typed: the phone expands them.
Source: the vendor's provisioning guide, chapter on profile rules; the seed for manual entry and `[--srv]`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Self

from onboarding.errors import OnboardingError

# Phones keep a rule in one parameter; the guide prints none longer. Also the bound for hostile input.
MAX_RULE_LENGTH = 1024

SCHEMES = frozenset({"tftp", "http", "https", "gds"})

# Every other macro (GPP letters, times, versions) is accepted too: unknown names stay as they are on the phone.
_MACRO = re.compile(r"\$(?:\$|[A-Za-z][A-Za-z0-9]{0,15}|\(\s*[A-Za-z][A-Za-z0-9]{0,15}(?::\d{1,3}){0,2}\s*\))")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# A macro in parentheses may hold colons, which end a server's name elsewhere.
_SERVER = re.compile(
    r"(?:\[[0-9A-Fa-f:.]{2,45}\]|(?:\$\([^()/]{0,40}\)|\$(?!\()|[^$/:\[\]@?#]){1,253})(?::(?P<port>[^/?#]*))?"
)
_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_OPERAND = r'"[^"]*"|(?:\$\([^()]*\)|[^\s"=!<>()])+'
_COMPARISON = re.compile(
    rf"""\s*(?P<left>{_OPERAND})\s*
        (?P<operator>!=|<=|>=|=|<|>|\b(?:eq|ne|lt|le|gt|ge)\b)\s*
        (?P<right>{_OPERAND})\s*""",
    re.VERBOSE,
)
_AND = re.compile(r"and\b")
_ASSIGNMENT = re.compile(r'\s*[A-Za-z][A-Za-z0-9_]{0,63}\s*=\s*"[^"]*"\s*(?:;\s*|$)')
_WORD = re.compile(r"\S+")
_TEXT = re.compile(r'"[^"]+"|[^\s"]+')
_OPTION_VALUES = {
    "--key": _TEXT,
    "--uid": _TEXT,
    "--pwd": _TEXT,
    "--post": re.compile(r"[A-Pa-p](?=\s|$)"),
    "--alias": re.compile(r"[A-Pa-p](?=\s|$)"),
}


class InvalidProfileRule(OnboardingError):
    """The text is not a profile rule that a phone can follow. `position` counts characters from 0."""

    code = "invalid_profile_rule"
    remedy = "Correct the rule at that position. The plain form is https://server/path/$MA.xml."

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(f"Profile rule, position {position + 1}: {reason}", field="target")
        self.reason = reason
        self.position = position


@dataclass(frozen=True, slots=True)
class Alternative:
    """One alternative of a rule: when it holds, and where it points."""

    condition: str
    assignments: str
    options: tuple[tuple[str, str], ...]
    scheme: str
    server: str
    port: int | None
    path: str


@dataclass(frozen=True, slots=True)
class ProfileRule:
    """A checked profile rule. `text` is exactly what the owner typed, and what the phone gets."""

    text: str
    alternatives: tuple[Alternative, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check a rule against the grammar. Raises InvalidProfileRule with position and reason."""
        if not text.strip():
            raise InvalidProfileRule("it is empty.", 0)
        if len(text) > MAX_RULE_LENGTH:
            raise InvalidProfileRule(f"it is longer than {MAX_RULE_LENGTH} characters.", MAX_RULE_LENGTH)
        for position, character in enumerate(text):
            if not " " <= character <= "~":
                raise InvalidProfileRule(f"character {character!r} is not printable ASCII.", position)
        return cls(text, tuple(_Reader(text).alternatives()))

    def __str__(self) -> str:
        return self.text

    def hosts(self) -> frozenset[str]:
        """The servers that the rule points to, as typed in lower case (macros unexpanded), without ports."""
        return frozenset(a.server.lower().strip("[]").rstrip(".") for a in self.alternatives if a.server)


class _Reader:
    """Reads a rule from left to right and remembers where it is.

    There is no splitting at "|" beforehand: what stands in a condition or an option must hide no alternative.
    """

    def __init__(self, text: str) -> None:
        self.text, self.position, self.end = text, 0, len(text)

    def alternatives(self) -> Iterator[Alternative]:
        while True:
            start = self.position
            alternative = self._alternative()
            yield alternative
            if self._peek() != "|":
                return
            if not alternative.condition:
                raise self.fail('every alternative but the last needs a condition "(…)?".', start)
            self.position += 1

    def fail(self, reason: str, position: int | None = None) -> InvalidProfileRule:
        return InvalidProfileRule(reason, self.position if position is None else position)

    def _alternative(self) -> Alternative:
        condition = assignments = ""
        self._skip_blanks()
        if self._peek() == "(" and (group := self._group_before("?")) is not None:
            condition = group
            self._skip_blanks()
        if self._peek() == "(" and (group := self._group_before("!")) is not None:
            assignments = group
            self._skip_blanks()
        options = self._options() if self._peek() == "[" and not self._is_address_literal() else ()
        self._skip_blanks()
        if self._peek() == "(" or (options and self._peek() == "["):
            raise self.fail("an alternative is at most one condition, then one assignment, then options, then a URL.")
        scheme, server, port, path = self._url()
        if not (condition or assignments) and not (scheme or server or path):
            raise self.fail("this alternative says nothing: give a URL.")
        if options and any(name == "--srv" for name, _ in options) and scheme not in {"http", "https"}:
            raise self.fail("--srv works with http and https only.")
        return Alternative(condition, assignments, options, scheme, server, port, path)

    def _peek(self) -> str:
        return self.text[self.position] if self.position < self.end else ""

    def _skip_blanks(self) -> None:
        while self._peek() == " ":
            self.position += 1

    def _is_address_literal(self) -> bool:
        closing = self.text.find("]", self.position, self.end)
        return closing > 0 and bool(re.fullmatch(r"\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*", self.text[self.position : closing]))

    def _group_before(self, mark: str) -> str | None:
        """Take "( … )" when `mark` follows it; check what it holds. None where another mark follows."""
        start, depth, quoted = self.position, 0, False
        for here in range(start, self.end):
            character = self.text[here]
            if character == '"':
                quoted = not quoted
            elif not quoted and character == "(":
                depth += 1
            elif not quoted and character == ")":
                depth -= 1
                if depth == 0:
                    break
        else:
            raise self.fail('"(" is never closed.', start)
        follows = self.text[here + 1] if here + 1 < self.end else ""
        if follows not in {"?", "!"}:
            raise self.fail('")" must be followed by "?" (condition) or "!" (assignment).', here)
        if follows != mark:
            return None
        if mark == "?":
            self._check_condition(start + 1, here)
        else:
            self._check_assignments(start + 1, here)
        self.position = here + 2
        return self.text[start + 1 : here].strip()

    def _check_condition(self, start: int, end: int) -> None:
        here = start
        while True:
            match = _COMPARISON.match(self.text, here, end)
            if not match:
                raise self.fail("a comparison was expected here, as $PRVTMR ge 600.", here)
            if match["operator"] not in {"=", "!=", "eq", "ne"} and '"' in (match["left"][0], match["right"][0]):
                raise self.fail("strings compare with = and != only.", match.start("operator"))
            self._check_macros(match.start(), match.end())
            here = match.end()
            if here == end:
                return
            if not _AND.match(self.text, here, end):
                raise self.fail('only "and" may join comparisons.', here)
            here += len("and")

    def _check_assignments(self, start: int, end: int) -> None:
        here = start
        while here < end:
            match = _ASSIGNMENT.match(self.text, here, end)
            if not match:
                raise self.fail('an assignment was expected here, as Name="value";.', here)
            here = match.end()
        if not self.text[start:end].strip():
            raise self.fail("the assignment is empty.", start)

    def _options(self) -> tuple[tuple[str, str], ...]:
        opening = self.position
        closing = self._closing_bracket(opening)
        options: list[tuple[str, str]] = []
        self.position += 1
        while True:
            while self.position < closing and self.text[self.position] == " ":
                self.position += 1
            if self.position >= closing:
                break
            options.append(self._option(closing))
        if not options:
            raise self.fail("the options are empty.", opening)
        names = [name for name, _ in options]
        for name in names:
            if names.count(name) > 1:
                raise self.fail(f"{name} stands twice.", opening)
        self.position = closing + 1
        return tuple(options)

    def _closing_bracket(self, opening: int) -> int:
        quoted = False
        for here in range(opening, self.end):
            if self.text[here] == '"':
                quoted = not quoted
            elif self.text[here] == "]" and not quoted:
                return here
        raise self.fail('"[" is never closed.', opening)

    def _option(self, closing: int) -> tuple[str, str]:
        start = self.position
        word = _WORD.match(self.text, start, closing)
        name = word[0] if word else ""
        if name == "--srv":
            self.position = start + len(name)
            return name, ""
        if name not in _OPTION_VALUES:
            raise self.fail(f"{name!r} is not an option; there are --key --uid --pwd --post --alias --srv.", start)
        here = start + len(name)
        while here < closing and self.text[here] == " ":
            here += 1
        value = _OPTION_VALUES[name].match(self.text, here, closing)
        if not value:
            wants = "a letter from A to P" if name in {"--post", "--alias"} else "a value"
            raise self.fail(f"{name} needs {wants}.", here)
        self._check_macros(here, value.end())
        self.position = value.end()
        return name, value[0].strip('"')

    def _check_macros(self, start: int, end: int) -> None:
        here = self.text.find("$", start, end)
        while here >= 0:
            match = _MACRO.match(self.text, here, end)
            if not match:
                raise self.fail('"$" begins a macro, as $MA or $(MA:0:6); write "$$" for the character itself.', here)
            here = self.text.find("$", match.end(), end)

    def _url(self) -> tuple[str, str, int | None, str]:
        start = self.position
        cut = self.text.find("|", start)
        # Behind the URL and its blanks: at "|" or at the end.
        self.position = cut if cut >= 0 else self.end
        end = start + len(self.text[start : self.position].rstrip(" "))
        if start == end:
            return "", "", None, ""
        blank = self.text.find(" ", start, end)
        if blank >= 0:
            raise self.fail("a URL holds no blanks; write %20.", blank)
        self._check_macros(start, end)
        if macro := _MACRO.match(self.text, start, end):
            # `$A` alone: the whole URL may stand in a general purpose parameter of the phone.
            return "", "", None, self.text[macro.start() : end]
        match = _SCHEME.match(self.text, start, end)
        if not match:
            return self._location(start, end, "")
        scheme = match[1].lower()
        if scheme not in SCHEMES:
            raise self.fail(f"scheme {match[1]!r} is unknown to phones; they take tftp, http, https and gds.", start)
        if scheme == "gds" and match.end() == end:
            return scheme, "", None, ""
        if match.end() == end:
            raise self.fail("a server name was expected after the scheme.", end)
        return self._location(match.end(), end, scheme)

    def _location(self, start: int, end: int, scheme: str) -> tuple[str, str, int | None, str]:
        if self.text[start] == "/":
            if scheme in {"http", "https"}:
                raise self.fail("a server name was expected after the scheme.", start)
            return scheme, "", None, self.text[start:end]
        userinfo = self.text.find("@", start, end)
        slash = self.text.find("/", start, end)
        if userinfo >= 0 and (slash < 0 or userinfo < slash):
            raise self.fail("a user name does not belong into the URL; use [--uid U --pwd P].", userinfo)
        if not scheme and slash < 0 and ":" not in self.text[start:end]:
            # A bare file name, as the factory default $PN.cfg: read from the TFTP server that DHCP gave.
            return scheme, "", None, self.text[start:end]
        match = _SERVER.match(self.text, start, end)
        if not match or (match.end() < end and self.text[match.end()] not in "/?"):
            raise self.fail("a server name was expected here.", start)
        port = self._port(match) if match["port"] is not None else None
        server = self.text[start : match.end()] if match["port"] is None else self.text[start : match.start("port") - 1]
        self._check_server(server, start)
        return scheme, server, port, self.text[match.end() : end]

    def _port(self, match: re.Match[str]) -> int | None:
        text = match["port"]
        if text.startswith("$"):
            return None
        if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
            raise self.fail(f"{text!r} is not a port; it is a number from 1 to 65535.", match.start("port"))
        return int(text)

    def _check_server(self, server: str, start: int) -> None:
        if "$" in server:
            return
        if server.startswith("["):
            try:
                IPv6Address(server[1:-1])
            except ValueError:
                raise self.fail(f"{server!r} is not a server name.", start) from None
            return
        for label in server.removesuffix(".").split("."):
            if not _HOST_LABEL.fullmatch(label):
                raise self.fail(f"{server!r} is not a server name.", start)
