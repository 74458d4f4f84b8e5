"""The feed as partners read it, for people who wonder what their programs were told."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin import scope
from events.models import Event
from onboarding.admin import drawing, filters


@admin.register(Event)
class EventAdmin(scope.ScopedAdmin):
    reads = "events:read"
    can_add = can_change = can_delete = False
    list_display = ("what", "phone", "moved", "happened", "message_id", "organization")
    list_select_related = ("organization",)
    list_filter = (filters.OrganizationFilter,)
    ordering = ("-position",)
    fields = ("message_id", "type", "at", "recorded_at", "shown_data")
    readonly_fields = ("message_id", "shown_data")

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        if filtered:
            return super().empty(request, query, filtered)
        return scope.Empty(
            "No events yet",
            "Here stands what programs read at /api/v1/events/ and what webhooks send. Register a device to begin.",
        )

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row: Event = kwargs["obj"]
        context |= {"title": row.type, "subtitle": row.message_id}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Type")
    def what(self, row: Event) -> str:
        return row.type

    @admin.display(description="MAC")
    def phone(self, row: Event) -> SafeString:
        mac = row.data.get("mac", "")
        return format_html('<span class="mac">{}</span>', drawing.colons(mac) if mac else "")

    @admin.display(description="State")
    def moved(self, row: Event) -> SafeString:
        if "after" not in row.data:
            return SafeString("")
        before, after = drawing.badge(row.data["before"]), drawing.badge(row.data["after"])
        return format_html('{} <span class="faint">→</span> {}', before, after)

    @admin.display(description="When")
    def happened(self, row: Event) -> SafeString:
        return drawing.ago(row.at)

    @admin.display(description="Id")
    def message_id(self, row: Event) -> str:
        return row.message_id

    @admin.display(description="Data")
    def shown_data(self, row: Event) -> SafeString:
        text = json.dumps(row.data, indent=2, ensure_ascii=False)
        return format_html('<pre class="document">{}</pre>', text)
