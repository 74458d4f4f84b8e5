"""Conditions of a profile rule: comparisons joined by `and`, as `$SWVER ge 11-3-2 and "$PN" = "CP-8841-3PCC"`.

Operators: = eq, != ne, < lt, <= le, > gt, >= ge. What stands in quotes compares as a string, and only with = and !=.
Unquoted, two numbers compare as numbers and two versions as versions; anything else as strings.
Source: the vendor's provisioning guide, "Conditional Expressions".
"""

import operator
import re
from collections.abc import Callable, Mapping

from virtualphone import macros
from virtualphone.versions import Version

_OPERAND = r'"[^"]*"|(?:\$\([^()]*\)|[^\s"=!<>()])+'
_COMPARISON = re.compile(
    rf"\s*(?P<left>{_OPERAND})\s*(?P<operator>!=|<=|>=|=|<|>|\b(?:eq|ne|lt|le|gt|ge)\b)\s*(?P<right>{_OPERAND})\s*"
)
_AND = re.compile(r"and\b")
_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "eq": operator.eq,
    "!=": operator.ne,
    "ne": operator.ne,
    "<": operator.lt,
    "lt": operator.lt,
    "<=": operator.le,
    "le": operator.le,
    ">": operator.gt,
    "gt": operator.gt,
    ">=": operator.ge,
    "ge": operator.ge,
}
_EQUALITY = frozenset({"=", "eq", "!=", "ne"})


class InvalidCondition(ValueError):
    """The text is not a condition that a phone can evaluate."""


def holds(text: str, values: Mapping[str, str]) -> bool:
    """Evaluate a condition. All of it is read even where its beginning decides. Raises InvalidCondition."""
    result, here = True, 0
    while True:
        match = _COMPARISON.match(text, here)
        if not match:
            raise InvalidCondition(f"a comparison was expected at {text[here:]!r}")
        result &= _compare(match, values)
        here = match.end()
        if here == len(text):
            return result
        joint = _AND.match(text, here)
        if not joint:
            raise InvalidCondition(f'only "and" joins comparisons, not {text[here:]!r}')
        here = joint.end()


def _compare(match: re.Match[str], values: Mapping[str, str]) -> bool:
    quoted = '"' in (match["left"][0], match["right"][0])
    left, right = (macros.expand(match[side].strip('"'), values) for side in ("left", "right"))
    order = None if quoted else _order(left, right)
    if order is not None:
        return _OPERATORS[match["operator"]](order, 0)
    if match["operator"] in _EQUALITY:
        return _OPERATORS[match["operator"]](int(left != right), 0)
    if quoted:
        raise InvalidCondition(f"strings compare with = and != only, not {match['operator']!r}")
    # Neither numbers nor versions on both sides, as a macro that this phone does not know: it cannot be true.
    return False


def _order(left: str, right: str) -> int | None:
    """Negative, zero or positive for two numbers or two versions, else None."""
    if left.isascii() and left.isdigit() and right.isascii() and right.isdigit():
        return int(left[:18]) - int(right[:18])
    mine, theirs = Version.find(left), Version.find(right)
    return mine.compare(theirs) if mine and theirs else None
