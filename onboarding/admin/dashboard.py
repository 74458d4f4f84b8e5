"""The first page: where the phones stand and how they move, how long they take, which are stuck, what to do next.

It costs the same whatever the size: figures come from `figures`, which a job keeps, and what is counted here is
counted to MOST_COUNTED. A state with fewer phones than that is counted while you look, so that the figures of a small
fleet are of this moment. Other apps add Tiles (`config.home` knows them).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts import standing
from accounts.models import Organization
from accounts.tenancy import Viewer
from onboarding import figures
from onboarding.admin import advice, drawing
from onboarding.figures import Movement, Wait
from onboarding.models import DailyMovement, Device, RedirectProfile
from onboarding.states import CustomizationState

# Counting on takes longer and tells no more: beyond it stands what the job counted last.
MOST_COUNTED = 1000
_MOST_STALLED = 8
# Read to find the latest of them.
_STALLED_READ = 500
# Days of the little curve beside each state, and of the time to acquire.
_CURVE_DAYS, _WEEK_DAYS = 14, 7
_CURVE_WIDTH, _CURVE_HEIGHT = 84, 22


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the first page that wants attention when it is not zero, and the list behind it."""

    label: str
    shown: str
    address: str
    hint: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One state of the funnel; `share` is of the fullest, in percent; `curve` the points of a polyline."""

    state: str
    label: str
    meaning: str
    shown: str
    share: int
    address: str
    today: Movement
    week: Movement
    curve: str
    curve_says: str


def context(request: HttpRequest, base: dict[str, Any]) -> dict[str, Any]:
    """Add to the index page's context what the dashboard draws."""
    person = standing.of(request)
    viewer = person.viewer(standing.EVERYBODY, "devices:read")
    today = timezone.now().date()
    # By organization even for those who see all: the indexes begin with it.
    devices = (
        Device.objects.filter(organization__in=Organization.objects.values("pk"))
        if viewer.sees_everything
        else Device.objects.visible_to(viewer)
    )
    counts, counted_at = _counts(devices, viewer)
    bars = _bars(counts, _movements(viewer, today), today)
    stalled, stuck = _stalled(devices)
    return base | {
        "path_bars": bars[:4],
        "aside_bars": bars[4:],
        "counted": drawing.ago(counted_at) if counted_at and max(counts.values()) > MOST_COUNTED else "",
        "any_device": any(counts.values()),
        "any_acquired": counts[CustomizationState.ACQUIRED] > 0,
        "any_profile": RedirectProfile.objects.visible_to(viewer).exists(),
        "may_write": person.holds(standing.STAFF, scope="devices:write"),
        "belongs": person.is_operator or bool(person.roles or person.entrusted),
        "stalled": stalled,
        "stalled_more": stuck > _MOST_STALLED,
        "waits": _waits(viewer, today),
        "week_days": _WEEK_DAYS,
        "devices_address": reverse("admin:onboarding_device_changelist"),
        "find_address": reverse("admin:onboarding_device_find"),
        # A page of the floor above, known by its name alone.
        "import_address": reverse("admin:operations_operation_import"),
        "tiles": [
            *_failing_targets(person.viewer(standing.EVERYBODY, "profiles:read")),
            Tile(
                "stalled phones",
                capped(stuck, _STALLED_READ),
                f"{reverse('admin:onboarding_device_changelist')}?stalled=1",
                "They were given their URL and have not confirmed in time",
                "warn" if stuck else "",
            ),
        ],
    }


def _failing_targets(viewer: Viewer) -> list[Tile]:
    failing = RedirectProfile.objects.visible_to(viewer).exclude(failing_targets=[]).order_by()
    count = failing[: MOST_COUNTED + 1].count()
    if not count:
        return []
    address = f"{reverse('admin:onboarding_redirectprofile_changelist')}?failing=1"
    hint = "Their servers do not answer as phones need it"
    return [Tile("profiles with failing targets", capped(count, MOST_COUNTED), address, hint, "bad")]


def capped(count: int, most: int) -> str:
    """A number that was counted to a limit."""
    return f"{most:,}+" if count > most else f"{count:,}"


def _counts(devices: "QuerySet[Device]", viewer: Viewer) -> tuple[dict[CustomizationState, int], Any]:
    """Devices by state: large figures as the job counted them, small ones counted now."""
    # Within a mandate's profiles nothing is counted beforehand.
    kept, counted_at = ({}, None) if viewer.limited else figures.states(viewer)
    counts = {}
    for state in CustomizationState:
        count = kept.get(state.value, 0)
        if count <= MOST_COUNTED:
            count = devices.filter(state=state.value)[: MOST_COUNTED + 1].count()
        counts[state] = count
    return counts, counted_at


