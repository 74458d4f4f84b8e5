"""`/api/v1/events/`: pages that go on for ever, complete and in order."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events import feed, sequencing
from events.models import Event, Sequencer, WebhookDelivery
from onboarding import registry
from tests.api.conftest import PartnerClient, keyed, partner, stranger  # noqa: F401  (fixtures)
from tests.factories import ACTOR, AT, make_device, make_key, make_organization

pytestmark = pytest.mark.django_db


def claim(organization, count=1, *, at=None):
    macs = [make_device(organization=organization).mac for _ in range(count)]
    sequencing.run(at=at or timezone.now())
    return macs


def follow(partner, query=""):  # noqa: F811
    """All events from the beginning, page by page, and the cursor at the end."""
    found, cursor = [], None
    while True:
        answer = partner("GET", f"events/?{query}" + (f"&after={cursor}" if cursor else ""))
        assert answer.status_code == 200, answer.content
        page = answer.json()
        if not page["results"] and page["next"] == cursor:
            return found, cursor
        found += page["results"]
        cursor = page["next"]


def test_an_event_has_the_shape_of_the_contract(partner):  # noqa: F811
    (mac,) = claim(partner.organization)
    answer = partner("GET", "events/").json()
    (event,) = answer["results"]
    assert set(event) == {"id", "type", "at", "data"}
    assert (event["type"], event["at"], event["data"]["mac"]) == ("device.claimed", "2026-11-22T09:30:00Z", mac)
    assert isinstance(answer["next"], str)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_of_any_size_give_every_event_once_in_order(partner, limit):  # noqa: F811
    macs = claim(partner.organization, 7)
    found, _ = follow(partner, f"limit={limit}")
    assert [event["data"]["mac"] for event in found] == macs


def test_from_the_end_it_goes_on_with_what_comes_later(partner):  # noqa: F811
    claim(partner.organization, 2)
    _, end = follow(partner)
    assert partner("GET", f"events/?after={end}").json() == {"results": [], "next": end}
    (mac,) = claim(partner.organization)
    later = partner("GET", f"events/?after={end}").json()["results"]
    assert [event["data"]["mac"] for event in later] == [mac]


def test_a_feed_without_events_gives_a_cursor_too(partner):  # noqa: F811
    answer = partner("GET", "events/").json()
    assert answer["results"] == []
    (mac,) = claim(partner.organization)
    later = partner("GET", f"events/?after={answer['next']}").json()["results"]
    assert [event["data"]["mac"] for event in later] == [mac]


def test_one_type_alone_can_be_followed(partner, monkeypatch):  # noqa: F811
    monkeypatch.setattr(feed, "MOST_LOOKED_AT", 3)
    devices = [make_device(organization=partner.organization) for _ in range(10)]
    registry.release(actor=ACTOR, device=devices[-1], at=AT)
    sequencing.run(at=timezone.now())
    found, _ = follow(partner, "type=device.released")
    assert [event["data"]["mac"] for event in found] == [devices[-1].mac]


def test_nobody_reads_another_organizations_events_or_uses_its_cursors(partner, stranger):  # noqa: F811
    claim(stranger.organization, 3)
    assert follow(partner)[0] == []
    theirs = stranger("GET", "events/").json()["next"]
    refused = partner("GET", f"events/?after={theirs}")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize("cursor", ["x", "1", "NDcxMQ:abc", "%00", "a" * 200])
def test_a_cursor_that_was_not_given_out_is_refused(partner, cursor):  # noqa: F811
    assert partner("GET", f"events/?after={cursor}").status_code == 400


def test_it_needs_its_scope(keyed):  # noqa: F811
    without = keyed(make_organization(), ["devices:read", "webhooks:write"])
    refused = without("GET", "events/")
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


def test_a_cursor_older_than_what_is_kept_is_answered_410_with_a_remedy(partner):  # noqa: F811
    start = partner("GET", "events/").json()["next"]
    now = timezone.now()
    claim(partner.organization, 3, at=now - timedelta(days=31))
    (kept,) = claim(partner.organization, at=now)
    assert feed.prune(before=now - timedelta(days=30)) == 3

    gone = partner("GET", f"events/?after={start}")
    assert (gone.status_code, gone.json()["code"]) == (410, "cursor_expired")
    assert "without `after`" in gone.json()["remedy"]
    found, _ = follow(partner)
    assert [event["data"]["mac"] for event in found] == [kept]


def test_a_cursor_from_after_the_backup_that_was_restored_is_answered_410(partner):  # noqa: F811
    claim(partner.organization, 5)
    _, end = follow(partner)
    Event.objects.filter(position__gt=2).delete()
    Sequencer.objects.update(position=2)
    assert partner("GET", f"events/?after={end}").status_code == 410


def test_a_quiet_organizations_cursor_does_not_grow_old(partner, stranger):  # noqa: F811
    now = timezone.now()
    claim(stranger.organization, 5, at=now - timedelta(days=31))
    cursor = partner("GET", "events/").json()["next"]
    feed.prune(before=now - timedelta(days=30))
    assert partner("GET", f"events/?after={cursor}").status_code == 200


def test_pruning_takes_deliveries_along_and_stops_at_its_limit(partner):  # noqa: F811
    old, now = timezone.now() - timedelta(days=40), timezone.now()
    claim(partner.organization, 2, at=old)
    endpoint_id = _webhook(partner)
    rows = [
        WebhookDelivery(endpoint_id=endpoint_id, event=number, type="device.claimed", at=at, status="delivered")
        for number, at in enumerate([old, old, now])
    ]
    WebhookDelivery.objects.bulk_create(rows)
    assert feed.prune(before=now - timedelta(days=30)) == 4
    assert list(WebhookDelivery.objects.values_list("event", flat=True)) == [2]
    assert not Event.objects.exists()


def _webhook(partner):  # noqa: F811
    return partner("POST", "webhooks/", {"url": "https://hooks.example.net/"}).json()["id"]


def test_a_page_costs_the_same_few_queries_however_many_events_there_are(
    partner,  # noqa: F811
    django_assert_max_num_queries,
):
    claim(partner.organization, 30)
    make_key(organization=partner.organization)
    partner("GET", "events/")
    with django_assert_max_num_queries(6):
        partner("GET", "events/?limit=10")
