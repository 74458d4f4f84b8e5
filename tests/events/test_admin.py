"""Webhooks and events on the admin site: every page opens for whom it should, and each button does its one thing."""

import re

import pytest
from django.core import mail
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry
from events import notices, sequencing
from events.models import WebhookDelivery, WebhookEndpoint
from tests.admin.conftest import *  # noqa: F403  (its fixtures)
from tests.factories import make_device, make_user

pytestmark = pytest.mark.django_db

LIST = "/admin/events/webhookendpoint/"
URL = "https://hooks.example.net/phones"
PUBLIC_ONLY = override_settings(WEBHOOK_NETWORKS=[])


def page(row, verb="change"):
    return reverse(f"admin:events_webhookendpoint_{verb}", args=(row.pk,))


@pytest.fixture
def webhook(make_webhook, provider):
    row, _ = make_webhook("http://127.0.0.1:9/hooks", organization=provider)
    return row


@pytest.fixture
def delivery(webhook):
    make_device(organization=webhook.organization)
    sequencing.run(at=timezone.now())
    return WebhookDelivery.objects.get()


def test_a_webhook_is_added_and_its_secret_shown_once(administrator, provider):
    shown = administrator.post(f"{LIST}add/", {"url": URL, "types": ["device.claimed"], "enabled": "on"})
    assert shown.status_code == 200
    assert "no-store" in shown["Cache-Control"]
    secret = re.search(r"whsec_[A-Za-z0-9+/=]+", shown.content.decode())
    assert secret
    row = WebhookEndpoint.objects.get()
    assert (row.organization, row.url, row.types) == (provider, URL, ["device.claimed"])
    assert secret[0] not in administrator.get(page(row)).content.decode()
    entry = AuditEntry.objects.get(action="webhook.created")
    assert (entry.source, entry.name, entry.organization) == ("admin", "ann", provider)


@PUBLIC_ONLY
def test_a_refusal_stands_at_its_field(administrator):
    shown = administrator.post(f"{LIST}add/", {"url": "https://10.0.0.1/", "enabled": "on"})
    assert "is an address that is not public" in shown.content.decode()
    assert not WebhookEndpoint.objects.exists()


def test_a_webhook_is_changed_and_deleted(administrator, webhook):
    changed = administrator.post(page(webhook), {"url": URL, "types": []})
    assert changed.status_code == 302
    webhook.refresh_from_db()
    assert (webhook.url, webhook.enabled) == (URL, False)
    administrator.post(page(webhook, "delete"), {"post": "yes"})
    assert not WebhookEndpoint.objects.exists()
    assert set(AuditEntry.objects.filter(source="admin").values_list("action", flat=True)) == {
        "webhook.changed",
        "webhook.deleted",
    }


def test_the_buttons_pause_resume_test_and_rotate(administrator, webhook):
    assert "is paused" in administrator.post(page(webhook, "pause"), follow=True).content.decode()
    assert "Paused by ann" in administrator.get(page(webhook)).content.decode()
    assert "is resumed" in administrator.post(page(webhook, "resume"), follow=True).content.decode()
    assert "on its way" in administrator.post(page(webhook, "test"), follow=True).content.decode()
    assert WebhookDelivery.objects.get().type == "webhook.test"
    with override_settings(CODE_KEYS=["a key for tests, long enough for anything"]):
        rotated = administrator.post(page(webhook, "rotate"))
    assert "whsec_" in rotated.content.decode()
    assert "no-store" in rotated["Cache-Control"]
    webhook.refresh_from_db()
    assert webhook.old_secret_until is not None


def test_a_delivery_is_sent_again_from_the_log(administrator, webhook, delivery):
    WebhookDelivery.objects.update(status="failed", next_attempt_at=None, response_status=500)
    assert "500" in administrator.get(page(webhook)).content.decode()
    sent = administrator.post(page(webhook, "again"), {"delivery": delivery.pk}, follow=True)
    assert f"{delivery.message_id} is sent again" in sent.content.decode()
    assert WebhookDelivery.objects.filter(status="queued").count() == 1


def test_everything_since_a_time_is_sent_again(administrator, webhook, delivery):
    WebhookDelivery.objects.update(status="delivered", next_attempt_at=None)
    said = administrator.post(page(webhook, "since"), {"since": "2020-01-01T00:00"}, follow=True).content.decode()
    assert "Everything since 2020-01-01 00:00 UTC is sent again" in said
    sequencing.run(at=timezone.now())
    assert WebhookDelivery.objects.filter(status="queued", event=delivery.event).count() == 1
    for bad in ("", "yesterday", "2020-13-01T00:00"):
        assert "Give a date" in administrator.post(page(webhook, "since"), {"since": bad}, follow=True).content.decode()


