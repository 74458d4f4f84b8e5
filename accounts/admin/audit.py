"""The audit: who changed what, when, from where. Read-only, for an organization's administrators and the operator."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import get_current_timezone

from accounts import auditing, chaining, standing
from accounts.admin import scope
from accounts.models import AuditEntry

_SOURCES = {"api": "by API", "admin": "on the admin site", "command": "on the command line"}
_ACTION_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.")


@dataclass(frozen=True, slots=True)
class Change:
    """One value before and after, as text; None where there was none."""

    name: str
    before: str | None
    after: str | None


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[Change]:
    """What an entry says was changed, field by field; also for histories on other pages."""
    names = [*before, *(name for name in after if name not in before)]
    return [
        Change(
            name.replace("_", " "),
            _printed(before[name]) if name in before else None,
            _printed(after[name]) if name in after else None,
        )
        for name in names
    ]


def words(action: str) -> str:
    """An action as a person would say it: `key.revoked` → `Key revoked`."""
    return action.replace(".", " ").replace("_", " ").capitalize()


def who(entry: AuditEntry) -> str:
    """Who did it, through whom, by which way in."""
    through = f" of {entry.through}" if entry.through_id else ""
    return f"{entry.name}{through}, {_SOURCES.get(entry.source, f'by {entry.source}')}"


def _printed(value: object) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


class _Typed(SimpleListFilter):
    """A filter that a person types; `example` stands in its empty field."""

    template = "accounts/typed_filter.html"
    example = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [("", "")]

    def choices(self, changelist: Any) -> Any:
        others = [(name, value) for name, values in changelist.get_filters_params().items() for value in values]
        yield {
            "name": self.parameter_name,
            "value": self.typed,
            "placeholder": self.example,
            "others": [(name, value) for name, value in others if name != self.parameter_name],
        }

    @property
    def typed(self) -> str:
        return str(self.value() or "").strip()


class ActionFilter(_Typed):
    title, example = "action", "key.revoked"
    parameter_name = "action"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # Also as the list prints it: `Key revoked`.
        typed = self.typed.lower().replace(" ", ".", 1).replace(" ", "_")
        if not typed:
            return queryset
        return queryset.filter(action=typed) if set(typed) <= _ACTION_LETTERS else queryset.none()


class SinceFilter(_Typed):
    title, example = "day it begins", "2026-11-22"
    parameter_name = "since"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.typed:
            return queryset
        try:
            day = date.fromisoformat(self.typed)
        except ValueError:
            return queryset.none()
        return queryset.filter(at__gte=datetime.combine(day, time(), tzinfo=get_current_timezone()))


class ThingFilter(_Typed):
    title, example = "thing", "profile:12"
    parameter_name = "thing"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.typed:
            return queryset
        usable = self.typed.isprintable() and len(self.typed) <= 60
        # Said twice, so that SQLite knows that the index of entries about things will do.
        return queryset.exclude(thing="").filter(thing=self.typed) if usable else queryset.none()


@admin.register(AuditEntry)
class AuditEntryAdmin(scope.ScopedAdmin):
    seen_by = standing.ADMINS
    reads = "audit:read"
    can_add = can_change = can_delete = False
    change_form_template = "accounts/audit_entry.html"
    list_display = ("happened", "what", "subject", "by", "address", "organization")
    list_select_related = ("organization", "through")
    list_display_links = ("happened",)
    list_filter = (ActionFilter, SinceFilter, ThingFilter)
    ordering = ("-id",)
    fields = ()

    class Media:
        css = {"all": ("accounts/audit.css",)}

    def organization_of(self, row: Any) -> int:
        return int(row.organization_id or chaining.OPERATORS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("organization", "through")

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        if query or filtered:
            return super().empty(request, query, filtered)
        return scope.Empty("Nothing has been changed yet", "Whatever people, keys and partners change is noted here.")

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row: AuditEntry = kwargs["obj"]
        context |= {
            "entry": row,
            "title": words(row.action),
            "subtitle": None,
            "who": who(row),
            "changes": changes(row.before, row.after),
            "genuine": auditing.is_sealed(row),
            "facts": list(_facts(row)),
            "others": f"{self._list_address()}?thing={row.thing}" if row.thing else "",
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="When")
    def happened(self, row: AuditEntry) -> SafeString:
        shown = f"{row.at:%Y-%m-%d %H:%M:%S}"
        return format_html('<time datetime="{}">{}</time>', row.at.isoformat(), shown)

    @admin.display(description="What")
    def what(self, row: AuditEntry) -> str:
        return words(row.action)

    @admin.display(description="By")
    def by(self, row: AuditEntry) -> str:
        return who(row)


def _facts(row: AuditEntry) -> Iterator[tuple[str, str]]:
    yield "When", f"{row.at:%Y-%m-%d %H:%M:%S} UTC"
    yield "From where", row.address or "not known"
    if row.request_id:
        yield "Request", row.request_id
    if row.organization:
        yield "Organization", str(row.organization)
    if row.position is not None:
        yield "Place in the chain", f"{row.position:,}"
