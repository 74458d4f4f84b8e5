"""Keeping the history bounded: rows whose keeping time is over are deleted, a limited number at a time."""

from datetime import datetime

from django.db import transaction

from onboarding.models import StateChange

_ROWS_AT_ONCE = 5000


def prune(*, before: datetime, most: int = 500_000) -> int:
    """Delete rows recorded before `before`, in transactions of a few thousand; gives how many."""
    deleted = 0
    while deleted < most:
        with transaction.atomic():
            old = (
                StateChange.objects.filter(recorded_at__lt=before).order_by("recorded_at").values_list("pk", flat=True)
            )
            count, _ = StateChange.objects.filter(pk__in=list(old[:_ROWS_AT_ONCE])).delete()
        deleted += count
        if count < _ROWS_AT_ONCE:
            break
    return deleted
