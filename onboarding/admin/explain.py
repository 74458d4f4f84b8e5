"""The explain page: what a phone would be answered now, by the decision that the door itself makes."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.admin.wording import ParsedField
from onboarding import answers, registrations, targethealth
from onboarding.admin import drawing
from onboarding.answers import Answer
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import Device
from onboarding.registration import PhoneQuery
from trust.identity import Certified

if TYPE_CHECKING:
    from onboarding.admin.devices import DeviceAdmin

# Each rule: what passing means, what refusing means.
RULES = {
    "unknown_device": ("Its MAC is registered", "Nobody has registered its MAC"),
    "not_associated": ("It has a profile or a target of its own", "It has neither a profile nor a target of its own"),
    "profile_disabled": ("Its profile is enabled", "Its profile is disabled"),
    "organization_suspended": ("Its organization is active", "Its organization is suspended"),
    "identity_missing": (
        "No certificate is missing",
        "The profile requires a certificate and the phone shows none that holds",
    ),
    "identity_mismatch": ("No certificate contradicts its MAC", "Its certificate names another MAC or model"),
    "model_mismatch": (
        "Its model does not matter, or is the registered one",
        "It says another model than the registered one",
    ),
    "serial_mismatch": ("Its serial number is the registered one, or not compared", "It says another serial number"),
    "outside_window": ("The onboarding window is open", "The onboarding window is closed"),
    "redirected": ("It is sent to its provider", ""),
}


class PhoneForm(forms.Form):
    """What the phone would say of itself."""

    model = ParsedField(ModelName.parse, label="Model", required=False)
    serial = ParsedField(SerialNumber.parse, label="Serial number", required=False)
    firmware = forms.CharField(label="Firmware", required=False, max_length=64, widget=UnfoldAdminTextInputWidget)
    certificate = forms.ChoiceField(
        label="Certificate", required=False, widget=UnfoldAdminSelectWidget,
        choices=(
            ("", "shows none, or one that does not hold"), ("own", "shows one for its own MAC"),
            ("expired", "shows one for its own MAC, expired"), ("other", "shows one for another MAC"),
        ),
    )  # fmt: skip


def page(request: HttpRequest, model_admin: "DeviceAdmin", device: Device) -> HttpResponse:
    """Draw the page for a device that this person may see."""
    form = PhoneForm(request.GET or {"model": device.model, "serial": device.serial})
    context: dict[str, Any] = model_admin.admin_site.each_context(request) | {
        "title": f"What {drawing.colons(device.mac)} would be answered now",
        "opts": model_admin.opts,
        "device": device,
        "form": form,
    }
    if form.is_valid():
        context |= _explained(device, form.cleaned_data, among=model_admin.get_queryset(request))
    return TemplateResponse(request, "onboarding/explain.html", context)


def _explained(device: Device, said: dict[str, Any], *, among: "QuerySet[Device]") -> dict[str, Any]:
    mac = MacAddress.parse(device.mac)
    certified = {
        "own": Certified(mac), "expired": Certified(mac, expired=True), "other": Certified(MacAddress(mac.number ^ 1)),
    }.get(said["certificate"])  # fmt: skip
    query = PhoneQuery(
        mac=mac,
        model=str(said["model"] or ""),
        serial=str(said["serial"] or ""),
        firmware=said["firmware"],
        certified=certified,
    )
    answer = answers.decide(query, registrations.for_mac(mac, among=among), timezone.now().timestamp())
    # Asked only where there is any: a page has few queries.
    fails = answer.profile is not None and device.profile is not None and bool(device.profile.failing_targets)
    skipped = targethealth.skipped(answer.profile.id, answer.target) if answer.profile and fails else []
    return drawn(answer) | {
        "document": answers.document(answer, lambda: example_links(mac)).decode(),
        "skipped": [{"target": row.target, "said": targethealth.said(row)} for row in skipped],
    }


def now(device: Device) -> Answer:
    """What the phone would be answered if it said what is registered of it and showed its certificate.

    Costs no query for a row that was read with its profile and organization.
    """
    mac = MacAddress.parse(device.mac)
    profile = registrations.profile(device.profile) if device.profile else None
    suspended = device.organization.suspended_at is not None
    # As in the directory, only proven devices count.
    registration = registrations.from_rows(device, profile, organization_suspended=suspended) if device.proven else None
    query = PhoneQuery(mac=mac, model=device.model, serial=device.serial, firmware="", certified=Certified(mac))
    return answers.decide(query, registration, timezone.now().timestamp())


def drawn(answer: Answer) -> dict[str, Any]:
    """An answer with the rules that were tried, as the templates draw it."""
    return {
        "answer": answer,
        "redirected": answer.outcome == answers.REDIRECTED,
        "rules": [
            {"name": name, "verdict": verdict, "words": RULES[name][1 if verdict == "refused" else 0]}
            for name, verdict in answer.tried
        ],
        "untried": [name for name in answers.RULES[len(answer.tried) :] if name != answers.REDIRECTED],
    }


def example_links(mac: MacAddress) -> answers.Links:
    """The phone's own URLs as they would be, but for the token, which is made when the phone asks."""
    door = settings.DOOR

    def link(path: str) -> str:
        return f"{door.public_url}{path}?id={mac}&t=TOKEN"

    return answers.Links(beacon=link(door.beacon_path), report=link(door.report_path))
