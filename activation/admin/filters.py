"""The filters of the list of codes: by status, by profile, by order."""

import uuid
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from activation.status import CodeStatus
from onboarding.admin import filters


class ProfileFilter(filters.ProfileFilter):
    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return super().lookups(request, model_admin)[1:]


class StatusFilter(SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(kind.value, kind.label) for kind in CodeStatus]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        if value not in set(CodeStatus):
            return queryset.none()
        return queryset.with_status(CodeStatus(value), at=timezone.now())  # type: ignore[attr-defined, no-any-return]


class BatchFilter(SimpleListFilter):
    """Reached by links alone: the codes of one order."""

    title = "order"
    parameter_name = "batch"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(self.value(), "This order")] if self.value() else []

    def has_output(self) -> bool:
        return bool(self.value())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        order = batch(value)
        return queryset if not value else queryset.filter(batch=order) if order else queryset.none()


def batch(text: str | None) -> uuid.UUID | None:
    """The order that `text` names; None for what names none."""
    try:
        return uuid.UUID(text or "")
    except ValueError:
        return None
