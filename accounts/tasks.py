"""Accounts' own jobs, rung by beat. Each may run twice, late, or not at all this time."""

from celery import shared_task
from django.utils import timezone

from accounts import idempotency


@shared_task(ignore_result=True)
def prune_answers() -> int:
    """Delete answers to writes with an Idempotency-Key that are kept no longer."""
    return idempotency.prune(at=timezone.now())
