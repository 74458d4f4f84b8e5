"""How rows lie in the database: JSON, compressed. Pure."""

import zlib
from collections.abc import Sequence
from typing import Any

import orjson

# The fastest level: rows of one sheet are much alike, and shrink to a tenth even so.
_LEVEL = 1


def pack(rows: Sequence[Any]) -> bytes:
    return zlib.compress(orjson.dumps(rows), _LEVEL)


def unpack(content: bytes | memoryview) -> list[Any]:
    """Read what `pack` gave."""
    rows: list[Any] = orjson.loads(zlib.decompress(content))
    return rows
