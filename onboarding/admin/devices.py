"""Devices: the list with its search and saved filters, and a device's page, which follows the phone while it moves."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import standing
from accounts.admin import scope, wording
from accounts.admin.wording import ParsedField, VerbForm
from accounts.models import User
from onboarding import examplephone, history, registry, savedfilters
from onboarding.admin import advice, drawing, explain, filters, lookup, timeline
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import Device, SavedFilter
from onboarding.registration import Confirm
from onboarding.registry import DeviceFields
from onboarding.states import CustomizationState

# Where many devices are changed at once: a page of the floor above, known by its name alone.
_BULK_WORK = "admin:operations_operation_chosen"
# Under the search box; more do not fit above the keyboard of a telephone.
_MOST_OFFERED = 8


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
        for name in {"valid_from", "valid_until"} & set(self.fields):
            # Two fields under one label: each needs a name of its own.
            widget: Any = self.fields[name].widget
            for part, asked in zip(getattr(widget, "widgets", ()), ("date", "time"), strict=False):
                part.attrs["aria-label"] = f"{self.fields[name].label or name}, {asked}"


class NewDeviceForm(DeviceForm):
    """The same of a device that is yet to be registered."""

    mac = ParsedField(
        MacAddress.parse,
        label="MAC",
        help_text="As printed on the phone, in any notation: 00:56:2B:04:36:15, 00562b043615.",
    )


@admin.register(Device)
class DeviceAdmin(scope.VerbAdmin):
    reads, writes = "devices:read", "devices:write"
    # Labels above their fields: the form shares the width with the timeline.
    compressed_fields = False
    change_form_template = "onboarding/device.html"
    change_list_template = "onboarding/devices.html"
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
    search_help_text = "Beginning or end of a MAC or serial number, or words of the label"
    sortable_by = ("mac_address",)
    ordering = ("mac",)
    autocomplete_fields = ("profile", "organization")
    actions = ("assign_selected", "release_selected")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("profile", "organization")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        found = lookup.devices(queryset, search_term, self.seeing(request))
        request.search_is_cut = found.is_cut  # type: ignore[attr-defined]
        return queryset.filter(pk__in=found.ids) if found.ids else queryset.none(), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        assert isinstance(request.user, User)
        saved = list(SavedFilter.objects.filter(user=request.user).order_by("name"))
        present = savedfilters.query(request.GET.urlencode())
        response = super().changelist_view(
            request, {"saved_filters": saved, "present_query": present, **(extra_context or {})}
        )
        if isinstance(response, TemplateResponse) and response.context_data and "cl" in response.context_data:
            response.context_data["search_is_cut"] = getattr(request, "search_is_cut", False)
            changes = response.context_data["cl"]
            if present and changes.result_count and self.has_change_permission(request):
                response.context_data["bulk_addresses"] = [
                    (text, f"{reverse(_BULK_WORK)}?{urlencode({'kind': kind, 'list': present})}")
                    for text, kind in (("Give all of these a profile", "assign"), ("Release all of these", "release"))
                ]
        return response

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
                "The search takes a MAC in any notation, the beginning or end of a MAC or serial number, and words of "
                "the label.",
                (("Show all devices", "?"),),
            )
        add = (("Register a device", "add/"), ("Import a list", reverse("admin:operations_operation_import")))
        return scope.Empty(
            "No devices yet",
            "Register the first phone by its MAC and model; then let it start.",
            add if may_add else (),
        )

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

    @admin.action(description="Give a profile", permissions=["change"])
    def assign_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> Any:
        chosen = [("device", pk) for pk in queryset.values_list("pk", flat=True)[: scope.MOST_AT_ONCE]]
        return HttpResponseRedirect(f"{reverse(_BULK_WORK)}?{urlencode([('kind', 'assign'), *chosen])}")

    @admin.action(description="Release", permissions=["delete"])
    def release_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> Any:
        return self.end_selected(request, queryset)

    # The page

    def get_urls(self) -> Any:
        def page(route: str, view: Any, name: str) -> Any:
            return path(route, self.admin_site.admin_view(view), name=f"onboarding_device_{name}")

        return [
            page("find/", self.find_view, "find"),
            page("saved/", self.saved_view, "saved"),
            page("<path:object_id>/explain/", self.explain_view, "explain"),
            page("<path:object_id>/standing/", self.standing_view, "standing"),
            *super().get_urls(),
        ]

    def find_view(self, request: HttpRequest) -> HttpResponse:
        """The first devices that match what is being typed, as options under the search box."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        typed = request.GET.get("q", "")
        rows: list[Device] = []
        is_cut = False
        if typed.strip():
            viewer = self.seeing(request)
            found = lookup.devices(self.get_queryset(request), typed, viewer, most=_MOST_OFFERED)
            rows = list(self.get_queryset(request).filter(pk__in=found.ids).order_by("mac")[: _MOST_OFFERED + 1])
            is_cut = found.is_cut or len(rows) > _MOST_OFFERED
        return TemplateResponse(
            request,
            "onboarding/found.html",
            {
                "rows": [
                    {"pk": row.pk, "mac": drawing.colons(row.mac), "device": row, "badge": drawing.badge(row.state)}
                    for row in rows[:_MOST_OFFERED]
                ],
                "more": is_cut,
                "typed": typed,
            },
        )

    def saved_view(self, request: HttpRequest) -> HttpResponse:
        """Save the list under a name, or forget one."""
        assert isinstance(request.user, User)
        kept = savedfilters.query(request.POST.get("query", ""))
        if request.method == "POST" and self.has_view_permission(request):
            try:
                if "forget" in request.POST:
                    savedfilters.forget(user=request.user, name=request.POST["forget"])
                else:
                    row = savedfilters.save(user=request.user, name=request.POST.get("name", ""), address=kept)
                    self.message_user(request, f"The list is saved as {row.name}.", messages.SUCCESS)
            except OnboardingError as error:
                self.message_user(request, wording.sentence(error), messages.ERROR)
        return HttpResponseRedirect(f"{self._list_address()}{'?' if kept else ''}{kept}")

    def explain_view(self, request: HttpRequest, object_id: str) -> Any:
        """What this phone would be answered now."""
        device = self.get_object(request, object_id)
        if device is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return explain.page(request, self, device)

    def standing_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The parts of a device's page that move with the phone; 204 while they are as the page has them (`seen`)."""
        device = self.get_object(request, object_id)
        if device is None:
            # Released meanwhile: the page that asks stops asking.
            return HttpResponse(status=410)
        viewer = self.seeing(request)
        newest = history.of_device(device, viewer).order_by("-id").values_list("pk", flat=True).first()
        seen = _fingerprint(device, newest)
        if request.GET.get("seen") == seen:
            return HttpResponse(status=204)
        return TemplateResponse(request, "onboarding/device_parts.html", _moving(request, device))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        device: Device | None = kwargs.get("obj")
        if device is not None:
            context |= _moving(request, device) | {
                "title": drawing.colons(device.mac),
                "subtitle": None,
                "claimed": drawing.ago(device.claimed_at),
                "explain_address": reverse("admin:onboarding_device_explain", args=(device.pk,)),
                "standing_address": reverse("admin:onboarding_device_standing", args=(device.pk,)),
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


def _fingerprint(device: Device, newest_change: int | None) -> str:
    """Changes with everything that the moving parts of the page show."""
    return f"{newest_change or 0}-{device.revision}-{device.changed_at.timestamp():.3f}"


def _moving(request: HttpRequest, device: Device) -> dict[str, Any]:
    """What the parts of a device's page show that move with the phone."""
    entries, newest, more = timeline.of(device, standing.of(request).viewer(standing.EVERYBODY, "devices:read"))
    path_steps, aside_steps = drawing.way(device.state)
    answer = explain.now(device)
    values = examplephone.phone(MacAddress.parse(device.mac), device.model, device.serial)
    state = CustomizationState(device.state)
    case = advice.Case(
        state=state,
        state_since=device.state_since,
        last_seen=device.last_seen,
        outcome=answer.outcome,
        remedy=answer.remedy,
        confirm=device.profile.confirm if device.profile else Confirm.CALLBACK,
        target=examplephone.expand(answer.target, values),
        at=timezone.now(),
    )
    all_history = reverse("admin:onboarding_statechange_changelist")
    return explain.drawn(answer) | {
        "device": device,
        "fingerprint": _fingerprint(device, newest),
        "state_label": state.label,
        "badge": drawing.badge(device.state),
        "stalled": drawing.stalled_mark(device.stalled_at),
        "since": drawing.ago(device.state_since),
        "seen": drawing.ago(device.last_seen),
        "path_steps": path_steps,
        "aside_steps": aside_steps,
        "meaning": drawing.MEANINGS[state][0],
        "advice": advice.of(case),
        "expanded_target": case.target,
        "entries": entries,
        "history_address": f"{all_history}?device__exact={device.pk}" if more else "",
    }
