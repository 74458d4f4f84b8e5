"""Bodies: JSON in UTF-8, bounded, read strictly (no NaN, no endless nesting, no half characters)."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from onboarding.errors import OnboardingError

# Holds 1,000 rows of every field at their longest usual lengths.
MAX_BODY_BYTES = 1024 * 1024


class BodyTooLarge(OnboardingError):
    """The body is longer than the API reads."""

    code = "body_too_large"
    remedy = "Send less at once."


class BoundedJSONParser(BaseParser):
    """REST framework's parser for every body."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Read the body. Raises BodyTooLarge and ParseError."""
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"The body is longer than {MAX_BODY_BYTES} bytes.")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ParseError(f"The body is not JSON: {error}.") from error
