"""The words of labels, by which devices are found: kept beside the registration by whoever writes a label.

A word is a run of letters and digits, without case and accents: `Müller's Büro 2` has muller, s, buro, 2. Words are
compared as octets, so that their beginnings are ranges of an index on both databases, whatever their collation. MACs
and serial numbers have indexes of their own on the device and need nothing here.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.db import connection

from accounts import statements
from accounts.statements import Statement

_WORD = re.compile(r"[^\W_]+")
MAX_WORD_OCTETS = 240

_INSERT = "INSERT INTO onboarding_deviceword (organization_id, word, device_id)"
_KINDS = ("bigint[]", "bytea[]", "bigint[]")
_INSERT_POSTGRESQL = Statement.of(f"{_INSERT} SELECT * FROM unnest(%s, %s, %s) ON CONFLICT DO NOTHING", _KINDS)  # noqa: S608  (no values)
_INSERT_SQLITE = _INSERT + " VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_DELETE = "DELETE FROM onboarding_deviceword WHERE organization_id = %s AND word = %s AND device_id = %s"
_DELETE_POSTGRESQL = Statement.of(
    """
    DELETE FROM onboarding_deviceword AS present USING unnest(%s, %s, %s) AS old (o, w, d)
    WHERE present.organization_id = o AND present.word = w AND present.device_id = d
    """,
    _KINDS,
)


class Label(NamedTuple):
    """A device's label."""

    organization_id: int
    device_id: int
    text: str


def words(text: str) -> list[bytes]:
    """The distinct words of a text, each without case and accents, in UTF-8. Pure."""
    if text.isascii():
        plain = text.lower()
    else:
        # Twice, since either makes work for the other: № becomes No, and İ an i with a dot.
        decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return sorted({found.encode()[:MAX_WORD_OCTETS] for found in _WORD.findall(plain)})


def write_words(labels: Iterable[Label]) -> None:
    """Add the words of new labels, in the transaction that writes the devices. Labels without words cost nothing."""
    _execute(_INSERT_POSTGRESQL, _INSERT_SQLITE, labels)


def delete_words(labels: Iterable[Label]) -> None:
    """Take the words of labels away that devices had until now: before `write_words` of the new ones, or at the end."""
    _execute(_DELETE_POSTGRESQL, _DELETE, labels)


def _execute(postgresql: Statement, sqlite: str, labels: Iterable[Label]) -> None:
    # In one order everywhere, so that two writers rarely wait for each other in a circle.
    rows: Sequence[tuple[int, bytes, int]] = sorted(
        (label.organization_id, word, label.device_id) for label in labels if label.text for word in words(label.text)
    )
    if not rows:
        return
    if connection.vendor == "postgresql":
        statements.write(postgresql, [list(column) for column in zip(*rows, strict=True)])
        return
    with connection.cursor() as cursor:
        cursor.executemany(sqlite, rows)
