"""What people type into the search box, as indexed conditions.

A MAC in any notation, the beginning of a MAC or of a serial number, with or without separators. Beginnings are ranges
(`>=` and `<`), which the ordinary indexes of both databases serve whatever the collation.
"""

import re
from collections.abc import Sequence

from django.db.models import Q

from onboarding.errors import OnboardingError
from onboarding.identifiers import MAX_TEXT_LENGTH, MacAddress

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SEPARATORS = re.compile(r"[\s:.\-]")
_HEXADECIMAL = re.compile(r"[0-9A-F]{1,12}")
_PLAIN = re.compile(r"[0-9A-Z]{1,32}")


def mac(text: str) -> MacAddress | None:
    """The MAC that `text` is, if it is a whole one."""
    try:
        return MacAddress.parse(re.sub(r"\s", "", text[:MAX_TEXT_LENGTH]))
    except OnboardingError:
        return None


def beginning(column: str, prefix: str) -> Q:
    """Values of `column` (digits and capitals) that begin with `prefix`, as a range."""
    stem = prefix.rstrip(_ALPHABET[-1])
    within = Q(**{f"{column}__gte": prefix})
    if not stem:
        return within
    follower = stem[:-1] + _ALPHABET[_ALPHABET.index(stem[-1]) + 1]
    return within & Q(**{f"{column}__lt": follower})


def matching(text: str, columns: Sequence[str] = ("mac", "serial")) -> Q | None:
    """The condition for what was typed; None where nothing can match."""
    if len(text) > MAX_TEXT_LENGTH:
        return None
    whole = mac(text)
    if whole is not None:
        return Q(mac=str(whole)) | Q(serial=str(whole)) if "serial" in columns else Q(mac=str(whole))
    typed = text.strip().upper()
    digits = _SEPARATORS.sub("", typed)
    found: Q | None = None
    if "mac" in columns and _HEXADECIMAL.fullmatch(digits):
        found = beginning("mac", digits)
    if "serial" in columns and _PLAIN.fullmatch(typed):
        found = beginning("serial", typed) if found is None else found | beginning("serial", typed)
    return found
