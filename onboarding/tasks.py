"""The registry's own jobs, rung by beat. Each may run twice, late, or not at all this time."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from onboarding import customization, figures, history, shortcodes, sightings


@shared_task(ignore_result=True)
def flag_stalled() -> int:
    """Mark phones that are Custom Pending for too long."""
    return customization.flag_stalled(at=timezone.now())


@shared_task(ignore_result=True)
def add_up() -> int:
    """Bring the first page's figures up to the present."""
    at = timezone.now()
    figures.count_states(at=at)
    return figures.read_history(at=at)


@shared_task(ignore_result=True)
def prune() -> int:
    """Delete history, figures and sightings whose keeping time is over."""
    at = timezone.now()
    kept_since = at - timedelta(days=settings.HISTORY_KEPT_DAYS)
    pruned = history.prune(before=kept_since) + figures.prune(before=kept_since.date())
    forgotten = at - timedelta(days=settings.SIGHTINGS_KEPT_DAYS)
    return pruned + sightings.prune(before=forgotten) + shortcodes.prune_guessing(before=forgotten)
