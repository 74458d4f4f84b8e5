"""The lists' filters. Each offers a bounded number of choices and reads no column of a large table to find them."""

from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import standing
from accounts.models import Organization
from onboarding.identifiers import InvalidModelName, ModelName
from onboarding.models import RedirectProfile
from onboarding.states import CustomizationState

# More choices than this no longer fit on a screen; the search finds the rest.
MOST_CHOICES = 40


class StateFilter(SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(state.value, state.label) for state in CustomizationState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(state=value) if value in set(CustomizationState) else queryset.none()


class StalledFilter(SimpleListFilter):
    title = "stalled"
    parameter_name = "stalled"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [("1", "Stalled only")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() != "1":
            return queryset
        # Only a Custom Pending phone can be stalled, and the state has an index.
        return queryset.filter(state=CustomizationState.CUSTOM_PENDING.value, stalled_at__isnull=False)


class ProfileFilter(SimpleListFilter):
    title = "profile"
    parameter_name = "profile"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        own = RedirectProfile.objects.visible_to(standing.of(request).viewer(standing.EVERYBODY))
        rows = own.order_by("name").values_list("pk", "name")[:MOST_CHOICES]
        return [("none", "No profile"), *((str(pk), name) for pk, name in rows)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value == "none":
            return queryset.filter(profile=None)
        return queryset.filter(profile_id=int(value)) if value and value.isdecimal() and len(value) < 18 else queryset


class FailingFilter(SimpleListFilter):
    title = "failing"
    parameter_name = "failing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [("1", "With failing targets only")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.exclude(failing_targets=[]) if self.value() == "1" else queryset


class OrganizationFilter(SimpleListFilter):
    """For those who see more than one."""

    title = "organization"
    parameter_name = "organization"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        viewer = standing.of(request).viewer(standing.EVERYBODY)
        rows = list(Organization.objects.visible_to(viewer).order_by("name").values_list("pk", "name")[:MOST_CHOICES])
        return rows if len(rows) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return (
            queryset.filter(organization_id=int(value)) if value and value.isdecimal() and len(value) < 18 else queryset
        )


class ModelFilter(SimpleListFilter):
    """Typed, since listing the models that occur would read every device."""

    title = "model"
    parameter_name = "model"
    template = "onboarding/typed_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [("", "")]

    def choices(self, changelist: Any) -> Any:
        others = [(name, value) for name, values in changelist.get_filters_params().items() for value in values]
        if changelist.query:
            others.append(("q", changelist.query))
        yield {
            "name": self.parameter_name,
            "value": self.value() or "",
            "placeholder": "CP-8841-3PCC",
            "others": [(name, value) for name, value in others if name != self.parameter_name],
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = (self.value() or "").strip()
        if not value:
            return queryset
        try:
            return queryset.filter(model=str(ModelName.parse(value)))
        except InvalidModelName:
            return queryset.none()
