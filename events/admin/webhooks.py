"""Webhooks: the list with their health, the form, the log, and what is done by hand."""

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from accounts import standing
from accounts.admin import scope
from accounts.admin.wording import VerbForm, sentence
from accounts.seals import Seal
from events import kinds, webhooks
from events.admin import drawing
from events.admin.waiting import FailingFilter
from events.models import WebhookDelivery, WebhookEndpoint
from events.webhooks import Wishes
from onboarding.admin import drawing as phones
from onboarding.admin import filters as phone_filters
from onboarding.errors import OnboardingError
from onboarding.outbound import Rules

# Rows of the log: on the webhook's page, and on each page of its own.
_LATEST, _A_PAGE = 20, 100

_TYPES = {
    kinds.DEVICE_CLAIMED: "a phone was registered",
    kinds.DEVICE_CHANGED: "its registration was changed",
    kinds.DEVICE_RELEASED: "it was released",
    kinds.DEVICE_STATE_CHANGED: "its state moved",
    kinds.CODE_REDEEMED: "a code was redeemed",
}


class WebhookForm(VerbForm):
    types = forms.MultipleChoiceField(
        label="Events", choices=[(name, f"{name}: {words}") for name, words in _TYPES.items()], required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget, help_text="None chosen: all of them, also those to come.",
    )  # fmt: skip

    class Meta:
        model = WebhookEndpoint
        fields = ("organization", "url", "types", "enabled")
        help_texts = {
            "url": "Where events are sent, as https://hooks.example.net/phones.",
            "enabled": "While off, nothing is sent and nothing waits.",
        }


