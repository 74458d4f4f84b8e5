"""Trust's own job, rung by beat."""

import logging

from celery import shared_task
from django.utils import timezone

from trust import authorities

logger = logging.getLogger(__name__)


@shared_task(ignore_result=True)
def warn() -> int:
    """Tell the operator of authorities that expire and lists that are out of date; gives how many."""
    warnings = authorities.expiring(at=timezone.now())
    for warning in warnings:
        logger.warning("%s", warning)
    return len(warnings)
