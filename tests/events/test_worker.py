"""The service's own worker makes events and delivers them, rung by beat alone."""

import pytest
from django.utils import timezone

from accounts.seals import Seal
from events import webhooks
from events.webhooks import Wishes
from tests.events.conftest import LOOPBACK
from tests.factories import ACTOR, make_device, make_organization
from tests.service import Service, wait_until


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_plain_worker_makes_events_and_delivers_them(tmp_path, receiver):
    key = "a-key-for-tests-0123456789-abcdefghijkl"
    organization = make_organization()
    _, secret = webhooks.create(
        actor=ACTOR, organization=organization, wishes=Wishes(url=receiver.url), rules=LOOPBACK,
        seal=Seal([key], purpose=webhooks.SEALED), at=timezone.now(),
    )  # fmt: skip
    with Service(tmp_path, environment={"WEBHOOK_NETWORKS": "127.0.0.0/8", "CODE_KEYS": key}) as service:
        service.start("worker")
        mac = make_device(organization=organization).mac
        wait_until(lambda: receiver.received, seconds=40, what="The delivery")
    assert receiver.received[0].verified(secret)["data"]["mac"] == mac
