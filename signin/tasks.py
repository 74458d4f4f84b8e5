"""What is done now and then: sessions and buckets that are over go, counted failures become entries of the audit."""

from celery import shared_task
from django.utils import timezone

from accounts import pacing
from signin import failures, sessions

# What is left after so many is the next ring's.
_MOST_BATCHES = 100


@shared_task(ignore_result=True)
def settle() -> None:
    at = timezone.now()
    for _ in range(_MOST_BATCHES):
        done = failures.settle_all(at=at), sessions.prune(at=at), pacing.prune(at=at.timestamp())
        if not any(done):
            break
