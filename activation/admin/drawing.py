"""How a code's standing is drawn: its status, the funnel from issued to acquired, why phones were refused, its mail."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activation.models import IssuedCode
from activation.status import CodeStatus
from onboarding.admin import drawing
from onboarding.models import Device

_MOST_COUNTED = 10_000

_TONES = {
    CodeStatus.ISSUED: "issued",
    CodeStatus.REDEEMED: "good",
    CodeStatus.EXPIRED: "expired",
    CodeStatus.REVOKED: "bad",
}
# Why right digits were refused, in the words of `redemption`, of `registry`, and of the rules of `answers`.
_REASONS = {
    "another_mac": "The code is for another MAC.",
    "another_serial": "The code is for another serial number.",
    "another_model": "The code is for another model.",
    "redeemed": "Another phone had redeemed it, or this one long ago.",
    "expired": "It had expired.",
    "revoked": "It had been revoked.",
    "released": "The phone had been released since it redeemed the code.",
    "limits_closed": "Too much guessing went on elsewhere; until it ends, only codes for one phone work. Try later.",
    "contended": "Other phones typed it at the same moment.",
    "device_taken": "The phone belongs to another organization.",
    "profile_full": "The profile has as many unproven devices as it may have. Claim those that are yours.",
    "profile_disabled": "The profile is disabled.",
    "organization_suspended": "The organization is suspended.",
    "identity_missing": "The profile requires a certificate, and the phone showed none.",
    "identity_mismatch": "The phone's certificate names another MAC.",
    "model_mismatch": "The phone says another model than the registered one.",
    "serial_mismatch": "The phone says another serial number than the registered one.",
    "outside_window": "The device's onboarding window is closed.",
}


def badge(present: CodeStatus) -> SafeString:
    """A code's status as a coloured mark."""
    return format_html('<span class="mark mark-{}">{}</span>', _TONES[present], present.value)


def funnel(rows: "QuerySet[IssuedCode]") -> list[dict[str, Any]]:
    """How many codes were issued, redeemed, and led to a phone with its profile; each counted to a limit."""
    rows = rows.order_by()
    redeemed = rows.filter(redeemed_at__isnull=False)
    # The newest redemptions alone: counting on takes longer and tells no more.
    newest = redeemed.order_by("-id")[: _MOST_COUNTED + 1]
    acquired = Device.objects.filter(pk__in=newest.values("device_id"), state="acquired")
    counts = {
        "Issued": rows[: _MOST_COUNTED + 1].count(),
        "Redeemed": redeemed[: _MOST_COUNTED + 1].count(),
        "Profile acquired": acquired.count(),
    }
    most = max(1, min(_MOST_COUNTED, counts["Issued"]))
    return [
        {
            "label": label,
            "shown": f"{min(count, _MOST_COUNTED):,}{'+' if count > _MOST_COUNTED else ''}",
            "share": round(100 * min(count, _MOST_COUNTED) / most),
        }
        for label, count in counts.items()
    ]


def moment(at: datetime) -> SafeString:
    """A time, exactly; what lies ahead is not told as `5 days from now`."""
    return format_html('<span title="{0} UTC">{0}</span>', f"{at:%Y-%m-%d %H:%M}")


def refusal(noted: Mapping[str, str]) -> dict[str, Any]:
    """One of `IssuedCode.refusals` in words."""
    reason, mac = noted.get("reason", ""), noted.get("mac", "")
    try:
        at: SafeString | str = drawing.ago(datetime.fromisoformat(noted.get("at", "")))
    except ValueError:
        at = ""
    words = _REASONS.get(reason, reason.replace("_", " ").capitalize())
    return {"at": at, "mac": drawing.colons(mac) if mac else "", "words": words}


def mail(row: IssuedCode) -> str:
    """How far the code's mail got; empty where there is none."""
    if not row.email:
        return ""
    if row.mailed_at:
        return f"sent to {row.email}"
    if row.mail_error:
        return f"not sent to {row.email}: {row.mail_error}"
    if row.mail_due_at is None:
        return f"not sent to {row.email}"
    waiting = "" if settings.SENDS_MAIL else "; the operator of this service has set up no mail server (EMAIL_URL)"
    return f"waits to be sent to {row.email}{waiting}"
