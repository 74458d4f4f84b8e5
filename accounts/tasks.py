"""Accounts' own jobs, rung by beat. Each may run twice, late, or not at all this time."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from accounts import chaining, idempotency

# One key may write 8.6 million times a day; a round every five minutes keeps up with dozens of such.
_MOST_BATCHES = 50


@shared_task(ignore_result=True)
def chain() -> int:
    """Give new audit entries their places in the chains."""
    return chaining.extend(at=timezone.now())


@shared_task(ignore_result=True)
def prune_audit() -> int:
    """Delete audit entries whose keeping time is over."""
    at = timezone.now()
    return chaining.prune(before=at - timedelta(days=settings.AUDIT_KEPT_DAYS), at=at)


@shared_task(ignore_result=True)
def prune_answers() -> int:
    """Delete answers to writes with an Idempotency-Key that are kept no longer."""
    at, pruned = timezone.now(), 0
    for _ in range(_MOST_BATCHES):
        batch = idempotency.prune(at=at)
        pruned += batch
        if not batch:
            break
    return pruned
