"""What is done now and then: sessions and buckets that are over go, counted failures become entries of the audit."""

from celery import shared_task
from django.utils import timezone

from accounts import pacing
from signin import failures, sessions


@shared_task
def settle() -> None:
    at = timezone.now()
    failures.settle_all(at=at)
    sessions.prune(at=at)
    pacing.prune(at=at.timestamp())
