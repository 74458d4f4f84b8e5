"""API keys: made here, shown once, revoked. The digest is on no page."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget

from accounts import keys, standing
from accounts.admin import scope
from accounts.admin.wording import VerbForm
from accounts.models import ApiKey

_LIFETIMES = (("90", "90 days"), ("365", "a year"), ("", "until it is revoked"))
_USUAL_SCOPES = ("devices:read", "devices:write", "profiles:read", "profiles:write")


class ApiKeyForm(VerbForm):
    scopes = forms.MultipleChoiceField(
        label="May", choices=[(name, name) for name in keys.SCOPES], initial=_USUAL_SCOPES,
        widget=UnfoldAdminCheckboxSelectMultipleWidget, help_text="Give as little as the key's user needs.",
    )  # fmt: skip
    lifetime = forms.ChoiceField(
        label="Good for", choices=_LIFETIMES, required=False, initial="365", widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = ApiKey
        fields = ("organization", "name")
        help_texts = {"name": "Who or what uses it, so that you know later whether it can go."}


@admin.register(ApiKey)
class ApiKeyAdmin(scope.VerbAdmin):
    seen_by = changed_by = standing.ADMINS
    can_change = False
    form = ApiKeyForm
    ending, ended = "Revoke", "revoked"
    ending_means = "Whatever uses this key is refused from now on. A revoked key cannot be made good again."
    list_display = ("name", "shown_prefix", "organization", "live", "may", "last_used_at", "expires_at")
    list_select_related = ("organization",)
    search_fields = ("prefix", "name")
    search_help_text = "Name, or the key's first letters"
    ordering = ("-pk",)
    actions = ("revoke_selected",)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        # Whoever has the key's text may paste its beginning, or all of it.
        term = search_term.strip()
        return super().get_search_results(request, queryset, term.split("_")[1] if term.startswith("zt_") else term)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj:
            fields = ("name", "shown_prefix", "organization", "live", "may")
            times = ("created_at", "last_used_at", "expires_at", "revoked_at")
            return ((None, {"fields": fields}), ("Times", {"fields": times}))
        first = ("organization",) if self.asks_for_organization(request) else ()
        return ((None, {"fields": (*first, "name", "scopes", "lifetime")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("shown_prefix", "live", "may", "created_at") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # One that is revoked already has nothing left to end.
        live = not isinstance(obj, ApiKey) or obj.revoked_at is None
        return live and super().has_delete_permission(request, obj)

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: ApiKey | None) -> ApiKey:
        days = cleaned["lifetime"]
        at = timezone.now()
        made, text = keys.create(
            actor=standing.actor_of(request),
            organization=self.chosen_organization(request, cleaned),
            name=cleaned["name"],
            scopes=cleaned["scopes"],
            at=at,
            expires_at=at + timedelta(days=int(days)) if days else None,
        )
        request.new_key = text  # type: ignore[attr-defined]
        return made

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """The key's only appearance: in this answer, not in a message, which would be kept in the session."""
        context = self.admin_site.each_context(request) | {
            "title": "Copy the key now",
            "row": obj,
            "key": request.new_key,  # type: ignore[attr-defined]
            "opts": self.opts,
            "list_address": self._list_address(),
        }
        response = TemplateResponse(request, "accounts/key_shown_once.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def end(self, request: HttpRequest, row: ApiKey) -> None:
        keys.revoke(row, actor=standing.actor_of(request), at=timezone.now())

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        if query or filtered:
            return super().empty(request, query, filtered)
        return scope.Empty(
            "No API keys yet",
            "A key lets a program register phones and follow them. Make one for each program that does.",
            (("Make a key", "add/"),),
        )

    @admin.action(description="Revoke", permissions=["delete"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> Any:
        return self.end_selected(request, queryset)

    @admin.display(description="Key")
    def shown_prefix(self, row: ApiKey) -> str:
        return f"zt_{row.prefix}_…"

    @admin.display(description="Standing")
    def live(self, row: ApiKey) -> SafeString:
        if row.revoked_at is not None:
            return format_html('<span class="mark mark-bad">{}</span>', "revoked")
        if row.expires_at is not None and row.expires_at <= timezone.now():
            return format_html('<span class="mark mark-bad">{}</span>', "expired")
        return format_html('<span class="mark mark-good">{}</span>', "good")

    @admin.display(description="May")
    def may(self, row: ApiKey) -> SafeString:
        return format_html(
            '<span class="chips">{}</span>', format_html_join(" ", "<code>{}</code>", ((s,) for s in row.scopes))
        )
