"""What can be done with a webhook: make, change, delete, rotate its secret, pause, resume, test, send again.

Every verb writes in one transaction and leaves an audit entry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from accounts import auditing
from accounts.actors import Actor
from accounts.models import Organization
from accounts.seals import Seal
from events import kinds, signatures
from events.models import Event, Sequencer, WebhookDelivery, WebhookEndpoint
from onboarding import outbound
from onboarding.errors import OnboardingError
from onboarding.outbound import Rules

# What the secrets are sealed for (`accounts.seals`).
SEALED = "events.webhooks"
# Of one organization.
MOST_WEBHOOKS = 20
# How long the former secret signs beside the new one.
OVERLAP = timedelta(hours=24)
# Tests that wait for one endpoint, at most.
_MOST_TESTS = 5


class TooManyWebhooks(OnboardingError):
    """The organization has as many webhooks as one may have."""

    code = "too_many_webhooks"
    remedy = "Delete a webhook that you no longer need, or let one receiver take more types."


class UnknownEventType(OnboardingError):
    """There is no such type of event."""

    code = "unknown_event_type"
    remedy = f"Types are: {', '.join(kinds.TYPES)}. An empty list takes them all."


class WebhookGone(OnboardingError):
    """The webhook was deleted while this was under way."""

    code = "not_found"
    remedy = "Look at the list again."


class WebhookNotRunning(OnboardingError):
    """The webhook is paused or not enabled, so nothing is sent to it."""

    code = "webhook_not_running"
    remedy = "Enable the webhook, or resume it, first."


class NothingToSend(OnboardingError):
    """What was sent cannot be sent again."""

    code = "nothing_to_send"
    remedy = "Read the present state of your devices instead: GET /api/v1/devices/."


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What an owner says about a webhook."""

    url: str
    types: Sequence[str] = ()
    enabled: bool = True


def create(
    *, actor: Actor, organization: Organization, wishes: Wishes, rules: Rules, seal: Seal, at: datetime
) -> tuple[WebhookEndpoint, str]:
    """Make a webhook; gives it and its secret, which is shown this once.

    Raises InvalidUrl, AddressNotAllowed, UnknownEventType, TooManyWebhooks.
    """
    columns = _columns(wishes, rules)
    secret = signatures.new_secret()
    with transaction.atomic():
        # Its lock: two at once must not both be the twentieth.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        if WebhookEndpoint.objects.filter(organization=organization).count() >= MOST_WEBHOOKS:
            raise TooManyWebhooks(
                f"There are {MOST_WEBHOOKS} webhooks already, the most that an organization may have."
            )
        row = WebhookEndpoint.objects.create(
            organization=organization,
            through_id=actor.through(organization.pk),
            secret=seal.close(secret.encode()),
            created_at=at,
            created_by=actor.name[:160],
            **columns,
        )
        _record(actor, row, "webhook.created", at=at, after=columns)
    return row, secret


@transaction.atomic
def change(*, actor: Actor, row: WebhookEndpoint, wishes: Wishes, rules: Rules, at: datetime) -> WebhookEndpoint:
    """Set what an owner may say. One that is switched off forgets what waits. Raises as `create`, and WebhookGone."""
    columns = _columns(wishes, rules)
    held = _held(row)
    changes = {name: value for name, value in columns.items() if getattr(held, name) != value}
    if not changes:
        return held
    before = {name: getattr(held, name) for name in changes}
    for name, value in changes.items():
        setattr(held, name, value)
    if changes.get("enabled") is False:
        cancel_waiting(held, "The webhook was switched off.")
        held.queued_to = None
    if "url" in changes:
        # Another receiver has no part in the former one's failures, and who named it answers for it.
        held.through_id = actor.through(held.organization_id)
        held.failures, held.failing_since, held.retry_at = 0, None, None
    held.save(update_fields=[*changes, "through", "queued_to", "failures", "failing_since", "retry_at"])
    _record(actor, held, "webhook.changed", at=at, before=before, after=changes)
    return held


@transaction.atomic
def delete(*, actor: Actor, row: WebhookEndpoint, at: datetime) -> None:
    """End a webhook, with its log. What waits is never sent."""
    held = _held(row)
    _record(actor, held, "webhook.deleted", at=at, before={"url": held.url, "types": held.types})
    held.delete()


