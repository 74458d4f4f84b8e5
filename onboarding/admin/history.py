"""What was seen: every phone's history, and the sightings of phones that nobody registered. Read-only."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import standing
from accounts.admin import scope
from onboarding.admin import drawing, filters, lookup, timeline
from onboarding.models import Device, Sighting, StateChange

# So many devices' histories can be found by one search.
_MOST_FOUND = 100


@admin.register(StateChange)
class StateChangeAdmin(scope.ScopedAdmin):
    reads = "devices:read"
    can_add = can_change = can_delete = False
    change_form_template = "onboarding/state_change.html"
    list_display = ("happened", "phone", "what", "moved", "how", "remark", "organization")
    list_select_related = ("organization",)
    list_display_links = ("happened",)
    list_filter = (filters.OrganizationFilter,)
    search_fields = ("mac",)
    search_help_text = "MAC, serial number or label of a device that you still have"
    ordering = ("-id",)
    fields = ()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        # The link from a device's page.
        if lookup == "device__exact":
            return value.isdecimal() and len(value) < 18
        return super().lookup_allowed(lookup, value, request)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        # By way of the devices, which have the indexes.
        viewer = self.seeing(request)
        found = lookup.devices(Device.objects.visible_to(viewer), search_term, viewer, most=_MOST_FOUND)
        return queryset.filter(device_id__in=found.ids) if found.ids else queryset.none(), False

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        if query or filtered:
            return super().empty(request, query, filtered)
        return scope.Empty(
            "Nothing has happened yet",
            "Here stands what phones did and what people changed. Register a device to begin.",
            (("To the devices", reverse("admin:onboarding_device_changelist")),),
        )

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row: StateChange = kwargs["obj"]
        device = Device.objects.visible_to(standing.of(request).viewer(self.seen_by)).filter(pk=row.device_id).first()
        context |= {
            "entry": timeline.entry(row, timeline.names_of_keys([row])),
            "row": row,
            "mac": drawing.colons(row.mac),
            "device": device,
        }
        context |= {"title": timeline.words(row.event), "subtitle": None}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="When")
    def happened(self, row: StateChange) -> SafeString:
        return drawing.ago(row.at)

    @admin.display(description="MAC")
    def phone(self, row: StateChange) -> SafeString:
        address = reverse("admin:onboarding_device_change", args=(row.device_id,))
        return format_html('<a class="mac" href="{}">{}</a>', address, drawing.colons(row.mac))

    @admin.display(description="What")
    def what(self, row: StateChange) -> str:
        return timeline.words(row.event)

    @admin.display(description="State")
    def moved(self, row: StateChange) -> SafeString:
        if row.before == row.after:
            return format_html('<span class="unmoved">{}</span>', drawing.badge(row.after))
        return format_html('{} <span class="faint">→</span> {}', drawing.badge(row.before), drawing.badge(row.after))

    @admin.display(description="Source")
    def how(self, row: StateChange) -> str:
        return timeline.source(row.source)

    @admin.display(description="Remark")
    def remark(self, row: StateChange) -> SafeString:
        if row.refused:
            title = timeline.refusal(row.refused)
            return format_html('<span class="mark mark-refused" title="{}">refused</span>', title)
        return format_html('<span class="mark mark-inferred">{}</span>', "inferred") if row.inferred else SafeString("")


@admin.register(Sighting)
class SightingAdmin(scope.ScopedAdmin):
    """For the operator alone: these phones belong to nobody yet."""

    seen_by = standing.NOBODY
    can_add = can_change = can_delete = False
    list_display = ("mac_address", "said_model", "serial", "firmware", "count", "first", "last")
    list_display_links = None
    search_fields = ("mac",)
    search_help_text = "MAC or its beginning"
    ordering = ("-last_at", "pk")

    def organization_of(self, row: Any) -> int:
        return 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return Sighting.objects.all() if standing.of(request).is_operator else Sighting.objects.none()

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        if query:
            return super().empty(request, query, filtered)
        return scope.Empty("No sightings", "No phone that nobody registered has asked this service lately.")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        condition = lookup.beginning_of_mac(search_term)
        return (queryset.none() if condition is None else queryset.filter(condition)), False

    @admin.display(description="MAC")
    def mac_address(self, row: Sighting) -> SafeString:
        return format_html('<span class="mac">{}</span>', drawing.colons(row.mac))

    @admin.display(description="Model")
    def said_model(self, row: Sighting) -> str:
        return row.model

    @admin.display(description="First")
    def first(self, row: Sighting) -> SafeString:
        return drawing.ago(row.first_at)

    @admin.display(description="Last")
    def last(self, row: Sighting) -> SafeString:
        return drawing.ago(row.last_at)
