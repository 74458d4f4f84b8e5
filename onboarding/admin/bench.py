"""The bench: boxes scanned one after another with a handheld scanner, which types like a keyboard.

The browser keeps the session (what was scanned, what is still to be sent); each scan is one small idempotent request.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, TypeVar

from django.conf import settings
from django.contrib import admin
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET, require_POST

from accounts import standing
from accounts.admin.wording import sentence
from accounts.tenancy import Viewer
from onboarding import bench, code128
from onboarding.barcodes import Scan
from onboarding.bench import Before, Box
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import Device, RedirectProfile
from onboarding.registry import MAX_LABEL_LENGTH, ProfileNotYours

# More profiles than a person would look through.
_MOST_PROFILES = 200
MOST_LABELS = 1000
_MOST_OCTETS = 4096
# Longer than a shift.
_UNDO = timedelta(hours=16)
_SALT = "onboarding.bench.undo"

View = Callable[[HttpRequest], HttpResponse]
_Value = TypeVar("_Value")


def viewer_of(request: HttpRequest) -> Viewer:
    """Whose phones this person may register."""
    return standing.of(request).viewer(standing.STAFF, "devices:write")


def may_work(request: HttpRequest) -> bool:
    """Whether there is anything for this person to do at the bench."""
    return standing.of(request).holds(standing.STAFF, scope="devices:write")


def _guarded(view: View) -> View:
    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not may_work(request):
            raise PermissionDenied
        return view(request)

    return guarded


@require_GET
@_guarded
def page(request: HttpRequest) -> HttpResponse:
    """The page; everything on it happens in `bench.js`."""
    viewer = viewer_of(request)
    rows = RedirectProfile.objects.visible_to(viewer).select_related("organization").order_by("name", "pk")
    found = list(rows[: _MOST_PROFILES + 1])
    asked_for = request.GET.get("profile", "")
    chosen = int(asked_for) if asked_for.isascii() and asked_for.isdigit() and len(asked_for) < 16 else 0
    if chosen and all(row.pk != chosen for row in found):
        found = [*rows.filter(pk=chosen), *found]
    several = len({row.organization_id for row in found}) > 1
    context = admin.site.each_context(request) | {
        "title": "Bench",
        "profiles": found[:_MOST_PROFILES],
        "more": len(found) > _MOST_PROFILES,
        "several": several,
        "chosen": chosen,
        "person": request.user.get_username(),
        "started": timezone.now().isoformat(),
        "most_label": MAX_LABEL_LENGTH,
    }
    return TemplateResponse(request, "onboarding/bench.html", context)


class _Malformed(Exception):
    """The request is not one of the page's script."""


def _body(request: HttpRequest) -> dict[str, Any]:
    if len(request.body) > _MOST_OCTETS:
        raise _Malformed
    try:
        body = json.loads(request.body)
    except ValueError:
        raise _Malformed from None
    if not isinstance(body, dict):
        raise _Malformed
    return body


def _text(body: dict[str, Any], name: str, *, most: int = 400) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) > most:
        raise _Malformed
    return value


def _answering(view: View) -> View:
    """Refusals as the page's script reads them; they are answers, not errors: 200."""

    @wraps(view)
    def answering(request: HttpRequest) -> HttpResponse:
        try:
            return view(request)
        except OnboardingError as error:
            return JsonResponse(
                {"outcome": "refused", "code": error.code, "detail": error.detail, "remedy": _remedy(error)}
            )
        except _Malformed:
            return JsonResponse({"outcome": "malformed"}, status=400)

    return answering


def _remedy(error: OnboardingError) -> str:
    """What to do, in the words of a person with a scanner in the hand."""
    return {
        "invalid_mac": "Scan the bar code beside the word MAC.",
        "invalid_device": "Correct the label on this page, and scan the box again.",
        "unknown_profile": "The profile is gone. Begin a new session with another.",
    }.get(error.code, sentence(error).removeprefix(error.detail).strip())


@require_POST
@_guarded
@_answering
def scan(request: HttpRequest) -> HttpResponse:
    """Take one scan: it registers a phone, begins a box, or is refused."""
    body = _body(request)
    profile = _profile(request, body)
    begun = {} if body.get("box") is None else body["box"]
    if not isinstance(begun, dict):
        raise _Malformed
    box = Box(
        _parsed(MacAddress.parse, _text(begun, "mac")),
        _parsed(SerialNumber.parse, _text(begun, "serial")),
        _parsed(ModelName.parse, _text(begun, "model")),
    )
    said = Scan.read(_text(body, "scan", most=1000))
    try:
        box, whole = bench.take(box, said, with_serial=body.get("with_serial") is True)
    except bench.SerialMissing as error:
        # The box at hand is the next one: what was scanned of it stays.
        following = Box(said.mac, said.serial, said.model)
        return JsonResponse(
            {
                "outcome": "refused",
                "code": error.code,
                "detail": error.detail,
                "remedy": error.remedy,
                "box": _told(following),
            }
        )
    if not whole:
        return JsonResponse({"outcome": "begun", "box": _told(box)})
    model = _text(body, "model").strip()
    registered = bench.register(
        actor=standing.actor_of(request),
        viewer=viewer_of(request),
        profile=profile,
        box=box,
        model=ModelName.parse(model) if model else None,
        label=_text(body, "label", most=1000),
        own=settings.OWN_ADDRESSES,
        at=timezone.now(),
    )
    return JsonResponse(
        {"outcome": "registered", "row": _row(registered, profile, since=_moment(_text(body, "started")))}
    )


