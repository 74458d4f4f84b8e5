"""Mandates: given and withdrawn by the provider's administrators, seen by both sides."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from accounts import mandates, standing
from accounts.admin import scope
from accounts.admin.wording import VerbForm, scope_choices
from accounts.models import Mandate, Organization

_USUAL_SCOPES = ("devices:read", "devices:write", "profiles:read")
# More profiles than this are not offered as boxes; by API any can be named.
_MOST_OFFERED = 200


class MandateForm(VerbForm):
    partner = forms.CharField(
        label="Partner", max_length=120, widget=UnfoldAdminTextInputWidget,
        help_text="Its id or its exact name. The partner reads both on its own page Organizations.",
    )  # fmt: skip
    scopes = forms.MultipleChoiceField(
        label="May", choices=scope_choices(mandates.SCOPES), initial=_USUAL_SCOPES,
        widget=UnfoldAdminCheckboxSelectMultipleWidget, help_text="Give as little as the partner needs.",
    )  # fmt: skip
    profiles = forms.TypedMultipleChoiceField(
        label="Only these profiles", coerce=int, required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None chosen: all of them, also those to come.",
    )  # fmt: skip

    class Meta:
        model = Mandate
        fields = ("provider", "note")
        help_texts = {"note": "What it is for. Both sides see it."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "profiles" in self.fields:
            offered: Any = self.fields["profiles"]
            offered.choices = self.profile_choices

    profile_choices: tuple[tuple[int, str], ...] = ()


@admin.register(Mandate)
class MandateAdmin(scope.VerbAdmin):
    seen_by = changed_by = standing.ADMINS
    can_change = False
    form = MandateForm
    ending, ended = "Withdraw", "withdrawn"
    ending_means = "From the next request on the partner can do nothing for you any more. What it did stays done."
    list_display = ("who", "whom", "live", "may", "limited_to", "given_at")
    list_select_related = ("provider", "partner")
    search_fields = ()
    ordering = ("-pk",)

    def organization_of(self, row: Any) -> int:
        return int(row.provider_id)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        viewer = self.seeing(request)
        if isinstance(obj, Mandate) and viewer.sees(obj.partner_id, None):
            return True
        return super().has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        live = not isinstance(obj, Mandate) or obj.withdrawn_at is None
        return live and super().has_delete_permission(request, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "provider" and field is not None:
            field.label = "Provider"
        return field

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.profile_choices = tuple(self._profiles(request))
        return form

    def _profiles(self, request: HttpRequest) -> list[tuple[int, str]]:
        """The profiles that can be chosen: (id, name), with the organization's name where there are several."""
        several = self.asks_for_organization(request)
        viewer = self.changing(request)
        owners = Organization.objects.visible_to(viewer)
        rows = owners.exclude(profiles=None).order_by("name", "profiles__name")
        found = rows.values_list("profiles__pk", "profiles__name", "name")[:_MOST_OFFERED]
        return [(pk, f"{owner}: {name}" if several else name) for pk, name, owner in found]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj:
            shown = ("whom", "who", "live", "may", "limited_to", "note")
            times = ("given_at", "given_by", "withdrawn_at", "withdrawn_by")
            own = self.changing(request).sees(obj.provider_id, None)
            # Who at the provider did it is not the partner's to know.
            return (
                (None, {"fields": shown}),
                ("Times", {"fields": times if own else tuple(name for name in times if name.endswith("_at"))}),
            )
        first = ("provider",) if self.asks_for_organization(request) else ()
        return ((None, {"fields": (*first, "partner", "scopes", "profiles", "note")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("who", "whom", "live", "may", "limited_to") if obj else ()

    def chosen_organization(self, request: HttpRequest, cleaned: Mapping[str, Any]) -> Organization:
        return super().chosen_organization(request, {"organization": cleaned.get("provider")})

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: Mandate | None) -> Mandate:
        typed = cleaned["partner"].strip()
        number = int(typed) if typed.isascii() and typed.isdecimal() and len(typed) < 19 else None
        return mandates.give(
            actor=standing.actor_of(request),
            provider=self.chosen_organization(request, cleaned),
            partner=mandates.partner(partner_id=number, name=typed),
            scopes=cleaned["scopes"],
            profile_ids=cleaned["profiles"],
            note=cleaned["note"],
            at=timezone.now(),
        )

    def end(self, request: HttpRequest, row: Mandate) -> None:
        mandates.withdraw(row, actor=standing.actor_of(request), at=timezone.now())

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        links = (("Give a mandate", "add/"),) if self.has_add_permission(request) else ()
        return scope.Empty(
            "No mandates",
            "A mandate lets a partner, such as your distributor, act for you: within scopes and profiles, until you "
            "withdraw it. Mandates that others gave you stand here too.",
            links,
        )

    # Columns

    @admin.display(description="Partner")
    def who(self, row: Mandate) -> str:
        return f"{row.partner} ({row.partner_id})"

    @admin.display(description="Acts for")
    def whom(self, row: Mandate) -> str:
        return f"{row.provider} ({row.provider_id})"

    @admin.display(description="Standing")
    def live(self, row: Mandate) -> SafeString:
        kind, word = ("good", "in force") if row.withdrawn_at is None else ("bad", "withdrawn")
        if row.withdrawn_at is None and (row.provider.suspended_at or row.partner.suspended_at):
            kind, word = "stalled", "on hold: suspended"
        return format_html('<span class="mark mark-{}">{}</span>', kind, word)

    @admin.display(description="May")
    def may(self, row: Mandate) -> SafeString:
        return format_html(
            '<span class="chips">{}</span>', format_html_join(" ", "<code>{}</code>", ((s,) for s in row.scopes))
        )

    @admin.display(description="Profiles")
    def limited_to(self, row: Mandate) -> str:
        if not row.profile_ids:
            return "all"
        known = dict(row.provider.profiles.filter(pk__in=row.profile_ids[:10]).values_list("pk", "name"))
        names = [known.get(pk, f"{pk} (deleted)") for pk in row.profile_ids[:10]]
        return ", ".join(names) + (f" and {len(row.profile_ids) - 10} more" if len(row.profile_ids) > 10 else "")
