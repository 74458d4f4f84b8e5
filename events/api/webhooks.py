"""`/webhooks/`: endpoints, their secrets, what was sent to them, and sending it again."""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.seals import Seal
from events import webhooks
from events.api import shapes
from events.models import WebhookDelivery, WebhookEndpoint
from events.webhooks import Wishes
from onboarding.api import etags, pagination
from onboarding.api.fields import PageQuery
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView
from onboarding.outbound import Rules

_SCOPE = "webhooks:write"
# Answers with a secret are kept by nobody on the way.
_SECRET = {"Cache-Control": "no-store"}


def shown(row: WebhookEndpoint) -> dict[str, Any]:
    """What a webhook's owner decides, as partners see it."""
    return dict(shapes.WebhookShown(row).data)


def health(row: WebhookEndpoint) -> dict[str, Any]:
    return dict(shapes.WebhookHealth(row).data)


def answered(row: WebhookEndpoint) -> dict[str, Any]:
    return shown(row) | health(row)


def delivery_shown(row: WebhookDelivery) -> dict[str, Any]:
    return dict(shapes.DeliveryShown(row).data)


def rules() -> Rules:
    return Rules(settings.WEBHOOK_NETWORKS)


def seal() -> Seal:
    return Seal(settings.CODE_KEYS, purpose=webhooks.SEALED)


class WebhookView(PartnerView):
    @property
    def webhooks(self) -> "QuerySet[WebhookEndpoint]":
        """The webhooks that the caller may see."""
        return WebhookEndpoint.objects.visible_to(self.partner.viewer)

    def webhook(self, webhook_id: int, *, locked: bool = False) -> WebhookEndpoint:
        """The webhook of the path. Raises Http404 for foreign ones too."""
        rows = self.webhooks.select_for_update() if locked else self.webhooks
        row = rows.filter(pk=webhook_id).first()
        if row is None:
            raise Http404
        return row


