"""Delivering: what waits is sent to its endpoints, signed, by one coordinator with a bounded pool of senders.

The coordinator alone speaks to the database: it leases an endpoint, reads a slice of what is due there, hands it to a
sender, and writes down in one transaction what came of it. A sender takes its slice in order and stops at the first
failure. So one endpoint has one request at a time, over one connection, and sees events in their order, but for those
that failed and come again later. A slice is short, and so is the lease: what a killed worker had sent but not written
down is sent once more, under the same id.

An endpoint whose last attempt failed, or that is slow, is asked from a share of the senders only, and with one delivery
until it takes one. After an outage everything that failed meanwhile is due at once.
"""

import json
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q
from standardwebhooks import Webhook

from accounts import auditing, mandates
from accounts.actors import Actor
from accounts.seals import Seal, SealUnreadable
from events import schedule, signatures
from events.models import Event, WebhookDelivery, WebhookEndpoint
from onboarding.outbound import AddressNotAllowed, Client, InvalidUrl, Unreachable

# Senders of one worker, and how many of them may be busy with endpoints that fail or are slow.
SENDERS, CAREFUL_SENDERS = 16, 8
# A slice: so many deliveries, or so long.
SLICE, SLICE_SECONDS = 200, 2.0
# Slower than this on average, an endpoint counts as slow.
SLOW_SECONDS = 1.0
# One request, at most: a name and an answer. A slice ends before its lease does.
_LONGEST_SECONDS = 13.0
LEASE = timedelta(seconds=60)
# A run begins nothing new after so long, but for others while one is held up.
RUN_SECONDS = 5.0

EXCERPT = 200
_READ_AT_MOST = 1024
# After so many failures in a row it was an outage, not an event that a receiver cannot digest.
_OUTAGE = 3
_WORKER = Actor("webhooks", "webhooks")


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery, ready to be signed and sent."""

    delivery_id: int
    attempt: int
    message_id: str
    body: str


@dataclass(slots=True)
class Outcome:
    """What came of one attempt. `status` is the answer's, None without one; `error` says why."""

    message: Message
    at: datetime
    status: int | None = None
    excerpt: str = ""
    error: str = ""
    milliseconds: int = 0
    asked: timedelta = timedelta()

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(slots=True)
class _Slice:
    endpoint: WebhookEndpoint
    messages: list[Message]
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Busy:
    """A sender at work: whether from the share for endpoints that fail or are slow, and since when."""

    careful: bool
    since: float


