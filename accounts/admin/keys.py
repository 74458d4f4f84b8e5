"""API keys: made here, shown once, revoked. The digest is on no page."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget

from accounts import keys, standing
from accounts.admin import scope
from accounts.admin.wording import VerbForm, scope_choices, sentence
from accounts.keys import Standing
from accounts.models import ApiKey
from onboarding.errors import OnboardingError

_LIFETIMES = (("90", "90 days"), ("365", "a year"), ("", "until it is revoked"))
_OVERLAPS = (("0", "no time"), ("1", "an hour"), ("24", "a day"), ("168", "a week"), ("720", "30 days"))
_ROTATABLE = frozenset({Standing.GOOD, Standing.UNUSED, Standing.EXPIRING})
# Kind of mark for each standing, and what to do about those that ask for something.
_KINDS = {
    Standing.REVOKED: "bad",
    Standing.SUSPENDED: "bad",
    Standing.EXPIRED: "bad",
    Standing.REPLACED: "expired",
    Standing.EXPIRING: "stalled",
    Standing.UNUSED: "stalled",
    Standing.GOOD: "good",
}
_ADVICE = {
    Standing.SUSPENDED: "The operator of this service has stopped this key. Ask why.",
    Standing.REPLACED: "Another key takes its place. Put that one in before this one ends.",
    Standing.EXPIRING: "It ends soon. Rotate it, and put the new key in.",
    Standing.UNUSED: "Nobody has used it for 60 days or more. If nothing needs it, revoke it.",
}
_USUAL_SCOPES = ("devices:read", "devices:write", "profiles:read", "profiles:write")


class ApiKeyForm(VerbForm):
    scopes = forms.MultipleChoiceField(
        label="May", choices=scope_choices(keys.SCOPES), initial=_USUAL_SCOPES,
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
    change_form_template = "accounts/key.html"
    ending, ended = "Revoke", "revoked"
    ending_means = "Whatever uses this key is refused from now on. A revoked key cannot be made good again."
    list_display = ("name", "shown_prefix", "organization", "live", "may", "last_used_at", "expires_at")
    list_select_related = ("organization",)
    search_fields = ("prefix", "name")
    search_help_text = "Name, or the key's first letters"
    ordering = ("-pk",)
    actions = ("revoke_selected",)

    class Media:
        css = {"all": ("accounts/audit.css",)}

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        # Whoever has the key's text may paste its beginning, or all of it.
        term = search_term.strip()
        return super().get_search_results(request, queryset, term.split("_")[1] if term.startswith("zt_") else term)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj:
            fields = ("name", "shown_prefix", "organization", "live", "may")
            times = ("created_at", "last_used_at", "expires_at", "revoked_at", "replaced_by")
            return ((None, {"fields": fields}), ("Times", {"fields": times}))
        first = ("organization",) if self.asks_for_organization(request) else ()
        return ((None, {"fields": (*first, "name", "scopes", "lifetime")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("shown_prefix", "live", "may", "created_at", "replaced_by") if obj else ()

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
        return self._show(request, obj, request.new_key)  # type: ignore[attr-defined]

    def _show(self, request: HttpRequest, row: ApiKey, text: str) -> HttpResponse:
        """The key's only appearance: in this answer, not in a message, which would be kept in the session."""
        context = self.admin_site.each_context(request) | {
            "title": "Copy the key now",
            "row": row,
            "key": text,
            "opts": self.opts,
            "list_address": self._list_address(),
        }
        response = TemplateResponse(request, "accounts/key_shown_once.html", context)
        response["Cache-Control"] = "no-store"
        return response

    # Rotating, suspending

    def get_urls(self) -> Any:
        site = self.admin_site.admin_view
        return [
            path("<int:key_id>/rotate/", site(self.rotate_view), name="accounts_apikey_rotate"),
            path("<int:key_id>/suspend/", site(self.suspend_view), name="accounts_apikey_suspend"),
            path("<int:key_id>/resume/", site(self.resume_view), name="accounts_apikey_resume"),
            *super().get_urls(),
        ]

    def rotate_view(self, request: HttpRequest, key_id: int) -> HttpResponse:
        row = self._posted(request, key_id)
        hours = request.POST.get("overlap", "")
        overlap = timedelta(hours=int(hours)) if hours in dict(_OVERLAPS) else keys.USUAL_OVERLAP
        try:
            made, text = keys.rotate(row, actor=standing.actor_of(request), at=timezone.now(), overlap=overlap)
        except OnboardingError as error:
            self.message_user(request, sentence(error), messages.ERROR)
            return HttpResponseRedirect(self._page(row))
        return self._show(request, made, text)

    def suspend_view(self, request: HttpRequest, key_id: int) -> HttpResponse:
        row = self._posted(request, key_id, operator=True)
        if keys.suspend(row, actor=standing.actor_of(request), at=timezone.now()):
            self.message_user(request, f"{row} is suspended.", messages.SUCCESS)
        return HttpResponseRedirect(self._page(row))

    def resume_view(self, request: HttpRequest, key_id: int) -> HttpResponse:
        row = self._posted(request, key_id, operator=True)
        if keys.resume(row, actor=standing.actor_of(request), at=timezone.now()):
            self.message_user(request, f"{row} works again.", messages.SUCCESS)
        return HttpResponseRedirect(self._page(row))

    def _posted(self, request: HttpRequest, key_id: int, *, operator: bool = False) -> ApiKey:
        """The key of the path, which this person may change."""
        row: ApiKey | None = self.get_queryset(request).filter(pk=key_id).first()
        if row is None or request.method != "POST":
            raise Http404
        if operator and not standing.of(request).is_operator:
            raise PermissionDenied
        return row

    def _page(self, row: ApiKey) -> str:
        return reverse("admin:accounts_apikey_change", args=(row.pk,))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row: ApiKey | None = kwargs.get("obj")
        if row is not None:
            present = keys.standing(row, at=timezone.now())
            context |= {
                "operates": standing.of(request).is_operator,
                "may_rotate": present in _ROTATABLE,
                "overlaps": _OVERLAPS,
                "advice": _ADVICE.get(present, ""),
                "advice_kind": f"note-{_KINDS[present]}",
            }
        return super().render_change_form(request, context, *args, **kwargs)

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
        present = keys.standing(row, at=timezone.now())
        return format_html('<span class="mark mark-{}">{}</span>', _KINDS[present], present)

    @admin.display(description="Replaced by", empty_value="no other key")
    def replaced_by(self, row: ApiKey) -> SafeString | None:
        if row.successor is None:
            return None
        return format_html('<a href="{}">{}</a>', self._page(row.successor), row.successor)

    @admin.display(description="May")
    def may(self, row: ApiKey) -> SafeString:
        return format_html(
            '<span class="chips">{}</span>', format_html_join(" ", "<code>{}</code>", ((s,) for s in row.scopes))
        )
