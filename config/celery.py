"""Celery: rings bells, carries no data. Beat's periods are the longest delay when every message is lost."""

import gc
import os
import warnings
from typing import Any

from celery import Celery, bootsteps
from celery.schedules import schedule
from kombu import Queue

from config import env, phones

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# A worker that is started directly says in one line what is wrong with its environment.
phones.read_or_stop()

# First tries and containers run as root; a worker here runs nothing but jobs of our own, by their ids.
warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")

# RabbitMQ keeps a quorum queue through the loss of a machine. A bell that nobody heard for so long rings for nothing:
# with no worker for days, the oldest give way. Other brokers know no such arguments.
_QUEUE_ARGUMENTS = (
    {"x-queue-type": "quorum", "x-max-length": 20_000, "x-overflow": "drop-head"}
    if env.text("CELERY_BROKER_URL").startswith("amqp")
    else None
)

app = Celery("onboarding")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    # What waits for other people's servers has a queue of its own, so that it may have a worker of its own: phones'
    # observations do not wait for it. A worker that is told nothing takes both.
    task_queues=[Queue(name, routing_key=name, queue_arguments=_QUEUE_ARGUMENTS) for name in ("celery", "outbound")],
    task_routes={
        "events.tasks.deliver": {"queue": "outbound", "routing_key": "outbound"},
        "onboarding.tasks.check_targets": {"queue": "outbound", "routing_key": "outbound"},
    },
    # A job that waited longer than its period was rung again meanwhile.
    beat_schedule={
        "apply observations": {
            "task": "redirect.tasks.apply_observations",
            "schedule": schedule(2.0),
            "options": {"expires": 2.0},
        },
        "flag stalled": {
            "task": "onboarding.tasks.flag_stalled",
            "schedule": schedule(30.0),
            "options": {"expires": 30.0},
        },
        "check targets": {
            "task": "onboarding.tasks.check_targets",
            "schedule": schedule(5.0),
            "options": {"expires": 5.0},
        },
        "add up figures": {
            "task": "onboarding.tasks.add_up",
            "schedule": schedule(20.0),
            "options": {"expires": 20.0},
        },
        "send mail": {"task": "activation.tasks.send_mail", "schedule": schedule(10.0), "options": {"expires": 10.0}},
        "ring for operations": {
            "task": "operations.tasks.ring",
            "schedule": schedule(2.0),
            "options": {"expires": 2.0},
        },
        "prune operations": {
            "task": "operations.tasks.prune",
            "schedule": schedule(3600.0),
            "options": {"expires": 3600.0},
        },
        "prune codes": {"task": "activation.tasks.prune", "schedule": schedule(3600.0), "options": {"expires": 3600.0}},
        "settle sign-ins": {
            "task": "signin.tasks.settle",
            "schedule": schedule(600.0),
            "options": {"expires": 600.0},
        },
        "prune": {"task": "onboarding.tasks.prune", "schedule": schedule(3600.0), "options": {"expires": 3600.0}},
        "chain the audit": {
            "task": "accounts.tasks.chain",
            "schedule": schedule(5.0),
            "options": {"expires": 5.0},
        },
        "prune kept answers": {
            "task": "accounts.tasks.prune_answers",
            "schedule": schedule(300.0),
            "options": {"expires": 300.0},
        },
        "prune the audit": {
            "task": "accounts.tasks.prune_audit",
            "schedule": schedule(3600.0),
            "options": {"expires": 3600.0},
        },
        "make events": {"task": "events.tasks.sequence", "schedule": schedule(2.0), "options": {"expires": 2.0}},
        "deliver webhooks": {"task": "events.tasks.deliver", "schedule": schedule(2.0), "options": {"expires": 2.0}},
        "tell of paused webhooks": {
            "task": "events.tasks.send_notices",
            "schedule": schedule(30.0),
            "options": {"expires": 30.0},
        },
        "warn of expiring authorities": {
            "task": "trust.tasks.warn",
            "schedule": schedule(86_400.0),
            "options": {"expires": 3600.0},
        },
        "prune events": {"task": "events.tasks.prune", "schedule": schedule(3600.0), "options": {"expires": 3600.0}},
        "prune the feed": {
            "task": "redirect.tasks.prune_feed",
            "schedule": schedule(3600.0),
            "options": {"expires": 3600.0},
        },
    },
)
app.autodiscover_tasks()


class _QuickEnd(bootsteps.StartStopStep):
    """Spares a worker that stops the last collection of all that was loaded: a second, and ten on a busy machine."""

    def stop(self, worker: Any) -> None:
        gc.freeze()


app.steps["worker"].add(_QuickEnd)
