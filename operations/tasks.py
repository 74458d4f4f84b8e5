"""Bulk work's jobs. The operations are the queue; one bell at a time says that a slice of them is to be done.

A slice rings the next one, which then waits behind whatever else the worker has to do. Beat rings where nothing does.
"""

import time
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from operations import running

_ABANDONED_SHEETS_KEPT = timedelta(days=1)


@shared_task(ignore_result=True)
def ring() -> None:
    """Ring the bell, if something waits and nobody is at it."""
    bell = running.ring(at=timezone.now())
    if bell is not None:
        run.delay(bell)


@shared_task(ignore_result=True)
def run(bell: int) -> None:
    """Do a slice, and have the next one done after what else waits here. A bell that is out no more does nothing."""
    if not running.answer(bell, at=timezone.now()):
        return
    more = running.run_slice(
        at=timezone.now(), own=settings.OWN_ADDRESSES, seconds=time.monotonic, rest=time.sleep
    )  # fmt: skip
    if more:
        run.delay(bell)
    else:
        running.hush(bell)


@shared_task(ignore_result=True)
def prune() -> int:
    """Delete operations with their results and sheets when their keeping time is over."""
    at = timezone.now()
    return running.prune(
        before=at - timedelta(days=settings.RESULTS_KEPT_DAYS), abandoned_before=at - _ABANDONED_SHEETS_KEPT
    )
