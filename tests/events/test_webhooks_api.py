"""`/api/v1/webhooks/`: everything that a partner can do with a webhook, and that each leaves an audit entry."""

import ipaddress
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone
from standardwebhooks import WebhookVerificationError

from accounts import mandates
from accounts.actors import Actor
from accounts.models import AuditEntry
from accounts.seals import Seal
from events import sequencing, webhooks
from events.models import WebhookDelivery, WebhookEndpoint
from tests.api.conftest import PartnerClient, keyed, partner, stranger  # noqa: F401  (fixtures)
from tests.factories import make_device, make_organization

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.net/phones"


@pytest.fixture(autouse=True)
def _loopback_allowed():
    with override_settings(
        WEBHOOK_NETWORKS=[ipaddress.ip_network("127.0.0.0/8")], CODE_KEYS=["a key for tests, long enough for anything"]
    ):
        yield


def make(partner, url=URL, **fields):  # noqa: F811
    answer = partner("POST", "webhooks/", {"url": url, **fields})
    assert answer.status_code == 201, answer.content
    return answer.json()


def actions(organization):
    entries = AuditEntry.objects.filter(organization=organization, action__startswith="webhook.").order_by("pk")
    return list(entries.values_list("action", flat=True))


def test_a_webhook_is_made_and_its_secret_shown_this_once(partner):  # noqa: F811
    answer = partner("POST", "webhooks/", {"url": URL, "types": ["device.claimed"]})
    made = answer.json()
    assert (answer.status_code, answer["Cache-Control"]) == (201, "no-store")
    assert answer["Location"].endswith(f"/api/v1/webhooks/{made['id']}/")
    assert made["secret"].startswith("whsec_")
    read = partner("GET", f"webhooks/{made['id']}/")
    assert read.json() == {name: value for name, value in made.items() if name != "secret"}
    assert (read.json()["url"], read.json()["types"], read.json()["enabled"]) == (URL, ["device.claimed"], True)
    assert read.json()["paused_reason"] is None
    row = WebhookEndpoint.objects.get()
    assert made["secret"].removeprefix("whsec_") not in str(bytes(row.secret))
    assert "secret" not in str(list(AuditEntry.objects.values_list("after", flat=True)))
    assert partner("GET", "webhooks/").json()["results"] == [read.json()]
    assert actions(partner.organization) == ["webhook.created"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_input", "url"),
        ({"url": 7}, "invalid_input", "url"),
        ({"url": "ftp://hooks.example.net/"}, "invalid_url", "url"),
        ({"url": "https://user:pass@hooks.example.net/"}, "invalid_url", "url"),
        ({"url": "https://10.0.0.1/"}, "address_not_allowed", "url"),
        ({"url": "https://[::ffff:127.0.0.1]/"}, "address_not_allowed", "url"),
        ({"url": URL, "types": ["device.eaten"]}, "unknown_event_type", "types"),
        ({"url": URL, "types": ["webhook.test"]}, "unknown_event_type", "types"),
        ({"url": URL, "secret": "mine"}, "invalid_input", "secret"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(partner, body, code, field):  # noqa: F811
    refused = partner("POST", "webhooks/", body)
    assert (refused.status_code, refused.json()["code"]) == (400, code)
    assert field in refused.json()["errors"]
    assert not WebhookEndpoint.objects.exists()


def test_there_is_a_most_of_webhooks(partner, monkeypatch):  # noqa: F811
    monkeypatch.setattr(webhooks, "MOST_WEBHOOKS", 2)
    make(partner), make(partner)
    refused = partner("POST", "webhooks/", {"url": URL})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_webhooks")


def test_patch_changes_what_it_names_and_put_sets_all(partner):  # noqa: F811
    path = f"webhooks/{make(partner, types=['device.claimed'])['id']}/"
    assert partner("PATCH", path, {"enabled": False}).json()["types"] == ["device.claimed"]
    after = partner("PUT", path, {"url": "https://other.example.net/"}).json()
    assert (after["url"], after["types"], after["enabled"]) == ("https://other.example.net/", [], True)
    assert actions(partner.organization) == ["webhook.created", "webhook.changed", "webhook.changed"]
    entry = AuditEntry.objects.filter(action="webhook.changed").order_by("pk").first()
    assert (entry.before, entry.after) == ({"enabled": True}, {"enabled": False})


def test_etags_guard_changes_and_do_not_mind_how_deliveries_fare(partner):  # noqa: F811
    path = f"webhooks/{make(partner)['id']}/"
    tag = partner("GET", path)["ETag"]
    WebhookEndpoint.objects.update(delivered_at=timezone.now())
    assert partner("PATCH", path, {"enabled": False}, If_Match=tag).status_code == 200
    assert partner("PATCH", path, {"enabled": True}, If_Match=tag).status_code == 412
    assert partner("DELETE", path, If_Match=tag).status_code == 412


def test_a_deleted_webhook_is_gone_with_its_log(partner):  # noqa: F811
    path = f"webhooks/{make(partner)['id']}/"
    make_device(organization=partner.organization)
    sequencing.run(at=timezone.now())
    assert WebhookDelivery.objects.count() == 1
    assert partner("DELETE", path).status_code == 204
    assert partner("GET", path).status_code == 404
    assert not WebhookDelivery.objects.exists()
    assert actions(partner.organization)[-1] == "webhook.deleted"


def test_one_that_is_switched_off_forgets_what_waits_and_what_comes(partner):  # noqa: F811
    path = f"webhooks/{make(partner)['id']}/"
    make_device(organization=partner.organization)
    sequencing.run(at=timezone.now())
    partner("PATCH", path, {"enabled": False})
    make_device(organization=partner.organization)
    sequencing.run(at=timezone.now())
    partner("PATCH", path, {"enabled": True})
    sequencing.run(at=timezone.now())
    assert list(WebhookDelivery.objects.values_list("status", flat=True)) == ["cancelled"]


# Secrets


def test_after_a_rotation_both_secrets_sign_for_a_day(partner, receiver, deliver, clock):  # noqa: F811
    made = make(partner, receiver.url)
    rotated = partner("POST", f"webhooks/{made['id']}/rotate/").json()
    assert rotated["secret"] != made["secret"]
    assert rotated["old_secret_until"] is not None
    make_device(organization=partner.organization)
    sequencing.run(at=clock())
    deliver()
    (came,) = receiver.received
    assert came.verified(made["secret"]) == came.verified(rotated["secret"])
    assert len(came.headers["webhook-signature"].split(" ")) == 2

    WebhookEndpoint.objects.update(old_secret_until=clock())
    make_device(organization=partner.organization)
    sequencing.run(at=clock())
    deliver()
    came = receiver.received[1]
    came.verified(rotated["secret"])
    with pytest.raises(WebhookVerificationError):
        came.verified(made["secret"])
    assert actions(partner.organization)[:2] == ["webhook.created", "webhook.rotated"]


def test_a_second_rotation_ends_the_first_secret_at_once(partner, receiver, deliver, clock):  # noqa: F811
    made = make(partner, receiver.url)
    partner("POST", f"webhooks/{made['id']}/rotate/")
    partner("POST", f"webhooks/{made['id']}/rotate/")
    make_device(organization=partner.organization)
    sequencing.run(at=clock())
    deliver()
    with pytest.raises(WebhookVerificationError):
        receiver.received[0].verified(made["secret"])


# By hand


def test_a_test_reaches_one_webhook_and_stays_out_of_the_feed(partner, receiver, deliver, clock):  # noqa: F811
    made = make(partner, receiver.url, types=["device.released"])
    make(partner, "http://127.0.0.1:1/")
    answer = partner("POST", f"webhooks/{made['id']}/test/")
    assert (answer.status_code, answer.json()["type"]) == (202, "webhook.test")
    clock.on(seconds=5)
    deliver()
    (came,) = receiver.received
    message = came.verified(made["secret"])
    assert (message["type"], message["id"]) == ("webhook.test", came.headers["webhook-id"])
    assert answer.json()["event"] == message["id"]
    assert partner("GET", "events/").json()["results"] == []
    (shown,) = partner("GET", f"webhooks/{made['id']}/deliveries/").json()["results"]
    assert (shown["status"], shown["response_status"], shown["attempt"]) == ("delivered", 204, 1)


def test_tests_do_not_fill_the_queue(partner):  # noqa: F811
    made = make(partner)
    for _ in range(20):
        assert partner("POST", f"webhooks/{made['id']}/test/").status_code == 202
    assert WebhookDelivery.objects.count() == 5


def test_one_delivery_is_sent_again_under_the_same_id(partner, receiver, deliver, clock):  # noqa: F811
    made = make(partner, receiver.url)
    make_device(organization=partner.organization)
    sequencing.run(at=clock())
    deliver()
    path = f"webhooks/{made['id']}/deliveries/"
    (first,) = partner("GET", path).json()["results"]
    again = partner("POST", f"{path}{first['id']}/redeliver/")
    assert (again.status_code, again.json()["event"]) == (202, first["event"])
    clock.on(seconds=5)
    deliver()
    assert len(receiver.received) == 2
    assert len(set(receiver.ids)) == 1
    assert [row["status"] for row in partner("GET", path).json()["results"]] == ["delivered", "delivered"]
    assert actions(partner.organization)[-1] == "webhook.redelivered"


def test_everything_since_a_time_is_sent_again_in_order(partner, receiver, deliver, clock):  # noqa: F811
    made = make(partner, receiver.url)
    macs, moments = [], []
    for _ in range(5):
        macs.append(make_device(organization=partner.organization).mac)
        moments.append(clock.on(seconds=10))
        sequencing.run(at=clock())
    deliver()
    answer = partner("POST", f"webhooks/{made['id']}/redeliver/", {"since": moments[2].isoformat()})
    assert answer.status_code == 202, answer.content
    sequencing.run(at=clock())
    deliver()
    assert receiver.macs == [*macs, *macs[2:]]


def test_what_is_no_longer_kept_cannot_be_sent_again(partner):  # noqa: F811
    made = make(partner)
    row = WebhookDelivery.objects.create(
        endpoint_id=made["id"], event=99, type="device.claimed", at=timezone.now(), status="failed"
    )
    refused = partner("POST", f"webhooks/{made['id']}/deliveries/{row.pk}/redeliver/")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_send")


def test_pausing_stops_and_resuming_goes_on(partner, receiver, deliver, clock):  # noqa: F811
    made = make(partner, receiver.url)
    paused = partner("POST", f"webhooks/{made['id']}/pause/").json()
    assert paused["paused_reason"].startswith("Paused by ")
    (mac,) = [make_device(organization=partner.organization).mac]
    sequencing.run(at=clock())
    assert deliver() == 0
    for verb in ("test/", "redeliver/"):
        body = {"since": "2026-11-22T09:30:00Z"} if verb == "redeliver/" else None
        refused = partner("POST", f"webhooks/{made['id']}/{verb}", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "webhook_not_running")
    assert partner("POST", f"webhooks/{made['id']}/resume/").json()["paused_reason"] is None
    sequencing.run(at=clock())
    clock.on(seconds=5)
    deliver()
    assert receiver.macs == [mac]
    assert actions(partner.organization) == ["webhook.created", "webhook.paused", "webhook.resumed"]


def test_the_log_can_be_narrowed_and_paged(partner):  # noqa: F811
    made = make(partner)
    now = timezone.now()
    for number in range(5):
        status = "failed" if number % 2 else "delivered"
        WebhookDelivery.objects.create(
            endpoint_id=made["id"], event=number, type="device.claimed", at=now, status=status
        )
    path = f"webhooks/{made['id']}/deliveries/"
    first = partner("GET", f"{path}?limit=2&status=delivered").json()
    assert [row["event"] for row in first["results"]] == ["evt_4", "evt_2"]
    rest = partner("GET", f"{path}?limit=2&status=delivered&cursor={first['next']}").json()
    assert ([row["event"] for row in rest["results"]], rest["next"]) == (["evt_0"], None)


# Who may


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PUT", "", {"url": URL}),
        ("PATCH", "", {"enabled": False}),
        ("DELETE", "", None),
        ("POST", "rotate/", None),
        ("POST", "pause/", None),
        ("POST", "resume/", None),
        ("POST", "test/", None),
        ("POST", "redeliver/", {"since": "2026-11-22T09:30:00Z"}),
        ("GET", "deliveries/", None),
        ("POST", "deliveries/{delivery}/redeliver/", None),
    ],
)
def test_a_foreign_webhook_answers_as_one_that_does_not_exist(partner, stranger, method, path, body):  # noqa: F811
    made = make(stranger)
    delivery = WebhookDelivery.objects.create(
        endpoint_id=made["id"], event=1, type="device.claimed", at=timezone.now(), status="failed"
    )
    mine = make(partner)
    before = [list(model.objects.order_by("pk").values()) for model in (WebhookEndpoint, WebhookDelivery)]

    path = path.format(delivery=delivery.pk)
    refused = partner(method, f"webhooks/{made['id']}/{path}", body)
    unknown = partner(method, f"webhooks/999999/{path}", body)

    assert refused.status_code == unknown.status_code == 404
    assert {**refused.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}
    # Nor by way of one's own webhook.
    if delivery.pk and "deliveries/" in path and method == "POST":
        assert partner(method, f"webhooks/{mine['id']}/{path}", body).status_code == 404
    assert before == [list(model.objects.order_by("pk").values()) for model in (WebhookEndpoint, WebhookDelivery)]


