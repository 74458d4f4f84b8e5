"""Webhooks on their way: signed, in order, once, and patient with receivers that fail."""

import socket
import time
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone
from standardwebhooks import WebhookVerificationError

from accounts.models import AuditEntry, Organization
from events import delivering, schedule, sequencing, webhooks
from events.models import Event, WebhookDelivery, WebhookEndpoint
from onboarding.outbound import Client, Rules
from tests.events.conftest import LOOPBACK, SEAL
from tests.events.receivers import answer
from tests.factories import ACTOR, make_organization
from tests.races import at_once

pytestmark = pytest.mark.django_db


def log(endpoint):
    return list(WebhookDelivery.objects.filter(endpoint=endpoint).order_by("pk"))


# What is sent


def test_a_message_is_signed_so_that_the_standards_own_library_reads_it(receiver, make_webhook, happen, deliver):
    endpoint, secret = make_webhook(receiver.url)
    (mac,) = happen(endpoint.organization)

    assert deliver() == 1

    (came,) = receiver.received
    message = came.verified(secret)
    event = Event.objects.get()
    assert (message["id"], message["type"], message["data"]["mac"]) == (event.message_id, "device.claimed", mac)
    assert came.headers["webhook-id"] == event.message_id
    assert came.headers["content-type"] == "application/json"
    assert came.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert message["timestamp"] == message["at"]
    with pytest.raises(WebhookVerificationError):
        came.verified("whsec_" + "A" * 43 + "=")


def test_the_log_tells_what_the_receiver_answered(receiver, make_webhook, happen, deliver, clock):
    receiver.behave = lambda handler, came: answer(handler, 200, b"thank\x00 you" + b"x" * 5000)
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization)
    deliver()
    (row,) = log(endpoint)
    assert (row.status, row.attempt, row.response_status, row.next_attempt_at) == ("delivered", 1, 200, None)
    assert row.response_excerpt.startswith("thank  you")
    assert len(row.response_excerpt) <= 200
    endpoint.refresh_from_db()
    assert (endpoint.delivered_at, endpoint.leased_until, endpoint.failures) == (clock(), None, 0)


def test_only_the_types_that_were_asked_for_are_sent(receiver, make_webhook, happen, deliver):
    endpoint, _ = make_webhook(receiver.url, types=("device.released",))
    happen(endpoint.organization)
    assert deliver() == 0
    assert receiver.received == []


def test_nobody_hears_of_another_organizations_phones(receiver, make_webhook, happen, deliver):
    make_webhook(receiver.url)
    happen(make_organization())
    assert deliver() == 0
    assert receiver.received == []


def test_events_come_in_order_one_at_a_time(receiver, make_webhook, happen, deliver):
    endpoint, _ = make_webhook(receiver.url)
    macs = happen(endpoint.organization, 30)
    deliver()
    assert receiver.macs == macs
    assert receiver.most_at_once == 1


# Receivers that fail


def _refuse(handler, came):
    handler.close_connection = True


def _huge(handler, came):
    handler.send_response(500)
    handler.send_header("Content-Length", str(10**12))
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def _drip(handler, came):
    handler.wfile.write(b"HTTP/1.1 204 No Content\r\n")
    for number in range(50):
        handler.wfile.write(b"X-Header-%d: 1\r\n" % number)
        handler.wfile.flush()
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("behave", "status", "error"),
    [
        (lambda handler, came: answer(handler, 500), 500, ""),
        (lambda handler, came: answer(handler, 404), 404, ""),
        (lambda handler, came: answer(handler, 302, Location="http://127.0.0.1:1/"), 302, ""),
        (lambda handler, came: time.sleep(1.5), None, "did not answer"),
        (_drip, None, "did not answer"),
        (_refuse, None, "ended the connection"),
        (_huge, 500, ""),
    ],
    ids=["500", "404", "redirect", "slow", "dripping", "closing", "huge"],
)
def test_what_is_no_success_is_tried_again_later(receiver, make_webhook, happen, deliver, clock, behave, status, error):
    receiver.behave = behave
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization)
    began = time.monotonic()

    assert deliver() == 1

    assert time.monotonic() - began < 5
    (row,) = log(endpoint)
    assert (row.status, row.attempt, row.response_status) == ("queued", 1, status)
    assert error in row.error
    wait = row.next_attempt_at - clock()
    assert schedule.DELAYS[0] <= wait <= schedule.DELAYS[0] * 1.1
    assert len(receiver.received) == 1


