"""What events, webhooks and deliveries look like on the way in and out (contract 4.1)."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from events import kinds
from events.models import Event, WebhookDelivery, WebhookEndpoint
from onboarding.api.fields import Flag, Input, PageQuery, Text, Time
from onboarding.api.pagination import DEFAULT_LIMIT, MAX_LIMIT

_EVENT = {
    "id": "evt_4711",
    "type": "device.state_changed",
    "at": "2026-11-22T09:30:00Z",
    "data": {
        "mac": "00562B043615",
        "model": "CP-8841-3PCC",
        "profile": 1,
        "event": "acquired",
        "before": "custom_pending",
        "after": "acquired",
        "inferred": False,
        "source": "report",
        "evidence": {},
    },
}
_CURSOR = "NDcxMQ:1vN6sT7cMHuJZkV5Zq3Xy4qO0l0T7QWvGm3nQfJxk8w"
_WEBHOOK = {
    "id": 7,
    "url": "https://hooks.example.net/phones",
    "types": ["device.state_changed"],
    "enabled": True,
    "paused_reason": None,
    "created_at": "2026-11-22T09:30:00Z",
    "old_secret_until": None,
    "paused_at": None,
    "failing_since": None,
    "delivered_at": "2026-11-22T09:31:00Z",
}
_SECRET = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="}
_DELIVERY = {
    "id": 815,
    "event": "evt_4711",
    "type": "device.state_changed",
    "at": "2026-11-22T09:30:01Z",
    "attempt": 2,
    "status": "queued",
    "attempted_at": "2026-11-22T09:30:07Z",
    "response_status": 503,
    "response_excerpt": "try later",
    "error": "",
    "duration_ms": 38,
    "next_attempt_at": "2026-11-22T09:30:38Z",
}
# A pattern instead of a choice: drf-spectacular would name the choices of every `type` and `status` alike.
_STATUS = r"^(queued|delivered|failed|cancelled)$"


@extend_schema_serializer(
    component_name="Event", examples=[OpenApiExample("An event", value=_EVENT, response_only=True)]
)
class EventShown(serializers.Serializer[Event]):
    id = serializers.CharField(source="message_id", help_text="Also the `webhook-id` of its deliveries.")
    type = serializers.CharField(help_text=f"One of {', '.join(kinds.TYPES)}; more may come.")
    at = serializers.DateTimeField(help_text="When it happened. Events come in the order in which they became known.")
    data = serializers.DictField(  # type: ignore[assignment]  # a field of an event, not of the serializer
        help_text="What happened; depends on the type."
    )


@extend_schema_serializer(
    component_name="EventPage",
    examples=[OpenApiExample("A page", value={"results": [_EVENT], "next": _CURSOR}, response_only=True)],
)
class EventPage(serializers.Serializer[Any]):
    results = EventShown(many=True)
    next = serializers.CharField(help_text="The cursor to go on from, at the end too: ask again later with it.")


class EventQuery(Input):
    """The feed is read on from a cursor."""

    after = serializers.CharField(
        required=False, max_length=200, help_text="`next` of the page before. Default: begin with the oldest kept."
    )
    type = serializers.ChoiceField(kinds.TYPES, required=False, help_text="Only events of this type.")
    limit = serializers.IntegerField(min_value=1, max_value=MAX_LIMIT, required=False, default=DEFAULT_LIMIT)


@extend_schema_serializer(
    component_name="WebhookInput",
    examples=[
        OpenApiExample(
            "A webhook",
            value={"url": "https://hooks.example.net/phones", "types": ["device.state_changed"]},
            request_only=True,
        )
    ],
)
class WebhookInput(Input):
    url = Text(help_text="Where events are sent: an https URL of a server on the public Internet.")
    types = serializers.ListField(
        child=Text(), required=False, max_length=100,
        help_text=f"Which events: {', '.join(kinds.TYPES)}. Default: all.",
    )  # fmt: skip
    enabled = Flag(required=False, help_text="While false, nothing is sent and nothing waits. Default: true.")


@extend_schema_serializer(
    component_name="Webhook", examples=[OpenApiExample("A webhook", value=_WEBHOOK, response_only=True)]
)
class WebhookShown(serializers.Serializer[WebhookEndpoint]):
    id = serializers.IntegerField()
    url = serializers.CharField()
    types = serializers.ListField(child=serializers.CharField(), help_text="Empty: all.")
    enabled = serializers.BooleanField()
    paused_reason = serializers.SerializerMethodField(help_text="Why nothing is sent at present, or null.")
    created_at = serializers.DateTimeField()
    old_secret_until = serializers.DateTimeField(allow_null=True, help_text="Until then the former secret signs too.")

    def get_paused_reason(self, row: WebhookEndpoint) -> str | None:
        return row.paused_reason or None


class WebhookHealth(serializers.Serializer[WebhookEndpoint]):
    """What stands beside a webhook and changes by itself."""

    paused_at = serializers.DateTimeField(allow_null=True)
    failing_since = serializers.DateTimeField(allow_null=True, help_text="When the attempts began to fail.")
    delivered_at = serializers.DateTimeField(allow_null=True, help_text="The last attempt that went well.")


@extend_schema_serializer(
    component_name="WebhookAnswered", examples=[OpenApiExample("A webhook", value=_WEBHOOK, response_only=True)]
)
class WebhookAnswered(WebhookShown, WebhookHealth):
    pass


@extend_schema_serializer(
    component_name="WebhookWithSecret",
    examples=[OpenApiExample("A webhook with its secret", value=_WEBHOOK | _SECRET, response_only=True)],
)
class WebhookWithSecret(WebhookAnswered):
    secret = serializers.CharField(help_text="Signs what is sent. Shown this once.")


@extend_schema_serializer(
    component_name="WebhookDelivery", examples=[OpenApiExample("A delivery", value=_DELIVERY, response_only=True)]
)
class DeliveryShown(serializers.Serializer[WebhookDelivery]):
    id = serializers.IntegerField()
    event = serializers.CharField(source="message_id", help_text="The event's id; of a test, one of its own.")
    type = serializers.CharField()
    at = serializers.DateTimeField(help_text="When it was queued.")
    attempt = serializers.IntegerField(help_text="How many attempts were made.")
    status = serializers.RegexField(_STATUS)
    attempted_at = serializers.DateTimeField(allow_null=True, help_text="The last attempt.")
    response_status = serializers.IntegerField(allow_null=True, help_text="Of the last attempt; null: no answer.")
    response_excerpt = serializers.CharField(allow_blank=True, help_text="How the answer began.")
    error = serializers.CharField(allow_blank=True, help_text="Why there was no answer.")
    duration_ms = serializers.IntegerField(allow_null=True)
    next_attempt_at = serializers.DateTimeField(allow_null=True)


class DeliveryQuery(PageQuery):
    status = serializers.RegexField(_STATUS, required=False, help_text="One of queued, delivered, failed, cancelled.")


@extend_schema_serializer(
    component_name="RedeliveryInput",
    examples=[OpenApiExample("Since a time", value={"since": "2026-11-22T09:30:00Z"}, request_only=True)],
)
class RedeliveryInput(Input):
    since = Time(help_text="Everything recorded from then on is sent again, as far as events are kept.")
