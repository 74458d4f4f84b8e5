"""The first page: where the phones stand, which are stuck, and what to do next. Every figure is counted to a limit."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from accounts import standing
from accounts.models import Organization
from onboarding.admin import drawing
from onboarding.models import Device, RedirectProfile
from onboarding.states import CustomizationState

# Counting on takes longer and tells no more: `10,000+`.
MOST_COUNTED = 10_000
_MOST_STALLED = 8
# Read to find the latest of them.
_STALLED_READ = 500


@dataclass(frozen=True, slots=True)
class Bar:
    """One state of the funnel; `share` is of the fullest, in percent."""

    state: str
    label: str
    meaning: str
    shown: str
    share: int
    address: str


def context(request: HttpRequest, base: dict[str, Any]) -> dict[str, Any]:
    """Add to the index page's context what the dashboard draws."""
    viewer = standing.of(request).viewer(standing.EVERYBODY)
    devices = Device.objects.filter(organization__in=Organization.objects.visible_to(viewer).values("pk"))
    counts = {state: devices.filter(state=state.value)[: MOST_COUNTED + 1].count() for state in CustomizationState}
    profile = RedirectProfile.objects.visible_to(viewer).exists()
    fullest = max(counts.values()) or 1
    list_address = reverse("admin:onboarding_device_changelist")
    bars = [
        Bar(
            state=state.value,
            label=state.label,
            meaning=drawing.MEANINGS[state][0],
            shown=f"{min(count, MOST_COUNTED):,}{'+' if count > MOST_COUNTED else ''}",
            share=round(100 * min(count, MOST_COUNTED) / min(fullest, MOST_COUNTED)),
            address=f"{list_address}?state={state.value}",
        )
        for state, count in counts.items()
    ]
    stuck = list(
        devices.filter(state=CustomizationState.CUSTOM_PENDING.value, stalled_at__isnull=False).values_list(
            "pk", "mac", "label", "model", "profile__name", "stalled_at"
        )[:_STALLED_READ]
    )
    stuck.sort(key=lambda row: row[5], reverse=True)
    any_device = any(counts.values())
    may_write = standing.of(request).holds(standing.STAFF)
    return base | {
        "path_bars": bars[:4],
        "aside_bars": bars[4:],
        "any_device": any_device,
        "any_acquired": counts[CustomizationState.ACQUIRED] > 0,
        "any_profile": profile,
        "may_write": may_write,
        "belongs": standing.of(request).is_operator or bool(standing.of(request).roles),
        "stalled": [
            {
                "address": reverse("admin:onboarding_device_change", args=(pk,)),
                "mac": drawing.colons(mac),
                "label": label,
                "model": model,
                "profile": profile_name or "",
                "ago": drawing.ago(stalled_at),
            }
            for pk, mac, label, model, profile_name, stalled_at in stuck[:_MOST_STALLED]
        ],
        "stalled_more": len(stuck) > _MOST_STALLED,
        "devices_address": list_address,
    }
