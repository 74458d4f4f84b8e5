"""The first page: figures with the lists behind them, drawn from what a job added up, counted to a limit."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Organization
from events.models import WebhookEndpoint
from onboarding import customization, figures
from onboarding.customization import Evidence
from onboarding.models import StateCount
from onboarding.observations import Clock, Observation
from onboarding.states import Event
from tests.activation.factories import make_code
from tests.factories import make_device, make_profile

HOME = "admin:index"


def shown(client: Client) -> dict[str, str]:
    page = client.get(reverse(HOME))
    return {bar.state: bar.shown for bar in (*page.context["path_bars"], *page.context["aside_bars"])}


def test_a_small_fleet_is_counted_at_this_moment(provider: Organization, staff: Client) -> None:
    for state in ("open", "acquired", "acquired", "aborted"):
        make_device(organization=provider, state=state)

    assert shown(staff) == {
        "open": "1", "pending": "0", "custom_pending": "0", "acquired": "2", "unavailable": "0", "aborted": "1",
    }  # fmt: skip


def test_large_figures_are_those_that_the_job_counted(provider: Organization, staff: Client) -> None:
    make_device(organization=provider)
    counted_at = timezone.now() - timedelta(minutes=5)
    StateCount.objects.create(organization=provider, state="acquired", count=1_234_567, counted_at=counted_at)

    page = staff.get(reverse(HOME))

    assert page.context["path_bars"][3].shown == "1,234,567"
    assert "Large figures were counted" in page.content.decode()
    assert "5 minutes ago" in page.content.decode()


def test_each_state_tells_how_it_moved(provider: Organization, staff: Client) -> None:
    now = timezone.now()
    device = make_device(organization=provider, at=now - timedelta(days=3))
    customization.record(Evidence(device.mac, Observation(Event.ASKED, Clock(now), "door")), at=now)
    figures.read_history(at=now)

    page = staff.get(reverse(HOME))

    bars = {bar.state: bar for bar in page.context["path_bars"]}
    assert (bars["pending"].today.came, bars["pending"].week.came) == (1, 1)
    assert (bars["open"].today.came, bars["open"].today.left, bars["open"].week.came) == (0, 1, 1)
    assert "came in the last 14 days" in page.content.decode()


def test_every_figure_opens_the_list_behind_it(provider: Organization, staff: Client) -> None:
    now = timezone.now()
    profile = make_profile(organization=provider, name="Offices")
    make_device(profile=profile, state="custom_pending", columns={"stalled_at": now}, label="stuck")
    done = make_device(profile=profile, label="done", at=now)
    for event in (Event.ASKED, Event.ANSWERED, Event.ACQUIRED):
        customization.record(Evidence(done.mac, Observation(event, Clock(now), "callback")), at=now)
    make_code(profile=profile)
    figures.read_history(at=now)

    context = staff.get(reverse(HOME)).context
    tiles = {tile.label: tile for tile in context["tiles"]}
    behind = {
        bar.state: [row.label for row in staff.get(bar.address).context["cl"].result_list]
        for bar in context["path_bars"]
    }

    assert behind == {"open": [], "pending": [], "custom_pending": ["stuck"], "acquired": ["done"]}
    assert (tiles["stalled phones"].shown, tiles["activation codes waiting"].shown) == ("1", "1")
    assert [row.label for row in staff.get(tiles["stalled phones"].address).context["cl"].result_list] == ["stuck"]
    assert staff.get(tiles["activation codes waiting"].address).context["cl"].result_count == 1
    assert [row.label for row in staff.get(context["waits"][0]["address"]).context["cl"].result_list] == ["done"]
    assert all(staff.get(tile.address).status_code == 200 for tile in context["tiles"])


def test_what_fails_stands_on_the_first_page_while_it_fails(provider: Organization, administrator: Client) -> None:
    now = timezone.now()
    make_profile(organization=provider, name="Fine")
    failing = make_profile(organization=provider, name="Broken", failing_targets=["https://cfg.example.net/$MA.xml"])
    make_device(profile=failing)
    values = {"organization": provider, "secret": b"x", "created_at": now, "created_by": "ann"}
    WebhookEndpoint.objects.create(url="https://fine.example.net/", **values)
    WebhookEndpoint.objects.create(url="https://paused.example.net/", paused_at=now, enabled=False, **values)
    WebhookEndpoint.objects.create(url="https://fails.example.net/", failing_since=now, **values)

    tiles = {tile.label: tile for tile in administrator.get(reverse(HOME)).context["tiles"]}

    assert tiles["profiles with failing targets"].shown == "1"
    listed = administrator.get(tiles["profiles with failing targets"].address).context["cl"].result_list
    assert [row.name for row in listed] == ["Broken"]
    assert tiles["failing webhooks"].shown == "2"
    listed = administrator.get(tiles["failing webhooks"].address).context["cl"].result_list
    assert {row.url for row in listed} == {"https://paused.example.net/", "https://fails.example.net/"}


def test_figures_of_others_are_nobodys_business(
    provider: Organization, other: Organization, staff: Client, operator: Client
) -> None:
    now = timezone.now()
    foreign = make_device(profile=make_profile(organization=other), at=now)
    for event in (Event.ASKED, Event.ANSWERED, Event.ACQUIRED):
        customization.record(Evidence(foreign.mac, Observation(event, Clock(now), "callback")), at=now)
    make_device(organization=provider, at=now)
    StateCount.objects.create(organization=other, state="aborted", count=77_777, counted_at=now)
    figures.read_history(at=now)

    mine, all_of_them = (client.get(reverse(HOME)) for client in (staff, operator))

    assert [bar.today.came for bar in mine.context["path_bars"]] == [1, 0, 0, 0]
    assert mine.context["waits"] == []
    assert "77,777" not in mine.content.decode()
    assert [bar.today.came for bar in all_of_them.context["path_bars"]] == [2, 1, 1, 1]
    assert "77,777" in all_of_them.content.decode()


@pytest.mark.parametrize("count", [0, 1, 30])
def test_it_costs_the_same_whatever_the_number_of_devices(
    count: int, provider: Organization, staff: Client, django_assert_num_queries: object
) -> None:
    for _ in range(count):
        make_device(organization=provider)
    staff.get(reverse(HOME))

    with django_assert_num_queries(18):  # type: ignore[operator]
        staff.get(reverse(HOME))
