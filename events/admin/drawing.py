"""How a webhook's health is drawn: its standing in a word, and a bar for each of the last deliveries."""

from collections.abc import Sequence
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from events.models import WebhookDelivery, WebhookEndpoint

# Bars in a row.
MOST_BARS = 30
_BAR, _GAP, _HEIGHT, _LEAST = 5, 2, 22, 12
# Past this a bar has its full height.
_SLOWEST_MS = 5000

_TONES = {"delivered": "good", "failed": "bad", "cancelled": "faint", "queued": "faint"}
WORDS = {"delivered": "delivered", "failed": "failed", "cancelled": "cancelled", "queued": "waits"}


def standing(row: WebhookEndpoint) -> SafeString:
    """A mark: good, failing, paused, off, or not yet used."""
    if not row.enabled:
        return _mark("expired", "off", "Nothing is sent to it and nothing waits.")
    if row.paused_at is not None:
        return _mark("bad", "paused", row.paused_reason)
    if row.failures:
        return _mark("stalled", "failing", f"{row.failures} attempts in a row have failed.")
    if row.delivered_at is None:
        return _mark("issued", "new", "Nothing has been sent to it yet.")
    return _mark("good", "good", "The last attempt went well.")


def _mark(tone: str, word: str, title: str) -> SafeString:
    return format_html('<span class="mark mark-{}" title="{}">{}</span>', tone, title, word)


def status(row: WebhookDelivery) -> SafeString:
    """A delivery's mark; one that waits after a failure is told from one that waits for its first attempt."""
    if row.status == "queued" and row.attempt:
        return format_html(
            '<span class="mark mark-stalled">{}</span>',
            "tried once" if row.attempt == 1 else f"tried {row.attempt} times",
        )
    tone = {"delivered": "good", "failed": "bad"}.get(row.status, "expired")
    return format_html('<span class="mark mark-{}">{}</span>', tone, WORDS[row.status])


def outcome(row: WebhookDelivery) -> str:
    """What the receiver said, or why it said nothing."""
    if row.response_status is not None:
        return f"{row.response_status} {row.response_excerpt}".strip()
    return row.error


def bars(rows: Sequence[WebhookDelivery]) -> SafeString:
    """The last deliveries, the newest at the right: green or red, the higher the longer it took."""
    drawn = list(reversed(rows[:MOST_BARS]))
    if not drawn:
        return format_html('<span class="faint">{}</span>', "nothing sent yet")
    counts = {word: sum(row.status == name for row in drawn) for name, word in WORDS.items()}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    shapes = format_html_join(
        "",
        '<rect class="bar-{}" x="{}" y="{}" width="{}" height="{}" rx="1"/>',
        (_bar(n, row) for n, row in enumerate(drawn)),
    )
    width = len(drawn) * (_BAR + _GAP)
    return format_html(
        '<svg class="deliveries" role="img" aria-label="The last {}: {}" width="{}" height="{}" viewBox="0 0 {} {}">'
        "<title>The last {}: {}</title>{}</svg>",
        len(drawn), told, width, _HEIGHT, width, _HEIGHT, len(drawn), told, shapes,
    )  # fmt: skip


def _bar(place: int, row: WebhookDelivery) -> tuple[Any, ...]:
    tone = "warn" if row.status == "queued" and row.attempt else _TONES[row.status]
    height = _LEAST + round(min(row.duration_ms or 0, _SLOWEST_MS) / _SLOWEST_MS * (_HEIGHT - _LEAST))
    return tone, place * (_BAR + _GAP), _HEIGHT - height, _BAR, height
