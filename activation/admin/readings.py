"""Who read codes again. Read-only, for administrators."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts import standing
from accounts.admin import scope
from activation.models import AuditedReading
from onboarding.admin import drawing, filters


@admin.register(AuditedReading)
class AuditedReadingAdmin(scope.ScopedAdmin):
    seen_by = standing.ADMINS
    can_add = can_change = can_delete = False
    list_display = ("happened", "reader", "source", "purpose", "issued_code_id", "organization")
    list_display_links = None
    list_select_related = ("organization",)
    list_filter = (filters.OrganizationFilter,)
    ordering = ("-id",)

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        if query or filtered:
            return super().empty(request, query, filtered)
        return scope.Empty("Nobody has read a code again", "Revealing, printing and exporting codes is noted here.")

    @admin.display(description="When")
    def happened(self, row: AuditedReading) -> SafeString:
        return drawing.ago(row.at)