def test_a_receiver_that_is_down_gets_everything_in_order_when_it_is_back(
    receiver, make_webhook, happen, deliver, clock
):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
    endpoint, _ = make_webhook(closed)
    macs = happen(endpoint.organization, 5)
    for _ in range(6):
        assert deliver() == 1
        clock.on(minutes=11)
    assert "refused the connection" in log(endpoint)[0].error
    WebhookEndpoint.objects.update(url=receiver.url)
    deliver()
    deliver()
    assert sorted(receiver.macs) == sorted(macs)
    # The one that showed that it is back came first.
    rest = [mac for mac in receiver.macs if mac != receiver.macs[0]]
    assert rest == [mac for mac in macs if mac in rest]
    assert {row.status for row in log(endpoint)} == {"delivered"}


def test_the_same_event_keeps_its_id_however_often_it_is_tried(receiver, make_webhook, happen, deliver, clock):
    receiver.answers(500, 500, 204)
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization)
    for _ in range(3):
        deliver()
        clock.on(seconds=40)
    assert len(receiver.received) == 3
    assert len(set(receiver.ids)) == 1
    stamps = [int(came.headers["webhook-timestamp"]) for came in receiver.received]
    assert stamps == sorted(set(stamps))
    assert log(endpoint)[0].attempt == 3


def test_an_endpoint_that_fails_is_asked_with_one_delivery_and_not_before_its_time(
    receiver, make_webhook, happen, deliver, clock
):
    receiver.answers(500)
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization, 10)
    assert deliver() == 1
    assert deliver() == 0
    clock.on(seconds=6)
    assert deliver() == 1
    assert len(set(receiver.ids)) == 2


def test_one_event_that_a_receiver_cannot_digest_does_not_hold_up_the_others(
    receiver, make_webhook, happen, deliver, clock
):
    endpoint, _ = make_webhook(receiver.url)
    macs = happen(endpoint.organization, 5)
    poison = macs[1]
    receiver.behave = lambda handler, came: answer(handler, 500 if came.json["data"]["mac"] == poison else 204)
    for _ in range(8):
        deliver()
        clock.on(seconds=7)
    assert [row.status for row in log(endpoint)] == ["delivered", "queued", "delivered", "delivered", "delivered"]


def test_a_receiver_may_ask_to_be_left_alone_for_a_while(receiver, make_webhook, happen, deliver, clock):
    receiver.answers(429, Retry_After="3600")
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization)
    deliver()
    assert log(endpoint)[0].next_attempt_at == clock() + timedelta(hours=1)
    clock.on(minutes=59)
    assert deliver() == 0


def test_nobody_is_left_alone_for_longer_than_a_day(receiver, make_webhook, happen, deliver, clock):
    receiver.answers(503, Retry_After="9999999")
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization)
    deliver()
    endpoint.refresh_from_db()
    assert endpoint.retry_at == log(endpoint)[0].next_attempt_at == clock() + timedelta(hours=24)


def test_a_test_is_next_whatever_waits_for_an_endpoint_that_fails(receiver, make_webhook, happen, deliver, clock):
    receiver.answers(500, 204)
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization, 5)
    deliver()
    webhooks.test(actor=ACTOR, row=endpoint, at=clock.on(seconds=1))
    deliver()
    assert receiver.received[1].json["type"] == "webhook.test"


def test_a_delivery_is_tried_for_three_days_and_then_the_webhook_is_paused(
    receiver, make_webhook, happen, deliver, clock
):
    receiver.answers(500)
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization)
    began, attempts = clock(), 0
    while (row := log(endpoint)[0]).status == "queued":
        clock.at = row.next_attempt_at
        attempts += deliver()
    assert attempts == schedule.MOST_ATTEMPTS == 11
    assert timedelta(days=3) <= clock() - began <= timedelta(days=3.5)
    (row,) = log(endpoint)
    assert (row.status, row.attempt) == ("failed", 11)
    endpoint.refresh_from_db()
    assert endpoint.paused_at is not None
    assert "failed" in endpoint.paused_reason
    entry = AuditEntry.objects.get(action="webhook.paused")
    assert (entry.organization_id, entry.name) == (endpoint.organization_id, "webhooks")


def test_a_receiver_that_is_gone_is_left_alone_at_once(receiver, make_webhook, happen, deliver):
    receiver.answers(410)
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization)
    deliver()
    endpoint.refresh_from_db()
    assert endpoint.paused_reason == "The receiver answered 410 Gone."


def test_a_secret_that_no_key_opens_is_a_failure_that_says_so(receiver, make_webhook, happen, deliver):
    endpoint, _ = make_webhook(receiver.url)
    WebhookEndpoint.objects.update(secret=b"not sealed by us")
    happen(endpoint.organization)
    deliver()
    assert "Rotate" in log(endpoint)[0].error
    assert receiver.received == []


