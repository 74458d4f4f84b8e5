"""Operations: the list, the page that follows one, and the steps that lead to one (a file, or a choice of devices).

hand in   a file is dropped, chosen or pasted        sheet
look      its columns and first rows, the kind       operation (mostly a dry run first)
follow    progress, what became of the rows, undo
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts import standing
from accounts.admin import scope, wording
from accounts.models import Organization
from onboarding.admin import drawing
from onboarding.errors import OnboardingError
from onboarding.models import RedirectProfile
from operations import receiving, reporting, running
from operations.admin import choosing
from operations.models import KINDS, Operation, Sheet

_SHOWN_RESULTS = 100
_SAMPLE_ROWS = 20
# What a browser without scripts may send; with them a file is sent as it is, up to what a sheet may hold.
_MOST_FORM_OCTETS = 2 * 1024 * 1024

# What is being done, what a dry run would do.
_COUNTS = (
    ("created", "registered", "would be registered", "good"),
    ("changed", "changed", "would be changed", "good"),
    ("unchanged", "already so", "are already so", ""),
    ("released", "released", "would be released", "warn"),
    ("failed", "failed", "would fail", "bad"),
)
_COLUMNS = {
    "mac": "MAC", "model": "model", "serial": "serial number", "profile": "profile", "label": "label",
    "target": "target of its own", "valid_from": "window opens", "valid_until": "window closes",
}  # fmt: skip
_KIND_HINTS = {
    "import": "Register the phones of the list, and change those that are yours already.",
    "assign": "Give phones that are yours another profile.",
    "release": "End the life of phones with you. Anybody who has their MAC may register them then.",
}


class HandInForm(forms.Form):
    """A list, as a file or as text."""

    organization = forms.ModelChoiceField(Organization.objects.none(), widget=UnfoldAdminSelectWidget)
    file = forms.FileField(required=False)
    text = forms.CharField(
        label="Or paste rows", required=False, max_length=_MOST_FORM_OCTETS, strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "placeholder": "mac,model,serial,label"}),
        help_text="With the headings in the first line.",
    )  # fmt: skip


class StartForm(forms.Form):
    """What is to be done with the rows."""

    kind = forms.ChoiceField(choices=[(kind, KINDS[kind]) for kind in _KIND_HINTS], widget=UnfoldAdminSelectWidget)
    profile = forms.ModelChoiceField(
        RedirectProfile.objects.none(), required=False, empty_label="none", widget=UnfoldAdminSelectWidget,
        label="Profile for rows that name none",
    )  # fmt: skip


@admin.register(Operation)
class OperationAdmin(scope.ScopedAdmin):
    reads, writes = "devices:read", "devices:write"
    can_add = can_change = can_delete = False
    change_form_template = "operations/operation.html"
    change_list_template = "operations/operations.html"
    list_display = ("what", "standing_mark", "rows", "sheet_name", "by", "begun", "organization")
    list_display_links = ("what",)
    list_select_related = ("organization", "sheet")
    ordering = ("-id",)
    fields = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("sheet", "organization", "reverts")

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        links = (("Import a list", "import/"),) if self._may_start(request) else ()
        return scope.Empty(
            "No bulk work yet", "Import the list of a shipment: see first what it would do, then do it.", links
        )

    def _may_start(self, request: HttpRequest) -> bool:
        viewer = self.changing(request)
        return viewer.sees_everything or bool(viewer.organization_ids)

    def get_urls(self) -> Any:
        def page(route: str, view: Any, name: str) -> Any:
            return path(route, self.admin_site.admin_view(view), name=f"operations_operation_{name}")

        return [
            page("import/", self.hand_in_view, "import"),
            page("import/file/", self.file_view, "file"),
            page("sheet/<int:sheet_id>/", self.sheet_view, "sheet"),
            page("chosen/", self.chosen_view, "chosen"),
            page("<int:operation_id>/standing/", self.standing_view, "standing"),
            page("<int:operation_id>/do/", self.do_view, "do"),
            page("<int:operation_id>/results.csv", self.results_view, "results"),
            *super().get_urls(),
        ]

    # Handing in

    def _organizations(self, request: HttpRequest) -> "QuerySet[Organization]":
        rows: QuerySet[Organization] = Organization.objects.visible_to(self.changing(request)).order_by("name")
        return rows

    def _hand_in_form(self, request: HttpRequest, *data: Any) -> HandInForm:
        form = HandInForm(*data)
        if self.asks_for_organization(request):
            choice: Any = form.fields["organization"]
            choice.queryset = self._organizations(request)
        else:
            del form.fields["organization"]
        return form

    def _page(self, request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
        base = self.admin_site.each_context(request) | {"opts": self.opts, "title": title}
        return TemplateResponse(request, f"operations/{template}.html", base | context)

    def hand_in_view(self, request: HttpRequest) -> HttpResponse:
        """The first step: a list is handed in, by a form that needs no script."""
        if not self._may_start(request):
            raise PermissionDenied
        form = self._hand_in_form(request, request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            file, text = form.cleaned_data["file"], form.cleaned_data["text"]
            stream = file or (BytesIO(text.encode()) if text.strip() else None)
            if stream is None:
                form.add_error("file", "Choose a file, or paste rows.")
            else:
                try:
                    sheet = receiving.receive_csv(
                        organization=self.chosen_organization(request, form.cleaned_data),
                        stream=stream,
                        file_name=file.name if file else "pasted rows",
                        at=timezone.now(),
                    )
                    return HttpResponseRedirect(self._sheet_address(sheet))
                except OnboardingError as error:
                    form.add_error("file" if file else "text", wording.sentence(error))
        return self._page(
            request, "hand_in", "Import a list", form=form, columns=_COLUMNS.values(),
            file_address=reverse("admin:operations_operation_file"),
        )  # fmt: skip

    def file_view(self, request: HttpRequest) -> HttpResponse:
        """A file as the request's body, read as it arrives; tells where to go on."""
        if request.method != "POST" or not self._may_start(request):
            raise PermissionDenied
        organization = (
            self._organizations(request).filter(pk=_number(request.GET.get("organization")) or 0).first()
            if self.asks_for_organization(request)
            else self._organizations(request).first()
        )
        if organization is None:
            return JsonResponse({"problem": "Choose the organization first."}, status=400)
        try:
            sheet = receiving.receive_csv(
                organization=organization, stream=request, file_name=request.GET.get("name", ""), at=timezone.now()
            )
        except OnboardingError as error:
            return JsonResponse({"problem": wording.sentence(error)}, status=400)
        return JsonResponse({"address": self._sheet_address(sheet)})

    def _sheet_address(self, sheet: Sheet) -> str:
        return reverse("admin:operations_operation_sheet", args=(sheet.pk,))

    # Looking at it

    def _sheet(self, request: HttpRequest, sheet_id: int) -> Sheet:
        rows = Sheet.objects.visible_to(self.changing(request)).select_related("organization")
        sheet: Sheet | None = rows.filter(pk=sheet_id, received_at__isnull=False).first()
        if sheet is None:
            raise Http404
        return sheet

    def _start_form(self, sheet: Sheet, data: Any, *, kind: str = "import") -> StartForm:
        form = StartForm(data, initial={"kind": kind})
        choice: Any = form.fields["profile"]
        choice.queryset = RedirectProfile.objects.filter(organization_id=sheet.organization_id).order_by("name")
        # Whoever has one only means that one; phones without a profile are sent nowhere.
        if len(only := list(choice.queryset.order_by()[:2])) == 1:
            choice.initial = only[0]
        return form

    def sheet_view(self, request: HttpRequest, sheet_id: int) -> HttpResponse:
        """The second step: what was understood, and what is to be done."""
        sheet = self._sheet(request, sheet_id)
        form = self._start_form(sheet, request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                return self._start(request, sheet, form.cleaned_data, dry_run="for_real" not in request.POST)
            except OnboardingError as error:
                form.add_error("kind", wording.sentence(error))
        order = receiving.column_order(sheet)
        sample = receiving.sample(sheet, _SAMPLE_ROWS)
        return self._page(
            request, "sheet", f"{sheet.file_name or 'The list'}: {sheet.total:,} rows", sheet=sheet, form=form,
            hints=_KIND_HINTS.items(), ignored=sheet.ignored,
            columns=[(_COLUMNS.get(name, name), sheet.columns[name]) for name in order],
            missing=[] if "model" in sheet.columns else ["model"],
            sample=[
                {"number": row.row, "cells": [row.values.get(name, "") for name in order], "problem": row.problem}
                for row in sample
            ],
            problems=sum(1 for row in sample if row.problem),
        )  # fmt: skip

    def _start(self, request: HttpRequest, sheet: Sheet, said: Mapping[str, Any], *, dry_run: bool) -> HttpResponse:
        operation = running.start(
            actor=standing.actor_of(request), sheet=sheet, kind=said["kind"], dry_run=dry_run,
            profile=said["profile"], at=timezone.now(),
        )  # fmt: skip
        return HttpResponseRedirect(self._address(operation))

    def chosen_view(self, request: HttpRequest) -> HttpResponse:
        """The same for devices that were chosen in their list: always a dry run first."""
        asked = request.POST if request.method == "POST" else request.GET
        kind = asked.get("kind", "")
        if kind not in ("assign", "release") or not self._may_start(request):
            raise PermissionDenied
        devices_address = reverse("admin:onboarding_device_changelist")
        try:
            found = choosing.chosen(request, self.admin_site, asked)
        except OnboardingError as error:
            self.message_user(request, wording.sentence(error), messages.ERROR)
            return HttpResponseRedirect(devices_address)
        organization = Organization.objects.get(pk=found.organization_id)
        form = self._start_form(Sheet(organization=organization), request.POST or None, kind=kind)
        form.fields["profile"].label = "Profile"
        form.fields["profile"].required = kind == "assign"
        if kind == "release":
            del form.fields["profile"]
        if request.method == "POST" and form.is_valid():
            try:
                sheet = receiving.receive_rows(
                    organization=organization, rows=[{"mac": mac} for mac in found.macs], at=timezone.now()
                )
                said = {"profile": None} | form.cleaned_data | {"kind": kind}
                return self._start(request, sheet, said, dry_run=True)
            except OnboardingError as error:
                form.add_error(None, wording.sentence(error))
        shown = [drawing.colons(mac) for mac in found.macs[:_SAMPLE_ROWS]]
        return self._page(
            request, "chosen", f"{KINDS[kind]} {len(found.macs):,} devices", form=form, kind=kind, found=found,
            shown=shown, more=len(found.macs) - len(shown), most=choosing.MOST_CHOSEN, hint=_KIND_HINTS[kind],
            asked=[(name, value) for name in ("device", "list") for value in asked.getlist(name)],
            devices_address=devices_address,
        )  # fmt: skip

    # Following it

    def _address(self, operation: Operation) -> str:
        return reverse("admin:operations_operation_change", args=(operation.pk,))

    def _operation(self, request: HttpRequest, operation_id: int) -> Operation:
        operation: Operation | None = self.get_queryset(request).filter(pk=operation_id).first()
        if operation is None:
            raise Http404
        return operation

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        operation: Operation = kwargs["obj"]
        context |= self._drawn(request, operation) | {"title": str(self.what(operation)), "subtitle": None}
        return super().render_change_form(request, context, *args, **kwargs)

    def standing_view(self, request: HttpRequest, operation_id: int) -> HttpResponse:
        """The part of an operation's page that moves; the page asks for it until it is over."""
        operation = self._operation(request, operation_id)
        return TemplateResponse(request, "operations/standing.html", self._drawn(request, operation))

    def _drawn(self, request: HttpRequest, operation: Operation) -> dict[str, Any]:
        at = timezone.now()
        progress = reporting.progress(operation, at=at)
        status, after = request.GET.get("status", ""), _number(request.GET.get("after")) or 0
        status = status if status in reporting.STATUSES else ""
        results = reporting.results(operation, after=after, most=_SHOWN_RESULTS, status=status)
        may = self._may(self.changing(request), operation)
        dry = operation.dry_run
        effects = operation.created + operation.changed + operation.released
        address = self._address(operation)
        return {
            "operation": operation,
            "says": self._says(operation),
            "percent": round(100 * progress.share, 1),
            "left": progress.seconds_left,
            "counts": [
                {
                    "name": name,
                    "count": getattr(operation, name),
                    "label": would if dry else did,
                    "tone": tone if getattr(operation, name) else "",
                    "here": status == name,
                }
                for name, did, would, tone in _COUNTS
            ],
            "status": status,
            "results": [
                {"result": row, "mac": _colons(row.mac), "words": _STATUS_WORDS[dry].get(row.status, row.status)}
                for row in results
            ],
            "next_address": (
                f"{address}?status={status}&after={results[-1].row}" if len(results) == _SHOWN_RESULTS else ""
            ),
            "address": address,
            "standing_address": reverse("admin:operations_operation_standing", args=(operation.pk,)),
            "do_address": reverse("admin:operations_operation_do", args=(operation.pk,)),
            "results_address": reverse("admin:operations_operation_results", args=(operation.pk,)),
            "may_run": may and dry and operation.status == "done" and effects > 0,
            "may_cancel": may and not operation.is_over and operation.cancel_asked_at is None,
            "may_revert": (
                may and not dry and operation.kind != "revert" and operation.is_over
                and operation.status != "reverted" and effects > 0
            ),
        }  # fmt: skip

    def _says(self, operation: Operation) -> str:
        rows = f"{operation.total:,} row{'s' if operation.total != 1 else ''}"
        if operation.status == "queued":
            return f"{rows} wait for their turn."
        if operation.status == "running":
            return f"{operation.processed:,} of {rows} are done."
        if operation.status == "failed":
            return f"It was given up: {operation.reason}"
        if operation.status == "cancelled":
            return (
                f"It was cancelled after {operation.processed:,} of {rows}. What was done stays, until it is reverted."
            )
        if operation.status == "reverted":
            return "It was reverted: devices that nobody touched since are as they were."
        if operation.dry_run:
            return f"All {rows} were tried. Nothing was changed."
        return f"All {rows} are done."

    def do_view(self, request: HttpRequest, operation_id: int) -> HttpResponse:
        """Cancel it, revert it, or do what a dry run told."""
        operation = self._operation(request, operation_id)
        if request.method != "POST" or not self._may(self.changing(request), operation):
            raise PermissionDenied
        actor, at = standing.actor_of(request), timezone.now()
        verbs = {"cancel": running.cancel, "revert": running.revert, "run": running.run_for_real}
        verb = verbs.get(request.POST.get("do", ""))
        if verb is None:
            raise Http404
        try:
            operation = verb(actor=actor, operation=operation, at=at)
        except OnboardingError as error:
            self.message_user(request, wording.sentence(error), messages.ERROR)
        return HttpResponseRedirect(self._address(operation))

    def results_view(self, request: HttpRequest, operation_id: int) -> StreamingHttpResponse:
        """All results, or those of one status, as a file."""
        operation = self._operation(request, operation_id)
        status = request.GET.get("status", "")
        lines = reporting.results_csv(operation, status=status if status in reporting.STATUSES else "")
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="operation-{operation.pk}-results.csv"'
        return response

    # Columns

    @admin.display(description="What")
    def what(self, row: Operation) -> str:
        dry = ", dry run" if row.dry_run else ""
        of = f" of {KINDS[row.reverts.kind].lower()} {row.reverts_id}" if row.reverts else ""
        return f"{KINDS[row.kind]}{of} {row.pk}{dry}"

    @admin.display(description="Status")
    def standing_mark(self, row: Operation) -> SafeString:
        tone = {"done": "good", "failed": "bad", "running": "issued", "queued": "issued"}.get(row.status, "expired")
        return format_html('<span class="mark mark-{}">{}</span>', tone, row.get_status_display().lower())

    @admin.display(description="Rows")
    def rows(self, row: Operation) -> str:
        failed = f", {row.failed:,} failed" if row.failed else ""
        return f"{row.processed:,} of {row.total:,}{failed}"

    @admin.display(description="List")
    def sheet_name(self, row: Operation) -> str:
        return row.sheet.file_name if row.sheet else ""

    @admin.display(description="Begun")
    def begun(self, row: Operation) -> SafeString:
        return drawing.ago(row.created_at)


_STATUS_WORDS = {
    False: {"created": "registered"},
    True: {
        "created": "would be registered", "changed": "would be changed", "unchanged": "already so",
        "released": "would be released", "failed": "would fail",
    },
}  # fmt: skip


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 18 else None


def _colons(mac: str) -> str:
    return drawing.colons(mac) if len(mac) == 12 else mac
