"""The door's jobs. The inbox is the queue; a message only rings the bell, and beat rings it anyway."""

from celery import shared_task
from django.utils import timezone

from redirect import changefeed, observing


@shared_task(ignore_result=True)
def apply_observations() -> int:
    """Apply the journal lines that wait in the inbox."""
    return observing.apply_waiting(at=timezone.now())


@shared_task(ignore_result=True)
def prune_feed() -> int:
    """Delete rows of the change feed that every relay followed long ago."""
    return changefeed.prune(before=timezone.now() - changefeed.KEPT)
