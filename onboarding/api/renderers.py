"""Answers: JSON in UTF-8, as REST framework writes it, by the quicker writer."""

from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework.renderers import JSONRenderer
from rest_framework.utils.encoders import JSONEncoder

_OTHERS = JSONEncoder()


def octets(data: Any) -> bytes:
    """The JSON document. What orjson does not know (lazy texts, decimals) is written as REST framework does."""
    return orjson.dumps(data, default=_OTHERS.default, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


class QuickJSONRenderer(JSONRenderer):
    """REST framework's renderer for every answer."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else octets(data)
