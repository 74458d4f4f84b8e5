"""What of the webhooks stands on the first page: receivers that fail or were paused for it."""

from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from accounts import standing
from events.models import WebhookEndpoint
from onboarding.admin.dashboard import MOST_COUNTED, Tile, capped

_FAILING = Q(paused_at__isnull=False) | Q(enabled=True, failing_since__isnull=False)


class FailingFilter(SimpleListFilter):
    title = "failing"
    parameter_name = "failing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [("1", "Failing or paused only")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(_FAILING) if self.value() == "1" else queryset


def tiles(request: HttpRequest) -> list[Tile]:
    """The webhooks that fail or are paused; nothing for people who may not see webhooks, or have none."""
    rows = WebhookEndpoint.objects.visible_to(standing.of(request).viewer(standing.STAFF, "webhooks:write"))
    failing = rows.filter(_FAILING).order_by()[: MOST_COUNTED + 1].count()
    if not failing:
        return []
    address = f"{reverse('admin:events_webhookendpoint_changelist')}?failing=1"
    return [Tile("failing webhooks", capped(failing, MOST_COUNTED), address, "Their receivers do not answer", "bad")]
