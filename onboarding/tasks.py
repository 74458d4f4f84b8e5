"""The registry's own jobs, rung by beat. Each may run twice, late, or not at all this time."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from onboarding import customization, history, shortcodes, sightings


@shared_task(ignore_result=True)
def flag_stalled() -> int:
    """Mark phones that are Custom Pending for too long."""
    return customization.flag_stalled(at=timezone.now())


@shared_task(ignore_result=True)
def prune() -> int:
    """Delete history and sightings whose keeping time is over."""
    at = timezone.now()
    pruned = history.prune(before=at - timedelta(days=settings.HISTORY_KEPT_DAYS))
    forgotten = at - timedelta(days=settings.SIGHTINGS_KEPT_DAYS)
    return pruned + sightings.prune(before=forgotten) + shortcodes.prune_guessing(before=forgotten)
