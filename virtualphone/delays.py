"""How long the phone waits before it tries again.

Source: the vendor's parameter table, Resync_Error_Retry_Delay; Retry-After of RFC 9110, section 10.2.3.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Seconds after the first, second, … failure in a row; the last one repeats.
RESYNC_ERROR_RETRY_DELAY = "60,120,240,480,960,1920,3840,7680,15360,30720,61440,86400"
# The longest that the list knows; also what a server may ask for at most.
LONGEST_SECONDS = 86400


def after_failure(parameters: Mapping[str, str], failures: int) -> int:
    """Seconds to wait after this many failures in a row (from 1 on)."""
    listed = _seconds(parameters.get("Resync_Error_Retry_Delay", "")) or _seconds(RESYNC_ERROR_RETRY_DELAY)
    return listed[min(failures, len(listed)) - 1]


def asked_by_server(retry_after: str, at: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, in either of its two forms; None if there is none to read."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), LONGEST_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((moment - at).total_seconds(), 0.0), LONGEST_SECONDS)


def _seconds(listed: str) -> list[int]:
    words = [word.strip() for word in listed.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 9 for word in words):
        return []
    return [min(int(word), LONGEST_SECONDS) for word in words]
