"""Activation codes: the list with its funnel, the order form, a code's page, and what is done with codes."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from accounts import standing
from accounts.admin import scope
from accounts.admin.wording import ParsedField, VerbForm, sentence
from activation import handover, issuing
from activation.admin import drawing, filters, lockouts
from activation.codes import ActivationCode
from activation.models import OPEN, AuditedReading, IssuedCode
from activation.status import CodeStatus, status
from activation.vault import Vault
from onboarding.admin import drawing as phones
from onboarding.admin import filters as phone_filters
from onboarding.admin import lookup
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import Device

_LIFETIMES = (("24", "a day"), ("168", "a week"), ("720", "30 days"), ("2160", "90 days"), ("8760", "a year"))
# More codes than this are not drawn on the page after issuing; the sheet and the table have them all.
_MOST_DRAWN = 24
_MOST_FOUND = 100
_MOST_READINGS = 20


class CodeForm(VerbForm):
    """An order of codes."""

    count = forms.IntegerField(
        label="How many", initial=1, min_value=1, max_value=issuing.MOST_AT_ONCE, widget=UnfoldAdminIntegerFieldWidget,
        help_text="All alike. Each works once.",
    )  # fmt: skip
    lifetime = forms.ChoiceField(label="Good for", choices=_LIFETIMES, initial="168", widget=UnfoldAdminSelectWidget)
    model = ParsedField(
        ModelName.parse, label="Only for the model", required=False, help_text="As CP-8841-3PCC. Empty: any model."
    )
    mac = ParsedField(
        MacAddress.parse,
        label="Only for the MAC",
        required=False,
        help_text="For one code. The phone that has it counts as claimed by you; others are refused.",
    )
    serial = ParsedField(
        SerialNumber.parse, label="Only for the serial number", required=False, help_text="For one code."
    )

    class Meta:
        model = IssuedCode
        fields = ("organization", "profile", "label", "email")
        labels = {"label": "For", "email": "Send it to"}
        help_texts = {
            "profile": "Where the phones will be sent.",
            "label": "Whose phone it will be, or where. It stands on the printed label.",
            "email": "For one code. Empty: you hand it over yourself.",
        }


@admin.register(IssuedCode)
class IssuedCodeAdmin(scope.VerbAdmin):
    reads, writes = "codes:read", "codes:issue"
    can_change = False
    form = CodeForm
    change_list_template = "activation/codes.html"
    change_form_template = "activation/code.html"
    ending, ended = "Revoke", "revoked"
    ending_means = (
        "Whoever types it from now on is told that it is invalid. "
        "A phone that has redeemed it already keeps its profile."
    )
    list_display = ("whose", "status_badge", "profile", "works_on", "phone", "issued", "expires", "organization")
    list_select_related = ("profile", "organization")
    list_filter = (filters.StatusFilter, filters.ProfileFilter, filters.BatchFilter, phone_filters.OrganizationFilter)
    search_fields = ("mac",)
    search_help_text = "MAC, serial number, the code's number, or whom it is for"
    ordering = ("-id",)
    autocomplete_fields = ("profile", "organization")
    actions = ("print_selected", "export_selected", "revoke_selected")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("profile", "organization")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if not term.isprintable() or len(term) > issuing.MAX_LABEL_LENGTH:
            return queryset.none(), False
        # One indexed search each; together in one condition they would read the whole table.
        searches = [Q(label=term)]
        mac = lookup.mac(term)
        if mac is not None:
            searches += [OPEN & ~Q(mac="") & Q(mac=str(mac)), ~Q(redeemed_mac="") & Q(redeemed_mac=str(mac))]
        elif term.isalnum() and term.isascii() and len(term) <= 32:
            searches.append(OPEN & ~Q(serial="") & Q(serial=term.upper()))
        if term.isascii() and term.isdecimal() and len(term) < 18:
            searches.append(Q(pk=int(term)))
        found: set[int] = set()
        for condition in searches:
            found.update(queryset.filter(condition).order_by().values_list("pk", flat=True)[:_MOST_FOUND])
        return queryset.filter(pk__in=found), False

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        may_add = self.has_add_permission(request)
        if query or filtered:
            return scope.Empty(
                "No codes match",
                "The search takes a whole MAC or serial number, a code's number, or whom it is for, as it was typed.",
                (("Show all codes", "?"),),
            )
        links = (("Issue codes", "add/"),) if may_add else ()
        return scope.Empty(
            "No activation codes yet", "Somebody with a phone types 16 digits, and the phone is theirs.", links
        )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        rows = self.get_queryset(request)
        order = filters.batch(request.GET.get("batch"))
        context = {
            "funnel": drawing.funnel(rows.filter(batch=order) if order else rows),
            "locked_out_address": self._address("locked_out"),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    # The order

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj:
            return ()
        first = ("organization",) if self.asks_for_organization(request) else ()
        return (
            ("The order", {"fields": (*first, "profile", "count", "lifetime")}),
            ("For whom", {"fields": ("label", "email")}),
            (
                "For which phone",
                {"fields": ("model", "mac", "serial"), "description": "Leave all of it empty if any phone will do."},
            ),
        )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj else super().get_fields(request, obj)

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: IssuedCode | None) -> IssuedCode:
        issued = issuing.issue(
            actor=standing.actor_of(request),
            organization=self.chosen_organization(request, cleaned),
            profile=cleaned["profile"],
            count=cleaned["count"],
            model=cleaned["model"],
            mac=cleaned["mac"],
            serial=cleaned["serial"],
            label=cleaned["label"],
            email=cleaned["email"],
            lifetime=timedelta(hours=int(cleaned["lifetime"])),
            at=timezone.now(),
            vault=_vault(),
        )
        request.issued = issued  # type: ignore[attr-defined]
        return issued[0][0]

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing more: the rows say who issued them."""

    def response_add(self, request: HttpRequest, obj: IssuedCode, post_url_continue: str | None = None) -> HttpResponse:
        """The digits, in this answer and not in a message, which would be kept in the session."""
        return self._show(request, request.issued)  # type: ignore[attr-defined]

    def _show(self, request: HttpRequest, issued: Sequence[tuple[IssuedCode, ActivationCode]]) -> HttpResponse:
        first = issued[0][0]
        context = self.admin_site.each_context(request) | {
            "title": "One activation code" if len(issued) == 1 else f"{len(issued):,} activation codes",
            "opts": self.opts,
            "codes": [
                {"row": row, "grouped": code.grouped, "spoken": handover.spoken(code), "page": self._page(row)}
                for row, code in issued[:_MOST_DRAWN]
            ],
            "single": len(issued) == 1,
            "more": max(0, len(issued) - _MOST_DRAWN),
            "first": first,
            "bound_to": handover.bound_to(first),
            "mails": settings.SENDS_MAIL,
            "print_address": self._address("print"),
            "export_address": self._address("export"),
            "list_address": f"{self._list_address()}?batch={first.batch}" if len(issued) > 1 else self._list_address(),
        }
        response = TemplateResponse(request, "activation/shown.html", context)
        response["Cache-Control"] = "no-store"
        return response

    # Ending it

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        live = not isinstance(obj, IssuedCode) or obj.revoked_at is None
        return live and super().has_delete_permission(request, obj)

    def end(self, request: HttpRequest, row: IssuedCode) -> None:
        issuing.revoke(actor=standing.actor_of(request), code=row, at=timezone.now())

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Nothing more: the rows say who revoked them."""

    @admin.action(description="Revoke", permissions=["delete"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[IssuedCode]) -> Any:
        return self.end_selected(request, queryset)

    # Reading again, each time on the record

    def get_urls(self) -> Any:
        site = self.admin_site.admin_view
        return [
            path("print/", site(self.print_view), name="activation_issuedcode_print"),
            path("export/", site(self.export_view), name="activation_issuedcode_export"),
            path("locked-out/", site(self.locked_out_view), name="activation_issuedcode_locked_out"),
            path("<int:code_id>/reveal/", site(self.reveal_view), name="activation_issuedcode_reveal"),
            path("<int:code_id>/reissue/", site(self.reissue_view), name="activation_issuedcode_reissue"),
            *super().get_urls(),
        ]

    def has_read_permission(self, request: HttpRequest) -> bool:
        """Whether this person may read digits in any organization; `_readable` cuts to which."""
        return standing.of(request).holds(standing.STAFF, scope="codes:reveal")

    def _readable(self, request: HttpRequest) -> QuerySet[Any]:
        viewer = standing.of(request).viewer(standing.STAFF, "codes:reveal")
        return IssuedCode.objects.visible_to(viewer).select_related("profile", "organization")

    def _one(self, request: HttpRequest, code_id: int) -> IssuedCode:
        if request.method != "POST":
            raise Http404
        row: IssuedCode | None = self._readable(request).filter(pk=code_id).first()
        if row is None:
            raise Http404
        return row

    def reveal_view(self, request: HttpRequest, code_id: int) -> HttpResponse:
        row = self._one(request, code_id)
        try:
            issued = issuing.reveal(actor=standing.actor_of(request), codes=[row], at=timezone.now(), vault=_vault())
        except OnboardingError as error:
            return self._refused(request, error, self._page(row))
        return self._show(request, issued)

    def reissue_view(self, request: HttpRequest, code_id: int) -> HttpResponse:
        row = self._one(request, code_id)
        if not self.changing(request).sees(row.organization_id, row.profile_id):
            raise PermissionDenied
        lifetime = max(row.expires_at - row.issued_at, timedelta(days=1))
        try:
            issued = issuing.reissue(
                actor=standing.actor_of(request), code=row, lifetime=lifetime, at=timezone.now(), vault=_vault()
            )
        except OnboardingError as error:
            return self._refused(request, error, self._page(row))
        self.message_user(request, f"{str(row).capitalize()} is revoked; this one replaces it.", messages.SUCCESS)
        return self._show(request, [issued])

    def print_view(self, request: HttpRequest) -> HttpResponse:
        return self._handed_over(request, self._ordered(request), "print")

    def export_view(self, request: HttpRequest) -> HttpResponse:
        return self._handed_over(request, self._ordered(request), "export")

    def _ordered(self, request: HttpRequest) -> QuerySet[Any]:
        """The usable codes of the order, or the one code, that the form names."""
        batch, one = filters.batch(request.POST.get("batch")), request.POST.get("code", "")
        rows = self._readable(request)
        if request.method != "POST" or not (batch or (one.isascii() and one.isdecimal() and len(one) < 18)):
            raise Http404
        rows = rows.filter(batch=batch) if batch else rows.filter(pk=int(one))
        return rows.with_status(CodeStatus.ISSUED, at=timezone.now())  # type: ignore[attr-defined, no-any-return]

    @admin.action(description="Print labels", permissions=["read"])
    def print_selected(self, request: HttpRequest, queryset: QuerySet[IssuedCode]) -> Any:
        return self._handed_over(request, self._usable(request, queryset), "print")

    @admin.action(description="Export as CSV, with digits", permissions=["read"])
    def export_selected(self, request: HttpRequest, queryset: QuerySet[IssuedCode]) -> Any:
        return self._handed_over(request, self._usable(request, queryset), "export")

    def _usable(self, request: HttpRequest, queryset: QuerySet[IssuedCode]) -> QuerySet[Any]:
        chosen = list(queryset.values_list("pk", flat=True)[: scope.MOST_AT_ONCE])
        rows = self._readable(request).filter(pk__in=chosen)
        return rows.with_status(CodeStatus.ISSUED, at=timezone.now())  # type: ignore[attr-defined, no-any-return]

    def _handed_over(self, request: HttpRequest, rows: QuerySet[Any], purpose: str) -> HttpResponse:
        found = list(rows.order_by("pk")[: issuing.MOST_AT_ONCE])
        if not found:
            self.message_user(request, "None of these codes can be used any more.", messages.ERROR)
            return HttpResponseRedirect(self._list_address())
        try:
            issued = issuing.reveal(
                actor=standing.actor_of(request), codes=found, purpose=purpose, at=timezone.now(), vault=_vault()
            )
        except OnboardingError as error:
            return self._refused(request, error, self._list_address())
        if purpose == "print":
            labels = [handover.Label.of(row, code) for row, code in issued]
            drawn = [{"label": label, "qr": mark_safe(label.qr)} for label in labels]  # noqa: S308  # our own SVG
            response: HttpResponse = TemplateResponse(request, "activation/labels.html", {"labels": drawn})
        else:
            response = HttpResponse(handover.csv_text(issued), content_type="text/csv; charset=utf-8")
            response["Content-Disposition"] = 'attachment; filename="activation-codes.csv"'
        response["Cache-Control"] = "no-store"
        return response

    def _refused(self, request: HttpRequest, error: OnboardingError, address: str) -> HttpResponse:
        self.message_user(request, sentence(error), messages.ERROR)
        return HttpResponseRedirect(address)

    def locked_out_view(self, request: HttpRequest) -> HttpResponse:
        """Phones that must wait, and the one click that lets them try again."""
        return lockouts.page(request, self)

    # The page

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row: IssuedCode | None = kwargs.get("obj")
        context |= {"saving": "Issue", "title": "Issue activation codes", "subtitle": None}
        if row is not None:
            at = timezone.now()
            present = status(row, at=at)
            viewer = standing.of(request).viewer(self.seen_by)
            device = Device.objects.visible_to(viewer).filter(pk=row.device_id).first() if row.device_id else None
            readings = AuditedReading.objects.visible_to(viewer).filter(issued_code_id=row.pk).order_by("-id")
            reader = standing.of(request).viewer(standing.STAFF, "codes:reveal")
            may_read = reader.sees(row.organization_id, row.profile_id)
            context |= {
                "code": row,
                "title": f"Activation code {row.pk}",
                "badge": drawing.badge(present),
                "bound_to": handover.bound_to(row),
                "issued": phones.ago(row.issued_at),
                "expires": drawing.moment(row.expires_at),
                "device": device,
                "device_mac": phones.colons(row.redeemed_mac) if row.redeemed_mac else "",
                "device_badge": phones.badge(device.state) if device else "",
                "redeemed": phones.ago(row.redeemed_at),
                "refusals": [drawing.refusal(refusal) for refusal in reversed(row.refusals)],
                "readings": [
                    {"at": phones.ago(reading.at), "what": reading.get_purpose_display(), "who": reading.reader}
                    for reading in readings[:_MOST_READINGS]
                ],
                "may_read": may_read and present == CodeStatus.ISSUED,
                "may_reissue": may_read and row.redeemed_at is None,
                "mail": drawing.mail(row),
                "batch_address": f"{self._list_address()}?batch={row.batch}",
                "print_address": self._address("print"),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def _page(self, row: IssuedCode) -> str:
        return reverse("admin:activation_issuedcode_change", args=(row.pk,))

    def _address(self, page: str) -> str:
        return reverse(f"admin:activation_issuedcode_{page}")

    # Columns

    @admin.display(description="Code")
    def whose(self, row: IssuedCode) -> SafeString:
        return format_html('{} <span class="faint">{}</span>', row.label or "Any phone", row.pk)

    @admin.display(description="Status")
    def status_badge(self, row: IssuedCode) -> SafeString:
        shown = drawing.badge(status(row, at=timezone.now()))
        if not row.refusals:
            return shown
        return format_html(
            '{} <span class="mark mark-refused" title="{}">refused a phone</span>', shown, "See its page"
        )

    @admin.display(description="Only for")
    def works_on(self, row: IssuedCode) -> str:
        return ", ".join(filter(None, [handover.bound_to(row), row.model]))

    @admin.display(description="Phone")
    def phone(self, row: IssuedCode) -> SafeString:
        if not row.redeemed_mac:
            return SafeString("")
        address = reverse("admin:onboarding_device_change", args=(row.device_id or 0,))
        return format_html('<a class="mac" href="{}">{}</a>', address, phones.colons(row.redeemed_mac))

    @admin.display(description="Issued")
    def issued(self, row: IssuedCode) -> SafeString:
        return phones.ago(row.issued_at)

    @admin.display(description="Expires")
    def expires(self, row: IssuedCode) -> SafeString:
        return drawing.moment(row.expires_at)


def _vault() -> Vault:
    return Vault(settings.CODE_KEYS)
