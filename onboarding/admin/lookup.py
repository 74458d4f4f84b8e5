"""What people type into the search box, as queries that an index answers.

    a MAC in any notation             that device
    beginning or end of a MAC         as 0056.2b, 36:15
    beginning or end of a serial      as FCH21, 3E8B9
    beginnings of the label's words   as reception muns

Beginnings are ranges (`>=` and `<`), which the ordinary indexes of both databases serve whatever the collation; an end
is the beginning of the reversed text. Each kind is asked for by itself and gives so many devices at most: one query
with OR between them would have PostgreSQL read a million rows where it guesses badly.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet
from django.db.models.functions import Reverse

from accounts.models import Organization
from accounts.tenancy import Viewer
from onboarding import search
from onboarding.errors import OnboardingError
from onboarding.identifiers import MAX_TEXT_LENGTH, MacAddress
from onboarding.models import DeviceWord

# Devices of each kind of match. A person who finds more types on.
MOST_FOUND = 200

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SEPARATORS = re.compile(r"[\s:.\-]")
_HEXADECIMAL = re.compile(r"[0-9A-F]{1,12}")
_PLAIN = re.compile(r"[0-9A-Z]{1,32}")
# An end of one character is no end that anybody looks for.
_LEAST_END = 2

_MOST_WORDS = 8
# Of several words the rarest leads; where even that is in more labels than this, the first ones are looked through.
_MOST_LABELS = 5000
# No text in UTF-8 has it, so it follows every continuation of a beginning.
_AFTER_ALL = b"\xff"


class Found(NamedTuple):
    """The ids of the devices that match, and whether there may be more than these."""

    ids: set[int]
    is_cut: bool


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


def beginning_of_mac(text: str) -> Q | None:
    """The condition for a whole MAC or its beginning; None where nothing can match."""
    whole = mac(text)
    if whole is not None:
        return Q(mac=str(whole))
    digits = _SEPARATORS.sub("", text.strip().upper())
    return beginning("mac", digits) if _HEXADECIMAL.fullmatch(digits) else None


def devices(rows: "QuerySet[Any]", text: str, viewer: Viewer, *, most: int = MOST_FOUND) -> Found:
    """Those of `rows` (what the viewer may see, perhaps filtered) that match what was typed, `most` of each kind."""
    if len(text) > MAX_TEXT_LENGTH or not text.isprintable():
        return Found(set(), is_cut=False)
    rows = rows.order_by()
    owners = _owners(viewer)
    owned = rows.filter(organization_id__in=owners)
    kinds = [_ids(kind, most) for kind in _kinds(rows, owned, text)]
    if mac(text) is None and (typed := search.words(text)[:_MOST_WORDS]):
        kinds.append(_by_words(owned, owners, typed, most))
    return Found({pk for found in kinds for pk in found.ids}, any(found.is_cut for found in kinds))


def _owners(viewer: Viewer) -> Sequence[int]:
    """The organizations to look in, by name even for those who see all: the indexes begin with them."""
    if viewer.sees_everything:
        return list(Organization.objects.values_list("pk", flat=True))
    return sorted(viewer.organization_ids | {owner for owner, _ in viewer.limited})


def _ids(rows: "QuerySet[Any]", most: int) -> Found:
    ids = list(rows.values_list("pk", flat=True)[: most + 1])
    return Found(set(ids[:most]), len(ids) > most)


def _kinds(rows: "QuerySet[Any]", owned: "QuerySet[Any]", text: str) -> list["QuerySet[Any]"]:
    """One query for each way in which a MAC or a serial can match."""
    whole = mac(text)
    if whole is not None:
        return [rows.filter(mac=str(whole)), owned.filter(serial=str(whole))]
    typed = text.strip().upper()
    digits = _SEPARATORS.sub("", typed)
    kinds = []
    if _HEXADECIMAL.fullmatch(digits):
        kinds.append(rows.filter(beginning("mac", digits)).order_by("mac"))
        if len(digits) >= _LEAST_END:
            kinds.append(owned.alias(mac_end=Reverse("mac")).filter(beginning("mac_end", digits[::-1])))
    if _PLAIN.fullmatch(typed):
        kinds.append(owned.filter(beginning("serial", typed)))
        if len(typed) >= _LEAST_END:
            kinds.append(owned.alias(serial_end=Reverse("serial")).filter(beginning("serial_end", typed[::-1])))
    return kinds


def _by_words(owned: "QuerySet[Any]", owners: Sequence[int], typed: Sequence[bytes], most: int) -> Found:
    """The devices of whose label each of these words begins a word."""
    leading = typed[0]
    if len(typed) > 1:
        counts = {
            word: DeviceWord.objects.filter(_word(word, "word"), organization_id__in=owners)[:_MOST_LABELS].count()
            for word in typed
        }
        leading = min(typed, key=lambda word: counts[word])
    rows = owned.filter(_word(leading, "words__word"), words__organization_id__in=owners)
    if len(typed) == 1:
        return _ids(rows, most)
    labels = list(rows.values_list("pk", "label")[:_MOST_LABELS])
    ids = {pk for pk, label in labels if all(_begins_a_word(word, search.words(label)) for word in typed)}
    return Found(set(sorted(ids)[:most]), len(ids) > most or len(labels) == _MOST_LABELS)


def _word(prefix: bytes, column: str) -> Q:
    return Q(**{f"{column}__gte": prefix, f"{column}__lt": prefix + _AFTER_ALL})


def _begins_a_word(prefix: bytes, words: Sequence[bytes]) -> bool:
    return any(word.startswith(prefix) for word in words)