def test_the_log_pages_and_narrows(administrator, webhook):
    now = timezone.now()
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(
            endpoint=webhook, event=number, type="device.claimed", at=now, status="failed" if number else "delivered"
        )
        for number in range(150)
    )
    first = administrator.get(page(webhook, "log")).content.decode()
    assert "evt_149<" in first
    assert "evt_49<" not in first
    older = re.search(r'href="(\?before=\d+)"', first)
    assert older
    assert "evt_49<" in administrator.get(page(webhook, "log") + older[1]).content.decode()
    assert "evt_0<" in administrator.get(page(webhook, "log") + "?status=delivered").content.decode()


def test_events_are_listed_and_shown(administrator, provider, other):
    mac = make_device(organization=provider).mac
    make_device(organization=other)
    sequencing.run(at=timezone.now())
    listed = administrator.get("/admin/events/event/").content.decode()
    assert listed.count("device.claimed") == 1
    event = re.search(r"/admin/events/event/(\d+)/change/", listed)
    assert event
    assert mac in administrator.get(event[0]).content.decode()


def test_empty_lists_say_what_to_do_first(administrator):
    assert "Add a webhook" in administrator.get(LIST).content.decode()
    assert "Register a device to begin" in administrator.get("/admin/events/event/").content.decode()


# Who may


def test_staff_look_and_administrators_change(staff, reader, webhook, delivery):
    seen = staff.get(page(webhook))
    assert seen.status_code == 200
    assert "Send a test" not in seen.content.decode()
    for verb in ("pause", "resume", "test", "rotate"):
        assert staff.post(page(webhook, verb)).status_code == 403
    assert staff.post(page(webhook, "again"), {"delivery": delivery.pk}).status_code == 403
    assert staff.get(f"{LIST}add/").status_code == 403
    assert reader.get(LIST).status_code == 403
    assert reader.get("/admin/events/event/").status_code == 200


def test_another_organizations_webhook_is_not_there(administrator, make_webhook, other, webhook, delivery):
    foreign, _ = make_webhook("http://127.0.0.1:9/theirs", organization=other)
    theirs = WebhookDelivery.objects.create(
        endpoint=foreign, event=1, type="device.claimed", at=timezone.now(), status="failed"
    )
    assert "theirs" not in administrator.get(LIST).content.decode()
    assert administrator.get(page(foreign)).status_code == 302
    assert administrator.get(page(foreign, "log")).status_code == 404
    for verb in ("pause", "resume", "test", "rotate", "again", "since"):
        assert administrator.post(page(foreign, verb), {"delivery": theirs.pk}).status_code == 404
    # Nor by way of one's own webhook.
    assert administrator.post(page(webhook, "again"), {"delivery": theirs.pk}).status_code == 404


def test_buttons_need_a_post(administrator, webhook):
    for verb in ("pause", "resume", "test", "rotate", "again", "since"):
        assert administrator.get(page(webhook, verb)).status_code == 404


def test_the_list_costs_the_same_few_queries_for_a_full_organization(
    administrator, make_webhook, provider, django_assert_max_num_queries
):
    for number in range(20):
        make_webhook(f"http://127.0.0.1:9/{number}", organization=provider)
    # Person, count, rows, choices, and the last deliveries of each.
    with django_assert_max_num_queries(10 + 20):
        administrator.get(LIST)


# Notices


def test_administrators_are_told_once_of_a_pause(provider, other, webhook):
    make_user(organization=provider, role="admin", email="ann@alpenphone.example")
    make_user(organization=provider, role="staff", email="stan@alpenphone.example")
    make_user(organization=other, role="admin", email="boss@baltic.example")
    now = timezone.now()
    WebhookEndpoint.objects.update(paused_at=now, paused_reason="The receiver answered 410 Gone.", notice_due_at=now)
    with override_settings(EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend"):
        assert notices.send_due(at=now) == 1
        assert notices.send_due(at=now) == 0
    (sent,) = mail.outbox
    assert sent.bcc == ["ann@alpenphone.example"]
    assert "410 Gone" in sent.body
    assert f"/webhooks/{webhook.pk}/resume/" in sent.body
    webhook.refresh_from_db()
    assert webhook.notice_due_at is None


def test_a_mail_server_that_is_away_only_puts_the_notice_off(provider, webhook):
    make_user(organization=provider, role="admin", email="ann@alpenphone.example")
    now = timezone.now()
    WebhookEndpoint.objects.update(paused_at=now, paused_reason="No answer.", notice_due_at=now)
    away = override_settings(
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", EMAIL_HOST="127.0.0.1", EMAIL_PORT=9
    )
    with away:
        assert notices.send_due(at=now) == 0
    webhook.refresh_from_db()
    assert webhook.notice_due_at is not None
    assert webhook.notice_due_at > now