class Webhooks(WebhookView):
    scopes = {"GET": _SCOPE, "POST": _SCOPE}

    @operation(
        "webhooks_list", "List your webhooks, newest first", answers={200: shapes.WebhookAnswered}, paged=True,
        query=PageQuery, scope=_SCOPE,
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = PageQuery.read(request.query_params)
        purpose = f"webhooks:{self.organization.pk}"
        return pagination.page(self.webhooks, by="-id", query=query, purpose=purpose, show=answered)

    @operation(
        "webhooks_create", "Create a webhook", body=shapes.WebhookInput, answers={201: shapes.WebhookWithSecret},
        refusals=(409,), scope=_SCOPE,
        more="The secret is in this answer and in no other. Messages are signed as Standard Webhooks has it.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        given = shapes.WebhookInput.read(request.data)
        row, secret = webhooks.create(
            actor=self.actor, organization=self.organization, wishes=Wishes(**given), rules=rules(), seal=seal(),
            at=timezone.now(),
        )  # fmt: skip
        location = request.build_absolute_uri(f"{row.pk}/")
        body = {**answered(row), "secret": secret}
        return Response(body, status=201, headers=_SECRET | {"Location": location})


class OneWebhook(WebhookView):
    scopes = {"GET": _SCOPE, "PUT": _SCOPE, "PATCH": _SCOPE, "DELETE": _SCOPE}

    @operation(
        "webhooks_read", "Read a webhook", answers={200: shapes.WebhookAnswered}, tagged=True, scope=_SCOPE
    )  # fmt: skip
    def get(self, request: Request, webhook_id: int) -> Response:
        row = self.webhook(webhook_id)
        return etags.single(request, shown(row), beside=health(row))

    @operation(
        "webhooks_put", "Set all fields of a webhook", body=shapes.WebhookInput,
        answers={200: shapes.WebhookAnswered}, tagged=True, scope=_SCOPE,
        more="Optional fields that are absent are set to their defaults. The secret stays.",
    )  # fmt: skip
    def put(self, request: Request, webhook_id: int) -> Response:
        given = shapes.WebhookInput.read(request.data)
        return self._change(request, webhook_id, given)

    @operation(
        "webhooks_patch", "Change some fields of a webhook", body=shapes.WebhookInput,
        answers={200: shapes.WebhookAnswered}, tagged=True, scope=_SCOPE,
    )  # fmt: skip
    def patch(self, request: Request, webhook_id: int) -> Response:
        given = shapes.WebhookInput.read(request.data, partial=True)
        return self._change(request, webhook_id, given, partial=True)

    def _change(self, request: Request, webhook_id: int, given: dict[str, Any], *, partial: bool = False) -> Response:
        with transaction.atomic():
            row = self.webhook(webhook_id, locked=True)
            etags.check(request, lambda: shown(row))
            if partial:
                given = {"url": row.url, "types": row.types, "enabled": row.enabled} | given
            row = webhooks.change(actor=self.actor, row=row, wishes=Wishes(**given), rules=rules(), at=timezone.now())
        return etags.single(request, shown(row), beside=health(row))

    @operation(
        "webhooks_delete", "Delete a webhook with its log", answers={204: None}, tagged=True, scope=_SCOPE,
        more="What waits is not sent.",
    )  # fmt: skip
    def delete(self, request: Request, webhook_id: int) -> Response:
        with transaction.atomic():
            row = self.webhook(webhook_id, locked=True)
            etags.check(request, lambda: shown(row))
            webhooks.delete(actor=self.actor, row=row, at=timezone.now())
        return Response(status=204)


class Rotate(WebhookView):
    scopes = {"POST": _SCOPE}

    @operation(
        "webhooks_rotate", "Give a webhook a new secret", answers={200: shapes.WebhookWithSecret}, missing=True,
        scope=_SCOPE, more="For 24 hours the former one signs too. One that was replaced before ends at once.",
    )  # fmt: skip
    def post(self, request: Request, webhook_id: int) -> Response:
        row, secret = webhooks.rotate(
            actor=self.actor, row=self.webhook(webhook_id), seal=seal(), at=timezone.now()
        )  # fmt: skip
        return Response({**answered(row), "secret": secret}, headers=_SECRET)


class Pause(WebhookView):
    scopes = {"POST": _SCOPE}

    @operation(
        "webhooks_pause", "Stop sending for a while", answers={200: shapes.WebhookAnswered}, missing=True, scope=_SCOPE,
        more="Events wait, for as long as they are kept. Pausing again changes nothing.",
    )  # fmt: skip
    def post(self, request: Request, webhook_id: int) -> Response:
        row = self.webhook(webhook_id)
        return Response(answered(webhooks.pause(actor=self.actor, row=row, at=timezone.now())))


class Resume(WebhookView):
    scopes = {"POST": _SCOPE}

    @operation(
        "webhooks_resume", "Send again after a pause", answers={200: shapes.WebhookAnswered}, missing=True,
        scope=_SCOPE, more="What waited is sent first. Resuming one that is not paused changes nothing.",
    )  # fmt: skip
    def post(self, request: Request, webhook_id: int) -> Response:
        row = self.webhook(webhook_id)
        return Response(answered(webhooks.resume(actor=self.actor, row=row, at=timezone.now())))


class Test(WebhookView):
    scopes = {"POST": _SCOPE}

    @operation(
        "webhooks_test", "Send a `webhook.test`", answers={202: shapes.DeliveryShown}, refusals=(409,), missing=True,
        scope=_SCOPE, more="To this webhook alone, whatever types it takes. See its deliveries for what came of it.",
    )  # fmt: skip
    def post(self, request: Request, webhook_id: int) -> Response:
        row = self.webhook(webhook_id)
        return Response(delivery_shown(webhooks.test(actor=self.actor, row=row, at=timezone.now())), status=202)


class Deliveries(WebhookView):
    scopes = {"GET": _SCOPE}

    @operation(
        "webhooks_deliveries", "List what was sent and what waits, newest first", answers={200: shapes.DeliveryShown},
        paged=True, query=shapes.DeliveryQuery, missing=True, scope=_SCOPE,
    )  # fmt: skip
    def get(self, request: Request, webhook_id: int) -> Response:
        query = shapes.DeliveryQuery.read(request.query_params)
        row = self.webhook(webhook_id)
        rows = WebhookDelivery.objects.visible_to(self.partner.viewer).filter(endpoint=row)
        if "status" in query:
            rows = rows.filter(status=query["status"])
        return pagination.page(rows, by="-id", query=query, purpose=f"deliveries:{row.pk}", show=delivery_shown)


class Redeliver(WebhookView):
    scopes = {"POST": _SCOPE}

    @operation(
        "webhooks_redeliver", "Send one delivery again", answers={202: shapes.DeliveryShown}, refusals=(409,),
        missing=True, scope=_SCOPE, more="Under the same `webhook-id`. One that waits is sent now.",
    )  # fmt: skip
    def post(self, request: Request, webhook_id: int, delivery_id: int) -> Response:
        row = self.webhook(webhook_id)
        rows = WebhookDelivery.objects.visible_to(self.partner.viewer).filter(endpoint=row, pk=delivery_id)
        delivery = rows.select_related("endpoint").first()
        if delivery is None:
            raise Http404
        again = webhooks.redeliver(actor=self.actor, delivery=delivery, at=timezone.now())
        return Response(delivery_shown(again), status=202)


class RedeliverSince(WebhookView):
    scopes = {"POST": _SCOPE}

    @operation(
        "webhooks_redeliver_since", "Send everything since a time again", body=shapes.RedeliveryInput,
        answers={202: shapes.WebhookAnswered}, refusals=(409,), missing=True, scope=_SCOPE,
        more="In order, under the same `webhook-id`s.",
    )  # fmt: skip
    def post(self, request: Request, webhook_id: int) -> Response:
        given = shapes.RedeliveryInput.read(request.data)
        row = self.webhook(webhook_id)
        webhooks.redeliver_since(actor=self.actor, row=row, since=given["since"], at=timezone.now())
        return Response(answered(row), status=202)
