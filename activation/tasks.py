"""Activation's own jobs, rung by beat. Each may run twice, late, or not at all this time. Codes expire without one."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from activation import issuing, mailing
from activation.vault import Vault


@shared_task(ignore_result=True)
def send_mail() -> int:
    """Send the codes that wait to be mailed; they wait on where there is no mail server."""
    return mailing.send_due(at=timezone.now(), vault=Vault(settings.CODE_KEYS)) if settings.SENDS_MAIL else 0


@shared_task(ignore_result=True)
def prune() -> int:
    """Delete codes whose keeping time is over. Buckets of attempts are pruned with those of signing in."""
    at = timezone.now()
    return issuing.prune(before=at - timedelta(days=settings.HISTORY_KEPT_DAYS))
