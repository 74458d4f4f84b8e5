"""Organizations: the operator keeps them, others see their own; administrators say how their people sign in."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import urlencode

from accounts import organizations, standing
from accounts.admin import scope
from accounts.admin.wording import VerbForm
from accounts.models import Organization


class OrganizationForm(VerbForm):
    class Meta:
        model = Organization
        fields = ("name", "kind", "requires_second_factor")
        labels = {"requires_second_factor": "Second factor required"}
        help_texts = {"kind": "A provider has phones; a partner acts for providers that give it a mandate."}


@admin.register(Organization)
class OrganizationAdmin(scope.VerbAdmin):
    """No deletion: an organization's history outlives its phones. Suspending it is the way to stop it."""

    changed_by = standing.ADMINS
    can_delete = False
    form = OrganizationForm
    change_form_template = "accounts/organization.html"
    list_display = ("name", "kind", "live", "created_at")
    list_filter = ("kind",)
    search_fields = ("name",)
    search_help_text = "Name"
    ordering = ("name",)

    def organization_of(self, row: Any) -> int:
        return int(row.pk)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "kind__exact"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return standing.of(request).is_operator

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("name", "kind")}),)
        return ((None, {"fields": ("number", "name", "kind", "live", "requires_second_factor")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ()
        return ("number", "live") if standing.of(request).is_operator else ("number", "live", "name", "kind")

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: Organization | None) -> Organization:
        actor, at = standing.actor_of(request), timezone.now()
        if row is None:
            return organizations.create(actor=actor, name=cleaned["name"], kind=cleaned["kind"], at=at)
        return organizations.change(
            actor=actor, organization=row, name=cleaned.get("name", row.name), kind=cleaned.get("kind", row.kind),
            requires_second_factor=cleaned["requires_second_factor"], at=at,
        )  # fmt: skip

    def response_add(self, request: HttpRequest, obj: Organization, post_url_continue: str | None = None) -> Any:
        """An organization is of no use until somebody works in it: that comes next."""
        if "_addanother" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        said = f"{obj} is there. Add its first administrator, who then adds the others."
        self.message_user(request, said, messages.SUCCESS)
        begun = urlencode({"organization": str(obj.pk), "role": "admin"})
        return HttpResponseRedirect(f"{reverse('admin:accounts_membership_add')}?{begun}")

    def get_urls(self) -> Any:
        site = self.admin_site.admin_view
        return [
            path("<int:organization_id>/suspend/", site(self.suspend_view), name="accounts_organization_suspend"),
            path("<int:organization_id>/resume/", site(self.resume_view), name="accounts_organization_resume"),
            *super().get_urls(),
        ]

    def suspend_view(self, request: HttpRequest, organization_id: int) -> HttpResponse:
        row = self._operated(request, organization_id)
        if organizations.suspend(actor=standing.actor_of(request), organization=row, at=timezone.now()):
            said = f"{row} is suspended: its phones, keys and people are refused."
            self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(self._page(row))

    def resume_view(self, request: HttpRequest, organization_id: int) -> HttpResponse:
        row = self._operated(request, organization_id)
        if organizations.resume(actor=standing.actor_of(request), organization=row, at=timezone.now()):
            self.message_user(request, f"{row} works again.", messages.SUCCESS)
        return HttpResponseRedirect(self._page(row))

    def _operated(self, request: HttpRequest, organization_id: int) -> Organization:
        if not standing.of(request).is_operator:
            raise PermissionDenied
        row: Organization | None = Organization.objects.filter(pk=organization_id).first()
        if row is None or request.method != "POST":
            raise Http404
        return row

    def _page(self, row: Organization) -> str:
        return reverse("admin:accounts_organization_change", args=(row.pk,))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context |= {"operates": standing.of(request).is_operator}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Id")
    def number(self, row: Organization) -> str:
        return str(row.pk)

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
