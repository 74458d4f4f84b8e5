"""Devices: the list, a device's page with its timeline, and the two ways to end or explain it."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import standing
from accounts.admin import scope
from accounts.admin.wording import ParsedField, VerbForm
from onboarding import registry
from onboarding.admin import drawing, explain, filters, lookup, timeline
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import Device
from onboarding.registry import DeviceFields
from onboarding.states import CustomizationState


class DeviceForm(VerbForm):
    """What an owner says about a device."""

    model = ParsedField(ModelName.parse, label="Model", help_text="The product name on the phone, as CP-8841-3PCC.")
    serial = ParsedField(
        SerialNumber.parse,
        label="Serial number",
        required=False,
        help_text="If given, phones that say another are refused.",
    )
    target = forms.CharField(
        label="Target of its own", required=False, widget=UnfoldAdminTextInputWidget, strip=False,
        help_text="A profile rule for this phone alone, instead of the profile's: https://cfg.example.net/$MA.xml",
    )  # fmt: skip

    class Meta:
        model = Device
        fields = ("organization", "label", "profile", "valid_from", "valid_until")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "profile" in self.fields and self.instance.pk:
            choices: Any = self.fields["profile"]
            choices.queryset = choices.queryset.filter(organization=self.instance.organization_id)


class NewDeviceForm(DeviceForm):
    """The same of a device that is yet to be registered."""

    mac = ParsedField(
        MacAddress.parse,
        label="MAC",
        help_text="As printed on the phone, in any notation: 00:56:2B:04:36:15, 00562b043615.",
    )


@admin.register(Device)
class DeviceAdmin(scope.VerbAdmin):
    # Labels above their fields: the form shares the width with the timeline.
    compressed_fields = False
    change_form_template = "onboarding/device.html"
    ending, ended = "Release", "released"
    ending_means = (
        "This phone is no longer yours: it gets no answer any more, and anybody who has its MAC may register it. "
        "What is known of it until now stays in your history."
    )
    list_display = ("mac_address", "model", "label", "profile", "state_badge", "since", "seen", "organization")
    list_select_related = ("profile", "organization")
    list_filter = (
        filters.StateFilter,
        filters.StalledFilter,
        filters.ProfileFilter,
        filters.ModelFilter,
        filters.OrganizationFilter,
    )
    search_fields = ("mac",)
    search_help_text = "MAC, its beginning, or serial number"
    sortable_by = ("mac_address",)
    ordering = ("mac",)
    autocomplete_fields = ("profile", "organization")
    actions = ("release_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("profile", "organization")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        condition = lookup.matching(search_term)
        return (queryset.none() if condition is None else queryset.filter(condition)), False

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        may_add = self.has_add_permission(request)
        typed = lookup.mac(query) if query else None
        if typed is not None and not filtered:
            links = ((f"Register {typed.colons}", "add/?" + urlencode({"mac": typed.colons})),) if may_add else ()
            return scope.Empty(
                f"No device of yours has the MAC {typed.colons}", "It may be somebody else's, or nobody's.", links
            )
        if query or filtered:
            return scope.Empty(
                "No devices match",
                "The search takes a MAC in any notation, the beginning of one, or the beginning of a serial number.",
                (("Show all devices", "?"),),
            )
        links = (("Register a device", "add/"),) if may_add else ()
        return scope.Empty("No devices yet", "Register the first phone by its MAC and model; then let it start.", links)

    # The form

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change=change, form=DeviceForm if obj else NewDeviceForm, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        first: tuple[str, ...] = ("model", "serial", "label")
        if obj is None:
            first = (*(("organization",) if self.asks_for_organization(request) else ()), "mac", *first)
        return (
            ("Registration", {"fields": first}),
            ("Where it is sent", {"fields": ("profile", "target")}),
            (
                "Onboarding window",
                {
                    "fields": ("valid_from", "valid_until"),
                    "description": "Outside of it the phone gets no answer. UTC.",
                },
            ),
        )

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: Device | None) -> Device:
        values = DeviceFields(
            model=cleaned["model"],
            serial=cleaned["serial"],
            label=cleaned["label"],
            profile=cleaned["profile"],
            target=cleaned["target"],
            valid_from=cleaned["valid_from"],
            valid_until=cleaned["valid_until"],
        )
        actor, own, at = standing.actor_of(request), settings.OWN_ADDRESSES, timezone.now()
        if row is not None:
            return registry.change(actor=actor, device=row, values=values, own=own, at=at)
        organization = self.chosen_organization(request, cleaned)
        return registry.claim(actor=actor, organization=organization, mac=cleaned["mac"], values=values, own=own, at=at)

    def end(self, request: HttpRequest, row: Device) -> None:
        registry.release(actor=standing.actor_of(request), device=row, at=timezone.now())

    @admin.action(description="Release", permissions=["delete"])
    def release_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> Any:
        return self.end_selected(request, queryset)

    # The page

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.explain_view)
        return [path("<path:object_id>/explain/", view, name="onboarding_device_explain"), *super().get_urls()]

    def explain_view(self, request: HttpRequest, object_id: str) -> Any:
        """What this phone would be answered now."""
        device = self.get_object(request, object_id)
        if device is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return explain.page(request, self, device)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        device: Device | None = kwargs.get("obj")
        if device is not None:
            entries, more = timeline.of(device)
            path_steps, aside_steps = drawing.way(device.state)
            meaning, next_step = drawing.MEANINGS[CustomizationState(device.state)]
            history = reverse("admin:onboarding_statechange_changelist")
            context |= {
                "device": device,
                "title": drawing.colons(device.mac),
                "subtitle": None,
                "badge": drawing.badge(device.state),
                "stalled": drawing.stalled_mark(device.stalled_at),
                "since": drawing.ago(device.state_since),
                "seen": drawing.ago(device.last_seen),
                "claimed": drawing.ago(device.claimed_at),
                "path_steps": path_steps,
                "aside_steps": aside_steps,
                "meaning": meaning,
                "next_step": next_step,
                "entries": entries,
                "history_address": f"{history}?device__exact={device.pk}" if more else "",
                "explain_address": reverse("admin:onboarding_device_explain", args=(device.pk,)),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    # Columns

    @admin.display(description="MAC", ordering="mac")
    def mac_address(self, row: Device) -> SafeString:
        mac = format_html('<span class="mac">{}</span>', drawing.colons(row.mac))
        if row.proven:
            return mac
        title = "Somebody used a code of yours on a phone that says this MAC. Register it to make it yours for sure."
        return format_html('{} <span class="mark mark-inferred" title="{}">unproven</span>', mac, title)

    @admin.display(description="State")
    def state_badge(self, row: Device) -> SafeString:
        return format_html("{} {}", drawing.badge(row.state), drawing.stalled_mark(row.stalled_at))

    @admin.display(description="Since")
    def since(self, row: Device) -> SafeString:
        return drawing.ago(row.state_since)

    @admin.display(description="Last seen")
    def seen(self, row: Device) -> SafeString:
        return drawing.ago(row.last_seen)
