"""The feed's jobs, rung by beat. Each may run twice, late, or not at all this time."""

from datetime import timedelta
from functools import cache

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from accounts.seals import Seal
from events import delivering, feed, notices, sequencing, webhooks
from onboarding.outbound import Client, Rules


@cache
def _client() -> Client:
    """One of each worker process: it keeps connections."""
    return Client(Rules(settings.WEBHOOK_NETWORKS))


@shared_task(ignore_result=True)
def sequence() -> int:
    """Make events of what happened, and have them delivered."""
    made = sequencing.run(at=timezone.now())
    if made and delivering.is_due(at=timezone.now()):
        deliver.delay()
    return made


@shared_task(ignore_result=True)
def deliver() -> int:
    """Send what is due to webhooks, for some seconds. Has a worker of its own: receivers take their time."""
    made = delivering.deliver_due(
        now=timezone.now, seal=Seal(settings.CODE_KEYS, purpose=webhooks.SEALED), client=_client()
    )
    if delivering.is_due(at=timezone.now()):
        deliver.delay()
    return made


@shared_task(ignore_result=True)
def send_notices() -> int:
    """Tell administrators of webhooks that were paused; notices wait on where there is no mail server."""
    return notices.send_due(at=timezone.now()) if settings.SENDS_MAIL else 0


@shared_task(ignore_result=True)
def prune() -> int:
    """Delete events and deliveries whose keeping time is over."""
    return feed.prune(before=timezone.now() - timedelta(days=settings.EVENTS_KEPT_DAYS))