@admin.register(WebhookEndpoint)
class WebhookAdmin(scope.VerbAdmin):
    seen_by, changed_by = standing.STAFF, standing.ADMINS
    reads = writes = "webhooks:write"
    form = WebhookForm
    change_form_template = "events/webhook.html"
    ending_means = "What waits is not sent, and the log goes too. Programs can still read the feed."
    list_display = ("receiver", "health", "latest", "takes", "delivered", "organization")
    list_select_related = ("organization",)
    list_filter = (FailingFilter, phone_filters.OrganizationFilter)
    search_fields = ("url",)
    search_help_text = "Part of the URL"
    ordering = ("-pk",)

    class Media:
        css = {"all": ("events/webhooks.css",)}

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        first = ("organization",) if obj is None and self.asks_for_organization(request) else ()
        return ((None, {"fields": (*first, "url", "types", "enabled")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ()

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        if query or filtered:
            return super().empty(request, query, filtered)
        links = (("Add a webhook", "add/"),) if self.has_add_permission(request) else ()
        return scope.Empty(
            "No webhooks yet",
            "A webhook tells a program of yours at once when a phone is registered, moves on, or redeems a code.",
            links,
        )

    # The form

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: WebhookEndpoint | None) -> WebhookEndpoint:
        actor, at = standing.actor_of(request), timezone.now()
        wishes = Wishes(url=cleaned["url"], types=cleaned["types"], enabled=cleaned["enabled"])
        if row is not None:
            return webhooks.change(actor=actor, row=row, wishes=wishes, rules=_rules(), at=at)
        made, secret = webhooks.create(
            actor=actor, organization=self.chosen_organization(request, cleaned), wishes=wishes, rules=_rules(),
            seal=_seal(), at=at,
        )  # fmt: skip
        request.new_secret = secret  # type: ignore[attr-defined]
        return made

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._show(request, obj, request.new_secret)  # type: ignore[attr-defined]

    def _show(self, request: HttpRequest, row: WebhookEndpoint, secret: str) -> HttpResponse:
        """The secret's only appearance: in this answer, not in a message, which would be kept in the session."""
        context = self.admin_site.each_context(request) | {
            "title": "Copy the secret now",
            "row": row,
            "secret": secret,
            "opts": self.opts,
            "page": self._page(row),
        }
        response = TemplateResponse(request, "events/secret.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def end(self, request: HttpRequest, row: WebhookEndpoint) -> None:
        webhooks.delete(actor=standing.actor_of(request), row=row, at=timezone.now())

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row: WebhookEndpoint | None = kwargs.get("obj")
        context |= {"saving": "Add", "title": "Add a webhook", "subtitle": None}
        if row is not None:
            deliveries = list(self._log(row)[: max(_LATEST, drawing.MOST_BARS)])
            context |= {
                "title": f"Webhook {row.pk}",
                "saving": "Save",
                "webhook": row,
                "standing": drawing.standing(row),
                "bars": drawing.bars(deliveries),
                "deliveries": _drawn(deliveries[:_LATEST]),
                "delivered": phones.ago(row.delivered_at),
                "failing": phones.ago(row.failing_since) if row.failing_since else "",
                "retry": row.retry_at,
                "may_work": self.has_change_permission(request, row),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    # By hand

    def get_urls(self) -> Any:
        site = self.admin_site.admin_view
        verbs = {
            "rotate": self.rotate_view, "pause": self.pause_view, "resume": self.resume_view, "test": self.test_view,
            "log": self.log_view, "again": self.again_view, "since": self.since_view,
        }  # fmt: skip
        return [
            *(
                path(f"<int:webhook_id>/{name}/", site(view), name=f"events_webhookendpoint_{name}")
                for name, view in verbs.items()
            ),
            *super().get_urls(),
        ]

    def _one(self, request: HttpRequest, webhook_id: int) -> WebhookEndpoint:
        """The webhook that a button on its page names. Raises Http404, PermissionDenied."""
        row: WebhookEndpoint | None = self.get_queryset(request).filter(pk=webhook_id).first()
        if request.method != "POST" or row is None:
            raise Http404
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        return row

    def _done(self, request: HttpRequest, row: WebhookEndpoint, verb: Callable[[], object], text: str) -> HttpResponse:
        """Call a verb and say so on the webhook's page, or say why not."""
        try:
            verb()
        except OnboardingError as error:
            self.message_user(request, sentence(error), messages.ERROR)
        else:
            self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(self._page(row))

    def rotate_view(self, request: HttpRequest, webhook_id: int) -> HttpResponse:
        row = self._one(request, webhook_id)
        row, secret = webhooks.rotate(actor=standing.actor_of(request), row=row, seal=_seal(), at=timezone.now())
        return self._show(request, row, secret)

    def pause_view(self, request: HttpRequest, webhook_id: int) -> HttpResponse:
        row, actor = self._one(request, webhook_id), standing.actor_of(request)
        text = "It is paused. Events wait until you resume it, for as long as they are kept."
        return self._done(request, row, lambda: webhooks.pause(actor=actor, row=row, at=timezone.now()), text)

    def resume_view(self, request: HttpRequest, webhook_id: int) -> HttpResponse:
        row, actor = self._one(request, webhook_id), standing.actor_of(request)
        text = "It is resumed. What waited is sent first."
        return self._done(request, row, lambda: webhooks.resume(actor=actor, row=row, at=timezone.now()), text)

    def test_view(self, request: HttpRequest, webhook_id: int) -> HttpResponse:
        row, actor = self._one(request, webhook_id), standing.actor_of(request)
        text = "A webhook.test is on its way. What comes of it stands in the log below within seconds."
        return self._done(request, row, lambda: webhooks.test(actor=actor, row=row, at=timezone.now()), text)

    def again_view(self, request: HttpRequest, webhook_id: int) -> HttpResponse:
        row, actor = self._one(request, webhook_id), standing.actor_of(request)
        number = request.POST.get("delivery", "")
        if not (number.isascii() and number.isdecimal() and len(number) < 18):
            raise Http404
        delivery = WebhookDelivery.objects.filter(endpoint=row, pk=int(number)).select_related("endpoint").first()
        if delivery is None:
            raise Http404
        text = f"{delivery.message_id} is sent again."
        return self._done(
            request, row, lambda: webhooks.redeliver(actor=actor, delivery=delivery, at=timezone.now()), text
        )

    def since_view(self, request: HttpRequest, webhook_id: int) -> HttpResponse:
        row, actor = self._one(request, webhook_id), standing.actor_of(request)
        try:
            since = parse_datetime(f"{request.POST.get('since', '')}Z")
        except ValueError:
            since = None
        if since is None:
            self.message_user(request, "Give a date and a time.", messages.ERROR)
            return HttpResponseRedirect(self._page(row))
        moment = since
        text = f"Everything since {moment:%Y-%m-%d %H:%M} UTC is sent again, in order."
        return self._done(
            request, row, lambda: webhooks.redeliver_since(actor=actor, row=row, since=moment, at=timezone.now()), text
        )

    def log_view(self, request: HttpRequest, webhook_id: int) -> HttpResponse:
        """The whole log, a page at a time, the newest first."""
        row: WebhookEndpoint | None = self.get_queryset(request).filter(pk=webhook_id).first()
        if row is None:
            raise Http404
        before, wanted = request.GET.get("before", ""), request.GET.get("status", "")
        rows = self._log(row)
        if wanted in drawing.WORDS:
            rows = rows.filter(status=wanted)
        if before.isascii() and before.isdecimal() and len(before) < 18:
            rows = rows.filter(pk__lt=int(before))
        found = list(rows[: _A_PAGE + 1])
        context = self.admin_site.each_context(request) | {
            "title": "Deliveries",
            "subtitle": row.url,
            "opts": self.opts,
            "webhook": row,
            "page": self._page(row),
            "deliveries": _drawn(found[:_A_PAGE]),
            "older": found[_A_PAGE - 1].pk if len(found) > _A_PAGE else None,
            "wanted": wanted,
            "statuses": drawing.WORDS,
            "may_work": self.has_change_permission(request, row),
        }
        return TemplateResponse(request, "events/log.html", context)

    @staticmethod
    def _log(row: WebhookEndpoint) -> Any:
        return WebhookDelivery.objects.filter(endpoint=row).order_by("-pk")

    def _page(self, row: WebhookEndpoint) -> str:
        return reverse("admin:events_webhookendpoint_change", args=(row.pk,))

    # Columns

    @admin.display(description="Receiver")
    def receiver(self, row: WebhookEndpoint) -> SafeString:
        return format_html('<code class="receiver">{}</code>', row.url)

    @admin.display(description="Standing")
    def health(self, row: WebhookEndpoint) -> SafeString:
        return drawing.standing(row)

    @admin.display(description="Last deliveries")
    def latest(self, row: WebhookEndpoint) -> SafeString:
        return drawing.bars(list(self._log(row)[: drawing.MOST_BARS]))

    @admin.display(description="Events")
    def takes(self, row: WebhookEndpoint) -> SafeString:
        if not row.types:
            return format_html("{}", "all")
        codes = format_html_join(" ", "<code>{}</code>", ((name,) for name in row.types))
        return format_html('<span class="chips">{}</span>', codes)

    @admin.display(description="Last delivered")
    def delivered(self, row: WebhookEndpoint) -> SafeString:
        return phones.ago(row.delivered_at)


def _drawn(rows: list[WebhookDelivery]) -> list[dict[str, Any]]:
    return [
        {
            "row": row,
            "status": drawing.status(row),
            "outcome": drawing.outcome(row),
            "at": phones.ago(row.attempted_at or row.at),
        }
        for row in rows
    ]


def _rules() -> Rules:
    return Rules(settings.WEBHOOK_NETWORKS)


def _seal() -> Seal:
    return Seal(settings.CODE_KEYS, purpose=webhooks.SEALED)