def deliver_due(
    *, now: Callable[[], datetime], seal: Seal, client: Client, seconds: float = RUN_SECONDS, senders: int = SENDERS
) -> int:
    """Send what is due, for about `seconds`; gives how many attempts were made. `now` is the clock of the attempts."""
    began, made = time.monotonic(), 0
    slow: set[int] = set()
    busy: dict[Future[_Slice], _Busy] = {}
    careful_share = max(1, senders * CAREFUL_SENDERS // SENDERS)
    with ThreadPoolExecutor(max_workers=senders, thread_name_prefix="sender") as pool:
        while True:
            present = time.monotonic()
            begins = present - began < seconds
            # While one receiver takes its time, the others are not kept waiting for the end of this run.
            held_up = present - began < seconds + _LONGEST_SECONDS and any(
                present - one.since > SLICE_SECONDS for one in busy.values()
            )
            if begins or held_up:
                careful = careful_share - sum(one.careful for one in busy.values()) if begins else 0
                for part in _leased(senders - len(busy), careful, slow, at=now()):
                    signers = _signers(part.endpoint, seal, at=now())
                    is_careful = part.endpoint.failures > 0 or part.endpoint.pk in slow
                    busy[pool.submit(_send, part, signers, client, now)] = _Busy(is_careful, present)
            if not busy:
                return made
            done, _ = wait(busy, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                del busy[future]
                part = future.result()
                if part.outcomes and part.seconds / len(part.outcomes) > SLOW_SECONDS:
                    slow.add(part.endpoint.pk)
                made += len(part.outcomes)
                _settle(part, at=now())


def is_due(*, at: datetime) -> bool:
    """Whether anything could be sent now."""
    return bool(_due(at).exists())


# Leasing


def _due(at: datetime) -> Any:
    waiting = WebhookDelivery.objects.filter(endpoint=OuterRef("pk"), status="queued", next_attempt_at__lte=at)
    return WebhookEndpoint.objects.filter(
        Exists(waiting),
        Q(retry_at=None) | Q(retry_at__lte=at),
        Q(leased_until=None) | Q(leased_until__lte=at),
        enabled=True,
        paused_at=None,
        organization__suspended_at=None,
    )


@transaction.atomic
def _leased(room: int, careful: int, slow: set[int], *, at: datetime) -> list[_Slice]:
    """Slices of endpoints that nobody else sends to, leased; those that were asked longest ago first."""
    if room <= 0:
        return []
    rows = _due(at)
    if careful <= 0:
        rows = rows.filter(failures=0).exclude(pk__in=slow)
    rows = rows.order_by(F("attempted_at").asc(nulls_first=True), "pk")
    endpoints = []
    for endpoint in rows.select_for_update(skip_locked=True, of=("self",))[:room]:
        if endpoint.failures or endpoint.pk in slow:
            careful -= 1
            if careful < 0:
                continue
        if not _is_mandated(endpoint):
            _pause(endpoint, "The mandate under which it was made has ended.", at=at)
            continue
        endpoints.append(endpoint)
    WebhookEndpoint.objects.filter(pk__in=[row.pk for row in endpoints]).update(leased_until=at + LEASE)
    return [_Slice(endpoint, _messages(endpoint, at=at)) for endpoint in endpoints]


def _is_mandated(endpoint: WebhookEndpoint) -> bool:
    """Whether the partner that made it, if one did, may still have the provider's events sent."""
    if endpoint.through_id is None:
        return True
    mandate = mandates.find(partner_id=endpoint.through_id, provider_id=endpoint.organization_id)
    return mandate is not None and "webhooks:write" in mandate.scopes and not mandate.profile_ids


def _messages(endpoint: WebhookEndpoint, *, at: datetime) -> list[Message]:
    """What is due, in the order of the events.

    Of an endpoint that fails, the newest that was tried least: a test is next, and what the receiver cannot digest does
    not stand in the way of what it can.
    """
    rows = WebhookDelivery.objects.filter(endpoint=endpoint, status="queued", next_attempt_at__lte=at)
    rows = rows.order_by("attempt", "-pk")[:1] if endpoint.failures else rows.order_by("pk")[:SLICE]
    found = list(rows.values_list("pk", "attempt", "event", "payload"))
    positions = [event for _, _, event, _ in found if event is not None]
    events = {
        event.position: event
        for event in Event.objects.filter(position__in=positions, organization_id=endpoint.organization_id)
    }
    messages = []
    for pk, attempt, position, payload in found:
        if position is None:
            messages.append(Message(pk, attempt + 1, f"test_{pk}", json.dumps(payload)))
        elif position in events:
            messages.append(Message(pk, attempt + 1, f"evt_{position}", body(events[position])))
        else:
            _cancel(pk, "The event is no longer kept.")
    return messages


def _cancel(delivery_id: int, reason: str) -> None:
    WebhookDelivery.objects.filter(pk=delivery_id).update(status="cancelled", next_attempt_at=None, error=reason)


def body(event: Event) -> str:
    """The event as in the feed; `timestamp` is what Standard Webhooks calls `at`."""
    at = event.at.isoformat().replace("+00:00", "Z")
    shown = {"id": event.message_id, "type": event.type, "timestamp": at, "at": at, "data": event.data}
    return orjson.dumps(shown).decode()


def _signers(endpoint: WebhookEndpoint, seal: Seal, *, at: datetime) -> list[Webhook]:
    """Empty where the seal cannot be opened."""
    try:
        signers = [Webhook(seal.open(bytes(endpoint.secret)).decode())]
        if endpoint.old_secret is not None and endpoint.old_secret_until is not None and at < endpoint.old_secret_until:
            signers.append(Webhook(seal.open(bytes(endpoint.old_secret)).decode()))
    except SealUnreadable:
        return []
    return signers


# Sending: in a sender's thread, without the database


def _send(part: _Slice, signers: Sequence[Webhook], client: Client, now: Callable[[], datetime]) -> _Slice:
    began = time.monotonic()
    for message in part.messages:
        outcome = _attempt(part.endpoint.url, message, signers, client, now())
        part.outcomes.append(outcome)
        part.seconds = time.monotonic() - began
        if not outcome.good or part.seconds > SLICE_SECONDS:
            break
    return part


def _attempt(url: str, message: Message, signers: Sequence[Webhook], client: Client, at: datetime) -> Outcome:
    outcome = Outcome(message, at)
    if not signers:
        outcome.error = "The secret's seal cannot be opened. Rotate the secret."
        return outcome
    headers = signatures.headers(signers, message_id=message.message_id, at=at, body=message.body)
    began = time.monotonic()
    try:
        answer = client.send("POST", url, body=message.body.encode(), headers=headers, max_body_bytes=_READ_AT_MOST)
    except (Unreachable, AddressNotAllowed, InvalidUrl) as error:
        outcome.error = error.detail[:EXCERPT]
    except Exception as error:
        # Whatever a receiver provokes, it is its own endpoint's failure.
        outcome.error = f"The request failed ({type(error).__name__})."
    else:
        outcome.status = answer.status
        outcome.excerpt = _printable(answer.body)
        if answer.status in {429, 503}:
            outcome.asked = _asked(answer.headers)
    outcome.milliseconds = round((time.monotonic() - began) * 1000)
    return outcome


def _printable(body: bytes) -> str:
    text = body.decode("utf-8", "replace")[:EXCERPT]
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _asked(headers: Any) -> timedelta:
    wanted = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return timedelta(seconds=int(wanted)) if wanted.isdecimal() and len(wanted) < 8 else timedelta()


# Settling


@transaction.atomic
def _settle(part: _Slice, *, at: datetime) -> None:
    """Write down what came of a slice, and give the endpoint free."""
    endpoint = WebhookEndpoint.objects.select_for_update().filter(pk=part.endpoint.pk).first()
    if endpoint is None:
        # Deleted meanwhile, with its deliveries.
        return
    _write([_row(outcome) for outcome in part.outcomes])
    endpoint.leased_until = None
    for outcome in part.outcomes:
        endpoint.attempted_at = outcome.at
        if outcome.good:
            if endpoint.failures >= _OUTAGE:
                waiting = WebhookDelivery.objects.filter(endpoint=endpoint, status="queued", next_attempt_at__gt=at)
                waiting.update(next_attempt_at=at)
            endpoint.failures, endpoint.failing_since, endpoint.retry_at = 0, None, None
            endpoint.delivered_at = outcome.at
        else:
            endpoint.failures += 1
            endpoint.failing_since = endpoint.failing_since or outcome.at
            endpoint.retry_at = outcome.at + schedule.gate(endpoint.failures, asked=outcome.asked)
            _pause_if_hopeless(endpoint, outcome, at=at)
    endpoint.save(
        update_fields=["leased_until", "attempted_at", "failures", "failing_since", "retry_at", "delivered_at"]
    )


def _pause_if_hopeless(endpoint: WebhookEndpoint, outcome: Outcome, *, at: datetime) -> None:
    reason = ""
    if outcome.status == 410:
        reason = "The receiver answered 410 Gone."
    elif endpoint.failing_since is not None and outcome.at - endpoint.failing_since >= schedule.PAUSED_AFTER:
        answered = f"status {outcome.status}" if outcome.status is not None else outcome.error
        reason = f"Every attempt since {endpoint.failing_since:%Y-%m-%d %H:%M} UTC failed; the last: {answered}"
    if reason and endpoint.paused_at is None:
        _pause(endpoint, reason[:200], at=at)


def _pause(endpoint: WebhookEndpoint, reason: str, *, at: datetime) -> None:
    """Stop sending, on the record, with a notice to the organization's administrators."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(
        paused_at=at, paused_reason=reason, notice_due_at=at, notice_tries=0
    )
    auditing.record(
        _WORKER, organization_id=endpoint.organization_id, action="webhook.paused", subject=f"Webhook {endpoint.url}",
        at=at, after={"reason": reason},
    )  # fmt: skip


_Row = tuple[int, str, int, datetime, int | None, str, str, int, datetime | None]
_COLUMNS = {
    "status": "text", "attempt": "int", "attempted_at": "timestamptz", "response_status": "int",
    "response_excerpt": "text", "error": "text", "duration_ms": "int", "next_attempt_at": "timestamptz",
}  # fmt: skip
# Only what still waits: cancelled meanwhile stays cancelled.
_UPDATE = (
    f"UPDATE events_webhookdelivery SET {', '.join(f'{name} = new.{name}' for name in _COLUMNS)} FROM %s "  # noqa: S608  (names of our own columns)
    "WHERE events_webhookdelivery.id = new.id AND events_webhookdelivery.status = 'queued'"
)
_UPDATE_POSTGRESQL = _UPDATE % (
    f"unnest(%s::bigint[], {', '.join(f'%s::{kind}[]' for kind in _COLUMNS.values())}) "
    f"AS new(id, {', '.join(_COLUMNS)})"
)
_NAMED = ", ".join(f"value ->> {number} AS {name}" for number, name in enumerate(("id", *_COLUMNS)))
_UPDATE_SQLITE = _UPDATE % f"(SELECT {_NAMED} FROM json_each(%s)) AS new"  # noqa: S608  (as above)


def _row(outcome: Outcome) -> _Row:
    message, next_at = outcome.message, None
    status = "delivered" if outcome.good else "failed"
    if not outcome.good:
        later = schedule.delay(message.attempt, chance=random.random(), asked=outcome.asked)  # noqa: S311  (no secret)
        if later is not None:
            status, next_at = "queued", outcome.at + later
    return (
        message.delivery_id, status, message.attempt, outcome.at, outcome.status, outcome.excerpt.replace("\0", " "),
        outcome.error, outcome.milliseconds, next_at,
    )  # fmt: skip


def _write(rows: Sequence[_Row]) -> None:
    if not rows:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_UPDATE_POSTGRESQL, [list(column) for column in zip(*rows, strict=True)])
        else:
            adapt = connection.ops.adapt_datetimefield_value
            plain = [[adapt(value) if isinstance(value, datetime) else value for value in row] for row in rows]
            cursor.execute(_UPDATE_SQLITE, [orjson.dumps(plain).decode()])
