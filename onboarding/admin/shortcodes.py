"""Short codes: enable, change, disable, and see how they are used; and networks that tried to guess them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import standing
from accounts.admin import scope
from accounts.admin.wording import ParsedField, VerbForm
from onboarding import guessing, shortcodes
from onboarding.admin import drawing, filters
from onboarding.identifiers import InvalidShortCode, ShortCode
from onboarding.models import CodeGuessing, ShortCodeUse
from onboarding.models import ShortCode as ShortCodeRow

# How far the use over time is shown.
_DAYS_SHOWN = 14


def _typed(text: str) -> ShortCode:
    """Read digits as people type them, with or without the #. Raises InvalidShortCode."""
    return ShortCode.from_digits(text.strip().removeprefix("#"))


class ShortCodeForm(VerbForm):
    """What an owner says about a short code."""

    class Meta:
        model = ShortCodeRow
        fields = ("organization", "profile", "valid_until", "max_devices")
        labels = {"max_devices": "Phones at most"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "profile" in self.fields:
            self.fields["profile"].required = True
            if self.instance.pk:
                choices: Any = self.fields["profile"]
                choices.queryset = choices.queryset.filter(organization=self.instance.organization_id)


class NewShortCodeForm(ShortCodeForm):
    """The same of a code that is yet to be enabled."""

    code = ParsedField(
        _typed,
        label="Digits",
        help_text=(
            f"3 to 16 digits; the user types # before them. At least {guessing.suggested_length()} are suggested: "
            f"anybody can try them out, and one network needs {guessing.space_of(3).days_to_try_all} days for all "
            f"codes of 3 digits, {guessing.space_of(8).days_to_try_all / 365:.0f} years for all of 8."
        ),
    )


@admin.register(ShortCodeRow)
class ShortCodeAdmin(scope.VerbAdmin):
    reads, writes = "profiles:read", "profiles:write"
    ending, ended = "Disable", "disabled"
    ending_means = (
        "Phones get no answer to it any more, within a second. Nobody else can have the digits for 30 days; you can "
        "enable them again at any time. Devices that it made stay yours."
    )
    list_display = ("typed", "profile", "works", "phones", "guessable", "last_used", "organization")
    list_select_related = ("profile", "organization")
    list_filter = (filters.OrganizationFilter,)
    search_fields = ("code",)
    search_help_text = "All digits of a code"
    ordering = ("-id",)
    autocomplete_fields = ("profile", "organization")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("profile", "organization")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(code=_typed(search_term).digits), False
        except InvalidShortCode:
            return queryset.none(), False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A disabled one is a record of what was.
        return super().has_change_permission(request, obj) and (obj is None or obj.disabled_at is None)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or obj.disabled_at is None)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = ShortCodeForm if obj else NewShortCodeForm
        return super().get_form(request, obj, change=change, form=form, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("use", "guess_report", "works") if obj else ()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            first = ("organization",) if self.asks_for_organization(request) else ()
            return (("Short code", {"fields": (*first, "code", "profile", "valid_until", "max_devices")}),)
        return (
            ("Short code", {"fields": ("works", "profile", "valid_until", "max_devices")}),
            ("Use", {"fields": ("use", "guess_report")}),
        )

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: ShortCodeRow | None) -> ShortCodeRow:
        organization = row.organization if row is not None else self.chosen_organization(request, cleaned)
        code = ShortCode.from_digits(row.code) if row is not None else cleaned["code"]
        terms = shortcodes.Terms(
            profile=cleaned["profile"], valid_until=cleaned["valid_until"], max_devices=cleaned["max_devices"]
        )
        actor, at = standing.actor_of(request), timezone.now()
        return shortcodes.enable(actor=actor, organization=organization, code=code, terms=terms, at=at)[0]

    def end(self, request: HttpRequest, row: ShortCodeRow) -> None:
        shortcodes.disable(actor=standing.actor_of(request), row=row, at=timezone.now())

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        if query or filtered:
            return super().empty(request, query, filtered)
        links = (("Enable a short code", "add/"),) if self.has_add_permission(request) else ()
        return scope.Empty(
            "No short codes yet",
            "Users type a short code, after a #, on phones that nobody registered, to get one of your profiles.",
            links,
        )

    @admin.display(description="Code")
    def typed(self, row: ShortCodeRow) -> SafeString:
        return format_html('<span class="mac">#{}</span>', row.code)

    @admin.display(description="Works")
    def works(self, row: ShortCodeRow) -> SafeString:
        kind, word = _standing(row, at=timezone.now())
        return format_html('<span class="mark mark-{}">{}</span>', kind, word)

    @admin.display(description="Phones")
    def phones(self, row: ShortCodeRow) -> str:
        return f"{row.devices} of {row.max_devices}" if row.max_devices else str(row.devices)

    @admin.display(description="Possible codes")
    def guessable(self, row: ShortCodeRow) -> str:
        return f"{guessing.space_of(len(row.code)).values:,}"

    @admin.display(description="Last used")
    def last_used(self, row: ShortCodeRow) -> SafeString | str:
        return drawing.ago(row.last_used_at) if row.last_used_at else "never"

    @admin.display(description="By day")
    def use(self, row: ShortCodeRow) -> SafeString | str:
        days = list(ShortCodeUse.objects.filter(short_code=row).order_by("-day")[:_DAYS_SHOWN])
        if not days:
            return "Not used yet."
        lines = "\n".join(f"{use.day}  {use.answers:6} answered  {use.devices:6} new phones" for use in days)
        return format_html('<pre class="document">{}</pre>', lines)

    @admin.display(description="Guessing")
    def guess_report(self, row: ShortCodeRow) -> str:
        space = guessing.space_of(len(row.code))
        advice = (
            f" {guessing.suggested_length()} digits or more are suggested."
            if len(row.code) < guessing.suggested_length()
            else ""
        )
        since = timezone.now() - timedelta(days=90)
        seen = CodeGuessing.objects.filter(organization=row.organization, last_at__gte=since)[:1000].count()
        return (
            f"{space.values:,} codes have this length; one network needs {space.days_to_try_all:,} days to try all."
            f"{advice} Networks that tried many codes and found one of yours, in 90 days: {seen}."
        )


def _standing(row: ShortCodeRow, *, at: datetime) -> tuple[str, str]:
    """(kind, word) of how a code stands."""
    if row.disabled_at is not None:
        return "bad", "disabled"
    if row.valid_until is not None and row.valid_until <= at:
        return "bad", "ended"
    if row.is_full:
        return "bad", "full"
    return "good", "enabled"


@admin.register(CodeGuessing)
class CodeGuessingAdmin(scope.ScopedAdmin):
    """Networks that the doors slowed down. The operator sees all, others those that found a code of theirs."""

    can_add = can_change = can_delete = False
    list_display = ("network", "times", "first", "last", "organization")
    list_display_links = None
    list_select_related = ("organization",)
    ordering = ("-last_at", "pk")

    def organization_of(self, row: Any) -> int:
        return int(row.organization_id or 0)

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        return scope.Empty("No guessing", "No network has tried out many short codes lately.")

    @admin.display(description="First")
    def first(self, row: CodeGuessing) -> SafeString:
        return drawing.ago(row.first_at)

    @admin.display(description="Last")
    def last(self, row: CodeGuessing) -> SafeString:
        return drawing.ago(row.last_at)