def test_what_is_no_longer_kept_is_cancelled_and_says_so(receiver, make_webhook, happen, deliver):
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization)
    Event.objects.all().delete()
    assert deliver() == 0
    (row,) = log(endpoint)
    assert (row.status, row.error) == ("cancelled", "The event is no longer kept.")


@pytest.mark.django_db(transaction=True)
def test_what_is_switched_off_while_it_is_sent_stays_cancelled(receiver, make_webhook, happen, deliver, clock):
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization)

    def switch_off(handler, came):
        wishes = webhooks.Wishes(url=receiver.url, enabled=False)
        webhooks.change(actor=ACTOR, row=endpoint, wishes=wishes, rules=LOOPBACK, at=clock())
        connections.close_all()
        answer(handler, 500)

    receiver.behave = switch_off
    deliver()
    assert [row.status for row in log(endpoint)] == ["cancelled"]


def test_an_address_that_is_no_longer_allowed_is_not_connected_to(receiver, make_webhook, happen, clock):
    endpoint, _ = make_webhook(f"http://localhost:{receiver.port}/")
    happen(endpoint.organization)
    strict = Client(Rules())
    delivering.deliver_due(now=clock, seal=SEAL, client=strict, seconds=1)
    assert "allowed" in log(endpoint)[0].error
    assert receiver.received == []


# Together


def test_a_dead_receiver_does_not_slow_the_others(receivers, make_webhook, happen, deliver, client):
    organization = make_organization()
    dead = receivers()
    dead.behave = lambda handler, came: time.sleep(3)
    live = [receivers() for _ in range(4)]
    for one in [dead, *live]:
        make_webhook(one.url, organization=organization)
    happen(organization, 20)
    began = time.monotonic()
    deliver()
    assert len(dead.received) == 1
    for one in live:
        assert len(one.received) == 20
        assert max(came.at for came in one.received) - began < 1.0


@pytest.mark.django_db(transaction=True)
def test_two_workers_deliver_once(receivers, make_webhook, happen, deliver):
    organizations = [make_organization() for _ in range(6)]
    running = []
    for organization in organizations:
        running.append(receivers())
        make_webhook(running[-1].url, organization=organization)
        happen(organization, 25)
    outcomes = at_once(deliver, deliver)
    assert sum(outcomes) == 150
    for one in running:
        assert len(one.received) == len(set(one.ids)) == 25
        assert one.most_at_once == 1


def test_what_a_killed_worker_had_leased_is_sent_after_the_lease(receiver, make_webhook, happen, deliver, clock):
    endpoint, _ = make_webhook(receiver.url)
    happen(endpoint.organization)
    WebhookEndpoint.objects.update(leased_until=clock() + delivering.LEASE)
    assert deliver() == 0
    clock.on(seconds=61)
    assert deliver() == 1


def test_a_suspended_organizations_webhooks_stop_at_once_and_go_on_afterwards(receiver, make_webhook, happen, deliver):
    endpoint, _ = make_webhook(receiver.url)
    macs = happen(endpoint.organization, 3)
    Organization.objects.filter(pk=endpoint.organization_id).update(suspended_at=timezone.now())
    assert deliver() == 0
    assert receiver.received == []
    Organization.objects.filter(pk=endpoint.organization_id).update(suspended_at=None)
    deliver()
    assert receiver.macs == macs


# Backlog


def test_what_finds_no_room_in_the_queue_waits_in_the_feed(receiver, make_webhook, happen, deliver, clock, monkeypatch):
    monkeypatch.setattr(sequencing, "MOST_QUEUED", 6)
    endpoint, _ = make_webhook(receiver.url)
    macs = []
    for _ in range(5):
        macs += happen(endpoint.organization, 4)
        assert WebhookDelivery.objects.filter(status="queued").count() <= 6 + 4
    for _ in range(10):
        deliver()
        sequencing.run(at=clock())
    assert receiver.macs == macs
    endpoint.refresh_from_db()
    assert endpoint.queued_to is None


def test_a_paused_webhook_misses_nothing(receiver, make_webhook, happen, deliver, clock):
    endpoint, _ = make_webhook(receiver.url)
    macs = happen(endpoint.organization, 2)
    webhooks.pause(actor=ACTOR, row=endpoint, at=clock())
    assert deliver() == 0
    macs += happen(endpoint.organization, 3)
    assert deliver() == 0
    assert WebhookDelivery.objects.count() == 2
    webhooks.resume(actor=ACTOR, row=endpoint, at=clock())
    macs += happen(endpoint.organization, 1)
    deliver()
    assert receiver.macs == macs