def test_lists_show_ones_own_alone(partner, stranger):  # noqa: F811
    make(stranger)
    assert partner("GET", "webhooks/").json()["results"] == []


def test_everything_needs_its_scope(keyed):  # noqa: F811
    reader = keyed(make_organization(), ["events:read", "devices:write"])
    for method, path in [("GET", ""), ("POST", ""), ("GET", "1/"), ("POST", "1/rotate/"), ("POST", "1/test/")]:
        assert reader(method, f"webhooks/{path}", {} if method == "POST" else None).status_code == 403


def test_an_idempotency_key_makes_one_webhook_and_shows_its_secret_again(partner):  # noqa: F811
    first = partner("POST", "webhooks/", {"url": URL}, Idempotency_Key="one")
    again = partner("POST", "webhooks/", {"url": URL}, Idempotency_Key="one")
    assert first.json() == again.json()
    assert WebhookEndpoint.objects.count() == 1


def test_a_webhook_made_under_a_mandate_ends_with_it(receiver, make_webhook, happen, deliver, clock):
    provider, agency = make_organization(), make_organization(kind="partner")
    boss = Actor("admin", "boss")
    mandate = mandates.give(actor=boss, provider=provider, partner=agency, scopes=["webhooks:write"], at=clock())
    agent = Actor("api", "agent", organization_id=agency.pk)
    endpoint, _ = make_webhook(receiver.url, organization=provider, actor=agent)
    happen(provider)
    assert deliver() == 1
    mandates.withdraw(mandate, actor=boss, at=clock())
    happen(provider)
    assert deliver() == 0
    endpoint.refresh_from_db()
    assert "mandate" in endpoint.paused_reason
    # The provider may take it over.
    webhooks.resume(actor=boss, row=endpoint, at=clock.on(seconds=1))
    sequencing.run(at=clock())
    assert deliver() == 1


def test_after_a_change_of_keys_every_secret_goes_under_the_new_one(partner):  # noqa: F811
    old, new = "a key for tests, long enough for anything", "another key, as long as the one before it"
    made = make(partner)
    partner("POST", f"webhooks/{made['id']}/rotate/")
    with override_settings(CODE_KEYS=[new, old]):
        call_command("reseal_webhooks", stdout=StringIO())
    row = WebhookEndpoint.objects.get()
    opened = Seal([new], purpose=webhooks.SEALED)
    assert opened.open(bytes(row.old_secret)).decode() == made["secret"]
    assert opened.open(bytes(row.secret)).startswith(b"whsec_")
    with override_settings(CODE_KEYS=[old]), pytest.raises(CommandError, match="CODE_KEYS"):
        call_command("reseal_webhooks", stdout=StringIO())
