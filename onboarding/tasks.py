"""The registry's own jobs, rung by beat. Each may run twice, late, or not at all this time."""

from datetime import timedelta
from functools import lru_cache

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from onboarding import customization, figures, history, shortcodes, sightings, targethealth


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


@lru_cache(maxsize=1)
def _ways() -> targethealth.Ways:
    # Reading the system's authorities takes longer than a test.
    return targethealth.ways(settings.TARGET_NETWORKS, settings.TARGET_CA_FILE)


@shared_task(ignore_result=True)
def check_targets() -> int:
    """Test targets that are due. Rung more often than they are due, so that what was just saved is tested at once."""
    return targethealth.check_due(at=timezone.now(), ways=_ways())


@shared_task(ignore_result=True)
def prune() -> int:
    """Delete history, figures and sightings whose keeping time is over, and plan tests that were never planned."""
    at = timezone.now()
    targethealth.plan_missing(at=at)
    kept_since = at - timedelta(days=settings.HISTORY_KEPT_DAYS)
    pruned = history.prune(before=kept_since) + figures.prune(before=kept_since.date())
    forgotten = at - timedelta(days=settings.SIGHTINGS_KEPT_DAYS)
    return pruned + sightings.prune(before=forgotten) + shortcodes.prune_guessing(before=forgotten)
