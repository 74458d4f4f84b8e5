"""The page of locked-out phones."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone

from accounts import standing
from accounts.admin.wording import ParsedField, sentence
from activation import lockouts
from onboarding.admin import drawing
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress

if TYPE_CHECKING:
    from activation.admin.codes import IssuedCodeAdmin


class PhoneForm(forms.Form):
    mac = ParsedField(MacAddress.parse, label="MAC", required=False)


def page(request: HttpRequest, model_admin: "IssuedCodeAdmin") -> HttpResponse:
    """Lists them, looks one up by its MAC (GET), and lets one try again (POST)."""
    if not standing.of(request).holds(standing.STAFF):
        raise PermissionDenied
    viewer = standing.of(request).viewer(standing.STAFF)
    at = timezone.now()
    form = PhoneForm(request.POST if request.method == "POST" else request.GET)
    mac: MacAddress | None = form.cleaned_data["mac"] if form.is_valid() else None
    if request.method == "POST" and mac is not None:
        try:
            lockouts.lift(actor=standing.actor_of(request), mac=mac, viewer=viewer, at=at)
            model_admin.message_user(request, f"{mac.colons} may try again.", messages.SUCCESS)
        except OnboardingError as error:
            model_admin.message_user(request, sentence(error), messages.ERROR)
        return HttpResponseRedirect(request.path)
    found = lockouts.of(mac, viewer, at=at) if mac is not None else lockouts.shown_to(viewer, at=at)
    context: dict[str, Any] = model_admin.admin_site.each_context(request) | {
        "title": "Locked-out phones",
        "opts": model_admin.opts,
        "form": form,
        "searched": mac,
        "phones": [
            {"mac": phone.mac.colons, "network": phone.network, "opens": drawing.ago(phone.opens_at)} for phone in found
        ],
    }
    return TemplateResponse(request, "activation/locked_out.html", context)