@transaction.atomic
def rotate(*, actor: Actor, row: WebhookEndpoint, seal: Seal, at: datetime) -> tuple[WebhookEndpoint, str]:
    """Give a new secret, shown this once. For 24 hours the former one signs too; one before that ends at once."""
    held = _held(row)
    secret = signatures.new_secret()
    held.old_secret, held.old_secret_until = bytes(held.secret), at + OVERLAP
    held.secret = seal.close(secret.encode())
    held.save(update_fields=["secret", "old_secret", "old_secret_until"])
    _record(actor, held, "webhook.rotated", at=at, after={"old_secret_until": held.old_secret_until.isoformat()})
    return held, secret


@transaction.atomic
def pause(*, actor: Actor, row: WebhookEndpoint, at: datetime) -> WebhookEndpoint:
    """Stop sending by hand. Events wait, as long as they are kept. Pausing again changes nothing."""
    held = _held(row)
    if held.paused_at is None:
        held.paused_at, held.paused_reason = at, f"Paused by {actor.name}."[:200]
        held.save(update_fields=["paused_at", "paused_reason"])
        _record(actor, held, "webhook.paused", at=at, after={"reason": held.paused_reason})
    return held


@transaction.atomic
def resume(*, actor: Actor, row: WebhookEndpoint, at: datetime) -> WebhookEndpoint:
    """Send again, what waited first. Resuming one that runs changes nothing."""
    held = _held(row)
    if held.paused_at is not None:
        reason = held.paused_reason
        held.through_id = actor.through(held.organization_id)
        held.paused_at, held.paused_reason, held.notice_due_at = None, "", None
        held.failures, held.failing_since, held.retry_at = 0, None, None
        held.save(
            update_fields=[
                "paused_at",
                "paused_reason",
                "notice_due_at",
                "failures",
                "failing_since",
                "retry_at",
                "through",
            ]
        )
        _waiting(held).update(next_attempt_at=at)
        _record(actor, held, "webhook.resumed", at=at, before={"reason": reason})
    return held


@transaction.atomic
def test(*, actor: Actor, row: WebhookEndpoint, at: datetime) -> WebhookDelivery:
    """Queue a `webhook.test` for this endpoint alone, whatever types it takes. Raises WebhookNotRunning."""
    held = _held(row)
    _require_running(held)
    tests = list(_waiting(held).filter(type=kinds.WEBHOOK_TEST).order_by("pk")[:_MOST_TESTS])
    if len(tests) == _MOST_TESTS:
        # Pressing the button again and again fills no queue.
        return tests[-1]
    delivery = WebhookDelivery(endpoint=held, type=kinds.WEBHOOK_TEST, payload={}, at=at, next_attempt_at=at)
    delivery.save()
    moment = at.isoformat().replace("+00:00", "Z")
    delivery.payload = {
        "id": delivery.message_id, "type": kinds.WEBHOOK_TEST, "timestamp": moment, "at": moment,
        "data": {"webhook": held.pk, "by": actor.name},
    }  # fmt: skip
    delivery.save(update_fields=["payload"])
    # Whoever tests has mended something: it is not kept waiting for the next probe.
    WebhookEndpoint.objects.filter(pk=held.pk).update(retry_at=None)
    _record(actor, held, "webhook.tested", at=at)
    return delivery


@transaction.atomic
def redeliver(*, actor: Actor, delivery: WebhookDelivery, at: datetime) -> WebhookDelivery:
    """Send one event again, under the same `webhook-id`, as a delivery of its own. One that waits is made due.

    Raises WebhookNotRunning, NothingToSend.
    """
    held = _held(delivery.endpoint)
    _require_running(held)
    if delivery.status == "queued":
        WebhookDelivery.objects.filter(pk=delivery.pk, status="queued").update(next_attempt_at=at)
        again = delivery
        again.next_attempt_at = at
    else:
        known = delivery.event is not None and Event.objects.filter(pk=delivery.event).exists()
        if not known and delivery.payload is None:
            raise NothingToSend("The event is no longer kept.")
        again = WebhookDelivery.objects.create(
            endpoint=held, event=delivery.event, type=delivery.type, payload=delivery.payload, at=at, next_attempt_at=at
        )
    WebhookEndpoint.objects.filter(pk=held.pk).update(retry_at=None)
    _record(actor, held, "webhook.redelivered", at=at, after={"delivery": delivery.pk, "event": delivery.message_id})
    return again


