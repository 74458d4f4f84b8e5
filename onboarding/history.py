"""A device's history as somebody may see it; and keeping all of it bounded, by deleting rows some at a time."""

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from accounts.tenancy import Viewer
from onboarding import registry
from onboarding.models import Device, StateChange

_ROWS_AT_ONCE = 5000


def of_device(device: Device, viewer: Viewer) -> "QuerySet[StateChange]":
    """The rows of a device that `viewer` may see.

    Whoever is limited to the device's profile sees what happened since it came to it: before, its rows may tell of
    other profiles.
    """
    rows = StateChange.objects.filter(device=device)
    if viewer.sees(device.organization_id, None):
        return rows
    if not viewer.sees(device.organization_id, device.profile_id):
        return rows.none()
    about = rows.filter(event__in=(registry.CLAIMED, registry.CHANGED)).order_by("-id")
    for pk, event, evidence in about.values_list("pk", "event", "evidence").iterator(chunk_size=100):
        if event == registry.CLAIMED:
            return rows.filter(pk__gte=pk)
        if "profile" in {*evidence.get("before", ()), *evidence.get("after", ())}:
            # Itself it tells of the profile before.
            return rows.filter(pk__gt=pk)
    return rows.none()


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