def _movements(viewer: Viewer, today: date) -> Mapping[tuple[str, date], Movement]:
    rows = DailyMovement.objects.visible_to(viewer).filter(day__gt=today - timedelta(days=_CURVE_DAYS))
    moved: dict[tuple[str, date], Movement] = {}
    for state, day, came, left in rows.values_list("state", "day", "came", "left"):
        before = moved.get((state, day), Movement())
        moved[state, day] = Movement(before.came + came, before.left + left)
    return moved


def _bars(
    counts: Mapping[CustomizationState, int], moved: Mapping[tuple[str, date], Movement], today: date
) -> list[Bar]:
    fullest = max(counts.values()) or 1
    days = [today - timedelta(days=back) for back in reversed(range(_CURVE_DAYS))]
    list_address = reverse("admin:onboarding_device_changelist")
    bars = []
    for state, count in counts.items():
        daily = [moved.get((state.value, day), Movement()) for day in days]
        week = daily[-_WEEK_DAYS:]
        came = [movement.came for movement in daily]
        bars.append(
            Bar(
                state=state.value,
                label=state.label,
                meaning=drawing.MEANINGS[state][0],
                # Exactly one more than is counted is all that counting found.
                shown=capped(count, MOST_COUNTED) if count == MOST_COUNTED + 1 else f"{count:,}",
                share=max(1, round(100 * count / fullest)) if count else 0,
                address=f"{list_address}?state={state.value}",
                today=daily[-1],
                week=Movement(sum(m.came for m in week), sum(m.left for m in week)),
                curve=_curve(came),
                curve_says=f"came in the last {_CURVE_DAYS} days: {', '.join(map(str, came))}",
            )
        )
    return bars


def _curve(values: list[int]) -> str:
    """The points of a polyline in a box of _CURVE_WIDTH × _CURVE_HEIGHT; empty where nothing happened."""
    highest = max(values)
    if not highest:
        return ""
    step = _CURVE_WIDTH / (len(values) - 1)
    room = _CURVE_HEIGHT - 4
    return " ".join(f"{i * step:.1f},{2 + room - room * value / highest:.1f}" for i, value in enumerate(values))


def _stalled(devices: "QuerySet[Device]") -> tuple[list[dict[str, Any]], int]:
    """The latest few of the first few hundred, and how many there are, counted that far."""
    rows = list(
        devices.filter(state=CustomizationState.CUSTOM_PENDING.value, stalled_at__isnull=False).values_list(
            "pk", "mac", "label", "model", "profile__name", "stalled_at"
        )[: _STALLED_READ + 1]
    )
    latest = sorted(rows, key=lambda row: row[5].timestamp() if row[5] else 0.0, reverse=True)[:_MOST_STALLED]
    drawn = [
        {
            "address": reverse("admin:onboarding_device_change", args=(pk,)),
            "mac": drawing.colons(mac),
            "label": label,
            "model": model,
            "profile": profile or "",
            "ago": drawing.ago(stalled_at),
        }
        for pk, mac, label, model, profile, stalled_at in latest
    ]
    return drawn, len(rows)


def _waits(viewer: Viewer, today: date) -> list[dict[str, Any]]:
    """Time to acquire, drawn from the median to the 95th percentile on one scale for all rows."""
    rows = figures.waits(viewer, since=today - timedelta(days=_WEEK_DAYS - 1))
    names = dict(
        RedirectProfile.objects.visible_to(viewer)
        .filter(pk__in={row.profile_id for row in rows})
        .values_list("pk", "name")
    )
    longest = max((row.percentile_95 for row in rows), default=1.0)
    return [_drawn_wait(row, names.get(row.profile_id, ""), longest) for row in rows]


def _drawn_wait(row: Wait, profile: str, longest: float) -> dict[str, Any]:
    asked = {"state": CustomizationState.ACQUIRED.value, "model": row.model}
    if profile:
        asked["profile"] = str(row.profile_id)
    left, right = (100 * seconds / longest for seconds in (row.median, row.percentile_95))
    return {
        "model": row.model,
        "profile": profile,
        "count": f"{row.count:,}",
        "median": advice.duration(row.median),
        "slow": advice.duration(row.percentile_95),
        "left": f"{left:.1f}",
        "right": f"{right:.1f}",
        "width": f"{max(1.0, right - left):.1f}",
        "address": f"{reverse('admin:onboarding_device_changelist')}?{urlencode(asked)}",
    }