@transaction.atomic
def redeliver_since(*, actor: Actor, row: WebhookEndpoint, since: datetime, at: datetime) -> None:
    """Send every event recorded since a time again, in order, as far as events are kept. Raises WebhookNotRunning.

    They are queued by the sequencer, a bounded number at a time.
    """
    # The sequencer's lock first, as it takes them: it moves `queued_to` too.
    place = Sequencer.objects.select_for_update().filter(pk=1).first() or Sequencer()
    held = _held(row)
    _require_running(held)
    start = _position_before(since, organization_id=held.organization_id, end=place.position)
    if held.queued_to is None or start < held.queued_to:
        WebhookEndpoint.objects.filter(pk=held.pk).update(queued_to=start)
    # What waits for its first attempt would come twice.
    _waiting(held).filter(event__gt=start, attempt=0).delete()
    _record(actor, held, "webhook.redelivered", at=at, after={"since": since.isoformat()})


def _position_before(since: datetime, *, organization_id: int, end: int) -> int:
    """The position after which the organization's events were recorded at `since` or later. They rise with time."""
    rows = Event.objects.filter(organization_id=organization_id)
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        row = rows.filter(position__gt=middle).order_by("position").values_list("position", "recorded_at").first()
        if row is None or row[1] >= since:
            high = middle
        else:
            low = row[0]
    return low


def reseal(*, seal: Seal) -> int:
    """Put every secret under the first key, each in a transaction of its own; gives how many webhooks there are.

    May be stopped and started anew, and runs beside traffic. Raises SealUnreadable.
    """
    seen = 0
    for pk in WebhookEndpoint.objects.order_by("pk").values_list("pk", flat=True).iterator():
        with transaction.atomic():
            row = WebhookEndpoint.objects.select_for_update().filter(pk=pk).first()
            if row is None:
                continue
            row.secret = seal.close(seal.open(bytes(row.secret)))
            if row.old_secret is not None:
                row.old_secret = seal.close(seal.open(bytes(row.old_secret)))
            row.save(update_fields=["secret", "old_secret"])
        seen += 1
    return seen


def cancel_waiting(row: WebhookEndpoint, reason: str) -> None:
    """Never send what waits."""
    _waiting(row).update(status="cancelled", next_attempt_at=None, error=reason)


def _waiting(row: WebhookEndpoint) -> "QuerySet[WebhookDelivery]":
    return WebhookDelivery.objects.filter(endpoint=row, status="queued")


def _held(row: WebhookEndpoint) -> WebhookEndpoint:
    """The row as it is now, locked."""
    held: WebhookEndpoint | None = WebhookEndpoint.objects.select_for_update().filter(pk=row.pk).first()
    if held is None:
        raise WebhookGone("The webhook was deleted.")
    return held


def _require_running(row: WebhookEndpoint) -> None:
    if not row.enabled or row.paused_at is not None:
        raise WebhookNotRunning("The webhook is " + ("not enabled." if not row.enabled else "paused."))


def _columns(wishes: Wishes, rules: Rules) -> dict[str, object]:
    outbound.check(wishes.url, rules)
    unknown = [type_ for type_ in wishes.types if type_ not in kinds.TYPES]
    if unknown:
        raise UnknownEventType(f"{unknown[0][:40]!r} is not a type of event.", field="types")
    types = [type_ for type_ in kinds.TYPES if type_ in wishes.types]
    return {"url": wishes.url, "types": types, "enabled": wishes.enabled}


def _record(
    actor: Actor, row: WebhookEndpoint, action: str, *, at: datetime,
    before: Mapping[str, object] | None = None, after: Mapping[str, object] | None = None,
) -> None:  # fmt: skip
    auditing.record(
        actor, organization_id=row.organization_id, action=action, subject=f"Webhook {row.url}", at=at,
        before=before, after=after,
    )  # fmt: skip
