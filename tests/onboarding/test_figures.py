"""The first page's figures: every row of the history is added up once, whatever the order in which rows appear."""

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Organization
from accounts.tenancy import Viewer
from onboarding import customization, figures, registry
from onboarding.customization import Evidence
from onboarding.figures import Movement
from onboarding.models import Device, FigureReading, StateChange
from onboarding.observations import Clock, Observation
from onboarding.states import Event
from tests.factories import ACTOR, make_device, make_organization, make_profile

pytestmark = pytest.mark.django_db


def boots(device: Device, at: datetime, *, takes: float) -> None:
    """The phone asks, is answered, and acquires its profile after so many seconds."""
    for event, after in ((Event.ASKED, 0.0), (Event.ANSWERED, 0.0), (Event.ACQUIRED, takes)):
        moment = at + timedelta(seconds=after)
        customization.record(Evidence(device.mac, Observation(event, Clock(moment), "callback")), at=moment)


def viewer(organization: Organization) -> Viewer:
    return Viewer(frozenset({organization.pk}))


def moved(organization: Organization, day: date) -> dict[str, Movement]:
    return dict(figures.movement(viewer(organization), since=day, until=day))


def test_a_phones_way_is_added_up_by_day_and_state(at: datetime) -> None:
    profile = make_profile()
    device = make_device(profile=profile, at=at)
    boots(device, at + timedelta(minutes=1), takes=40)

    assert figures.read_history(at=at) == 4

    assert moved(profile.organization, at.date()) == {
        "open": Movement(1, 1),
        "pending": Movement(1, 1),
        "custom_pending": Movement(1, 1),
        "acquired": Movement(1, 0),
    }


def test_a_release_leaves_its_state(at: datetime) -> None:
    device = make_device(at=at)
    registry.release(actor=ACTOR, device=device, at=at + timedelta(days=1))

    figures.read_history(at=at)

    assert moved(device.organization, at.date()) == {"open": Movement(1, 0)}
    assert moved(device.organization, at.date() + timedelta(days=1)) == {"open": Movement(0, 1)}


def test_the_same_history_is_added_up_once(at: datetime) -> None:
    device = make_device(at=at)
    figures.read_history(at=at)

    assert figures.read_history(at=at) == 0
    assert moved(device.organization, at.date()) == {"open": Movement(1, 0)}


def test_rows_that_commit_late_are_added_up_once(at: datetime) -> None:
    device = make_device(at=at)
    first = device.changes.get().pk
    rows = [
        StateChange(
            pk=first + step, device=device, organization=device.organization, mac=device.mac, at=at, recorded_at=at,
            event="asked", before="open", after="pending", source="door",
        )
        for step in (1, 2, 3, 4, 5, 6)
    ]  # fmt: skip
    counted = []
    for committed in ([rows[2]], [rows[0], rows[5]], [rows[4]], [rows[3], rows[1]], []):
        StateChange.objects.bulk_create(committed)
        figures.read_history(at=at)
        counted.append(moved(device.organization, at.date()).get("pending", Movement()).came)

    assert counted == [1, 3, 4, 6, 6]
    assert [gap for gap in FigureReading.objects.get().gaps if gap[1] > first] == []


def test_what_never_came_is_forgotten_after_a_day(at: datetime) -> None:
    device = make_device(at=at)
    change = device.changes.get()
    change.pk += 100
    change.save(force_insert=True)
    figures.read_history(at=at)
    assert FigureReading.objects.get().gaps

    figures.read_history(at=at + timedelta(days=2))

    assert FigureReading.objects.get().gaps == []


def test_large_histories_are_read_in_parts(at: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "ROWS_AT_ONCE", 3)
    organization = make_organization()
    for _ in range(10):
        make_device(organization=organization, at=at)

    assert figures.read_history(at=at) == 10
    assert moved(organization, at.date()) == {"open": Movement(10, 0)}


def test_the_time_to_acquire_counts_from_the_first_question(at: datetime) -> None:
    profile = make_profile()
    for takes in (20, 30, 40, 50, 600):
        boots(make_device(profile=profile, at=at), at, takes=takes)
    figures.read_history(at=at)

    (wait,) = figures.waits(viewer(profile.organization), since=at.date())

    assert (wait.profile_id, wait.model, wait.count) == (profile.pk, "CP-8841-3PCC", 5)
    assert wait.median == pytest.approx(40, rel=0.06)
    assert wait.percentile_95 == pytest.approx(600, rel=0.06)


def test_asking_again_does_not_begin_anew(at: datetime) -> None:
    device = make_device(profile=make_profile(), at=at)
    for event, after in ((Event.ASKED, 0), (Event.ANSWERED, 0), (Event.ASKED, 300), (Event.ANSWERED, 300)):
        moment = at + timedelta(seconds=after)
        customization.record(Evidence(device.mac, Observation(event, Clock(moment), "door")), at=moment)
    moment = at + timedelta(seconds=400)
    customization.record(Evidence(device.mac, Observation(Event.ACQUIRED, Clock(moment), "callback")), at=moment)
    figures.read_history(at=at)

    (wait,) = figures.waits(viewer(device.organization), since=at.date())

    assert wait.median == pytest.approx(400, rel=0.06)


def test_states_are_counted_for_each_organization(at: datetime) -> None:
    organization = make_organization()
    for state in ("acquired", "acquired", "pending", None):
        make_device(organization=organization, state=state)
    make_device(state="acquired")

    figures.count_states(at=at)

    assert figures.states(viewer(organization)) == ({"open": 1, "pending": 1, "acquired": 2}, at)
    assert figures.states(Viewer(sees_everything=True))[0]["acquired"] == 3


def test_states_are_not_counted_all_the_time(at: datetime) -> None:
    assert figures.count_states(at=at)
    assert not figures.count_states(at=at + timedelta(seconds=figures.LEAST_SECONDS_BETWEEN_COUNTS - 1))
    assert figures.count_states(at=at + timedelta(seconds=figures.LEAST_SECONDS_BETWEEN_COUNTS))

    FigureReading.objects.update(counted_at=at, count_seconds=5.0)
    assert not figures.count_states(at=at + timedelta(seconds=499))
    assert figures.count_states(at=at + timedelta(seconds=500))


def test_old_days_are_pruned(at: datetime) -> None:
    device = make_device(at=at)
    figures.read_history(at=at)

    assert figures.prune(before=at.date()) == 0
    assert figures.prune(before=at.date() + timedelta(days=1)) == 1
    assert moved(device.organization, at.date()) == {}


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_percentile_is_right_to_a_twentieth(seconds: list[float], share: float) -> None:
    histogram: dict[int, int] = {}
    for value in seconds:
        histogram[figures.bucket(value)] = histogram.get(figures.bucket(value), 0) + 1
    exact = next(v for place, v in enumerate(sorted(seconds), start=1) if place >= share * len(seconds))

    assert figures.percentile(histogram.items(), share) == pytest.approx(exact, rel=0.051)
