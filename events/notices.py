"""Mails to an organization's administrators when a webhook was paused. The rows are the queue: `notice_due_at`."""

import logging
import smtplib
from datetime import datetime, timedelta

from django.core import mail

from accounts.models import User
from events.models import WebhookEndpoint

logger = logging.getLogger(__name__)

# Put off by so much before each try.
_DELAYS = tuple(timedelta(minutes=minutes) for minutes in (2, 10, 30, 120, 120))
_MOST_AT_ONCE, _MOST_RECIPIENTS = 100, 50


def send_due(*, at: datetime) -> int:
    """Send the notices that are due, each once; gives how many went out. While there is no mail server they wait."""
    sent = 0
    due = WebhookEndpoint.objects.filter(notice_due_at__lte=at).select_related("organization")
    for row in due.order_by("notice_due_at", "pk")[:_MOST_AT_ONCE]:
        if not _lease(row, at=at):
            continue
        recipients = list(
            User.objects.filter(
                memberships__organization=row.organization_id, memberships__role="admin", is_active=True
            )
            .exclude(email="")
            .order_by("pk")
            .values_list("email", flat=True)[:_MOST_RECIPIENTS]
        )
        try:
            if recipients and row.paused_at is not None:
                mail.EmailMessage(f"Webhook paused: {row.url[:80]}", _text(row), bcc=recipients).send()
                sent += 1
        except (OSError, smtplib.SMTPException) as error:
            logger.warning("The notice of webhook %s could not be sent: %s", row.pk, type(error).__name__)
            if row.notice_tries + 1 < len(_DELAYS):
                continue
        WebhookEndpoint.objects.filter(pk=row.pk).update(notice_due_at=None)
    return sent


def _lease(row: WebhookEndpoint, *, at: datetime) -> bool:
    delay = _DELAYS[min(row.notice_tries, len(_DELAYS) - 1)]
    taken = WebhookEndpoint.objects.filter(pk=row.pk, notice_due_at=row.notice_due_at, notice_tries=row.notice_tries)
    return bool(taken.update(notice_due_at=at + delay, notice_tries=row.notice_tries + 1))


def _text(row: WebhookEndpoint) -> str:
    return (
        f"The phone onboarding service has paused a webhook of {row.organization.name}.\n\n"
        f"Receiver: {row.url}\n"
        f"Reason:   {row.paused_reason}\n\n"
        "Nothing is lost yet: events wait, for as long as they are kept. Mend the receiver, then resume the webhook\n"
        "in the admin site or by POST /api/v1/webhooks/{id}/resume/. What waited is sent first.\n"
    ).replace("{id}", str(row.pk))
