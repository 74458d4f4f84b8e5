"""Organizations: the operator keeps them, others see their own."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts import standing
from accounts.admin import scope
from accounts.models import Organization


@admin.register(Organization)
class OrganizationAdmin(scope.ScopedAdmin):
    """No deletion: an organization's history outlives its phones. Suspending it is the way to stop it."""

    changed_by = standing.NOBODY
    can_delete = False
    list_display = ("name", "kind", "live", "created_at")
    list_filter = ("kind",)
    search_fields = ("name",)
    search_help_text = "Name"
    ordering = ("name",)
    fields = ("name", "kind", "suspended_at")

    def organization_of(self, row: Any) -> int:
        return int(row.pk)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "kind__exact"

    @admin.display(description="Standing")
    def live(self, row: Organization) -> str:
        return "Suspended" if row.suspended_at else "Active"

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        if query or filtered or not self.has_add_permission(request):
            return super().empty(request, query, filtered)
        return scope.Empty(
            "No organizations yet",
            "Add the first provider, then its people: they register its phones.",
            (("Add an organization", "add/"),),
        )