def _profile(request: HttpRequest, body: dict[str, Any]) -> RedirectProfile:
    number = body.get("profile")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 2**63:
        raise _Malformed
    visible = RedirectProfile.objects.visible_to(viewer_of(request)).select_related("organization")
    profile: RedirectProfile | None = visible.filter(pk=number).first()
    if profile is None:
        raise ProfileNotYours("There is no such profile.", field="profile")
    return profile


def _parsed(parse: Callable[[str], _Value], text: str) -> _Value | None:
    return parse(text) if text else None


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _told(box: Box) -> dict[str, str]:
    return {name: str(value) for name in ("mac", "serial", "model") if (value := getattr(box, name)) is not None}


def _row(registered: bench.Registered, profile: RedirectProfile, *, since: datetime | None) -> dict[str, Any]:
    device = registered.device
    # A scan whose answer was lost is sent again, and finds its own work done.
    claimed = registered.before is None or (since is not None and device.claimed_at >= since)
    before = None if claimed else registered.before
    token = {
        "device": device.pk,
        "changed_at": device.changed_at.isoformat(),
        "before": asdict(before) if before is not None else None,
    }
    return {
        "mac": device.mac,
        "shown": MacAddress.parse(device.mac).colons,
        "serial": device.serial,
        "model": device.model,
        "label": device.label,
        "profile": profile.name,
        "status": "claimed" if claimed else "changed" if registered.changed else "unchanged",
        "at": timezone.now().isoformat(),
        "address": reverse("admin:onboarding_device_change", args=(device.pk,)),
        "undo": signing.dumps(token, salt=_SALT, compress=True),
    }


@require_POST
@_guarded
@_answering
def undo(request: HttpRequest) -> HttpResponse:
    """Take one scan back."""
    try:
        token = signing.loads(_text(_body(request), "undo", most=3000), salt=_SALT, max_age=_UNDO)
    except signing.BadSignature:
        raise _Malformed from None
    device = Device.objects.visible_to(viewer_of(request)).filter(pk=token["device"]).first()
    if device is None:
        raise bench.NotAsItWas("It is not registered any more.", remedy="Nothing needs to be taken back.")
    bench.undo(
        actor=standing.actor_of(request),
        device=device,
        before=Before(**token["before"]) if token["before"] else None,
        changed_at=datetime.fromisoformat(token["changed_at"]),
        own=settings.OWN_ADDRESSES,
        at=timezone.now(),
    )
    return JsonResponse({"outcome": "undone"})


@require_POST
@_guarded
def labels(request: HttpRequest) -> HttpResponse:
    """Labels of scanned phones, to be printed: on sheets of A4, or one after another on a roll."""
    wanted = list(dict.fromkeys(request.POST.get("macs", "")[: MOST_LABELS * 13].split()))[:MOST_LABELS]
    macs = [mac for mac in wanted if len(mac) == 12 and mac.isascii() and mac.isalnum()]
    rows = {row.mac: row for row in Device.objects.visible_to(viewer_of(request)).filter(mac__in=macs)}
    drawn = [
        {
            "device": row,
            "shown": MacAddress.parse(row.mac).colons,
            "mac_bars": _bars(row.mac),
            "serial_bars": _bars(row.serial) if row.serial else "",
        }
        for row in (rows[mac] for mac in macs if mac in rows)
    ]
    paper = "roll" if request.POST.get("paper") == "roll" else "sheet"
    return TemplateResponse(request, "onboarding/bench_labels.html", {"labels": drawn, "paper": paper})


def _bars(text: str) -> str:
    # Widths and digits alone: nothing that anybody typed gets into the drawing.
    return mark_safe(code128.svg(text))  # noqa: S308


urls = [
    path("", admin.site.admin_view(page), name="bench"),
    path("scan/", admin.site.admin_view(scan), name="bench_scan"),
    path("undo/", admin.site.admin_view(undo), name="bench_undo"),
    path("labels/", admin.site.admin_view(labels), name="bench_labels"),
]
