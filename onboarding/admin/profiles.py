"""Redirect profiles: the list, and a profile's page with a preview of what its phones get."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts import standing
from accounts.admin import scope
from accounts.admin.wording import LinesField, VerbForm
from onboarding import answers, examplephone, health, profiles, registrations, targethealth
from onboarding.admin import bench, drawing, filters, profilechanges
from onboarding.admin.explain import example_links
from onboarding.flatprofile import InvalidParameter
from onboarding.identifiers import MacAddress
from onboarding.models import Device, RedirectProfile, TargetCheck
from onboarding.profiles import ProfileFields

# Stands in previews for whichever phone asks.
_SOME_PHONE = MacAddress(0x00562B043615)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def parameters(text: str) -> dict[str, str]:
    """Read parameters typed as lines `Name = value`, or as one JSON object. Raises InvalidParameter."""
    if text.lstrip().startswith("{"):
        try:
            read = json.loads(text)
        except ValueError as error:
            raise InvalidParameter(f"This is not JSON: {error}.", field="parameters") from error
        if not isinstance(read, dict):
            raise InvalidParameter("The JSON is not an object.", field="parameters")
        return read
    read = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, sign, value = (part.strip() for part in line.partition("="))
        if not sign:
            raise InvalidParameter(f"Line {number} has no equals sign.", field="parameters")
        if name in read:
            raise InvalidParameter(f"Line {number} sets {name} again.", field="parameters")
        read[name] = value
    return read


class ProfileForm(VerbForm):
    """What an owner says about a profile."""

    targets = LinesField(
        _lines,
        label="Targets",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "placeholder": "https://cfg.example.net/$MA.xml"}),
        help_text="One profile rule a line; phones get the first healthy one. They expand macros as $MA (the MAC).",
    )
    parameters = LinesField(
        parameters,
        label="Further parameters",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "placeholder": "Upgrade_Rule = https://…/sip88xx.loads"}),
        help_text="One a line as Name = value, or one JSON object. {report_url} stands for the phone's own report URL.",
    )

    class Meta:
        model = RedirectProfile
        fields = (
            "organization", "name", "confirm", "unproven_evidence", "identity", "accepts_expired_certificates",
            "match_model", "enabled", "stalled_after_minutes",
        )  # fmt: skip
        labels = {
            "confirm": "Confirmation",
            "unproven_evidence": "Evidence without proof",
            "identity": "Manufacturer certificate",
            "match_model": "Model must match",
            "accepts_expired_certificates": "Expired certificates count",
            "stalled_after_minutes": "Stalled after (minutes)",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["targets"] = "\n".join(self.instance.targets)
            self.initial["parameters"] = "\n".join(
                f"{name} = {value}" for name, value in self.instance.parameters.items()
            )
        for name in ("targets", "parameters"):
            if name in self.fields:
                self.fields[name].widget.attrs["class"] = f"{self.fields[name].widget.attrs.get('class', '')} mono"


_BELIEFS = ("match_model", "identity", "accepts_expired_certificates", "unproven_evidence", "stalled_after_minutes")


@admin.register(RedirectProfile)
class RedirectProfileAdmin(scope.VerbAdmin):
    reads, writes = "profiles:read", "profiles:write"
    form = ProfileForm
    change_form_template = "onboarding/profile.html"
    ending_means = "Phones that are registered later can no longer be given this profile."
    list_display = ("name", "first_target", "confirm", "live", "organization")
    list_select_related = ("organization",)
    list_filter = (filters.FailingFilter, filters.OrganizationFilter)
    search_fields = ("name",)
    search_help_text = "Name"
    ordering = ("name", "pk")
    autocomplete_fields = ("organization",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("organization")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        first = ("organization",) if obj is None and self.asks_for_organization(request) else ()
        return (
            ("Where phones are sent", {"fields": (*first, "name", "targets", "enabled")}),
            ("What else they are told", {"fields": ("parameters", "confirm")}),
            ("Whom it believes", {"fields": _BELIEFS}),
        )

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: RedirectProfile | None) -> RedirectProfile:
        names = ("name", "confirm", "enabled", *_BELIEFS)
        values = ProfileFields(
            targets=cleaned["targets"],
            parameters=cleaned["parameters"] or {},
            **{name: cleaned[name] for name in names},
        )
        actor = standing.actor_of(request)
        if row is not None:
            profilechanges.ask_before_moving(row, cleaned["targets"], request.POST.dict())
            return profiles.change(row, actor=actor, values=values, own=settings.OWN_ADDRESSES, at=timezone.now())
        organization = self.chosen_organization(request, cleaned)
        return profiles.create(
            actor=actor, organization=organization, values=values, own=settings.OWN_ADDRESSES, at=timezone.now()
        )

    def what_holds(self, row: RedirectProfile) -> list[str]:
        # Three are enough to see which; counting them all could take long.
        macs = list(Device.objects.filter(profile=row).values_list("mac", flat=True)[:4])
        if not macs:
            return []
        shown = [MacAddress.parse(mac).colons for mac in macs[:3]]
        more = " and more" if len(macs) > 3 else ""
        return [f"In use by {', '.join(shown)}{more}. Give them another profile first."]

    def end(self, request: HttpRequest, row: RedirectProfile) -> None:
        profiles.delete(row, actor=standing.actor_of(request), at=timezone.now())

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        if query or filtered:
            return super().empty(request, query, filtered)
        links = (("Add a profile", "add/"),) if self.has_add_permission(request) else ()
        return scope.Empty(
            "No redirect profiles yet",
            "A profile says where phones fetch their configuration. Add one, then register phones with it.",
            links,
        )

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row: RedirectProfile | None = kwargs.get("obj")
        if row is not None:
            may_scan = bench.viewer_of(request).sees(row.organization_id, row.pk)
            context |= {"preview": preview(row), "may_scan": may_scan, **self._health(request, row)}
            context["expanded"] = examplephone.expand(context["preview"])
            if standing.of(request).holds(standing.EVERYBODY, row.organization_id):
                context["history"] = profilechanges.history(row)
            if isinstance(getattr(request, "refusal", None), profilechanges.PhonesMove):
                asked = [line.strip() for line in request.POST.get("targets", "").splitlines() if line.strip()]
                context["confirmed"] = profilechanges.confirmation(asked)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.health_view)
        return [path("<int:profile_id>/health/", view, name="onboarding_redirectprofile_health"), *super().get_urls()]

    def health_view(self, request: HttpRequest, profile_id: int) -> HttpResponse:
        """What tests of the targets found, as the part of the page that follows it; by POST they are tested now."""
        row = self.get_object(request, str(profile_id))
        if row is None:
            raise Http404
        if request.method == "POST":
            if not self.has_change_permission(request, row):
                raise PermissionDenied
            targethealth.check_now(row, at=timezone.now())
        return TemplateResponse(
            request, "onboarding/target_health.html", {"original": row, **self._health(request, row)}
        )

    def _health(self, request: HttpRequest, row: RedirectProfile) -> dict[str, Any]:
        at = timezone.now()
        checks = targethealth.of_profile(row)
        first = health.in_order(row.targets, row.failing_targets)[:1]
        return {
            "targets": [_drawn(check, at=at, given=[check.target] == first) for check in checks],
            "tests_run": any(targethealth.is_waiting(check, at=at) for check in checks),
            "may_test": self.has_change_permission(request, row),
        }

    @admin.display(description="Target")
    def first_target(self, row: RedirectProfile) -> SafeString:
        more = len(row.targets) - 1
        spare = f" +{more}" if more > 0 else ""
        given = health.in_order(row.targets, row.failing_targets)[:1]
        fails = format_html(' <span class="mark mark-bad">{} failing</span>', len(row.failing_targets))
        return format_html(
            '<code>{}</code><span class="faint">{}</span>{}',
            given[0] if given else "", spare, fails if row.failing_targets else "",
        )  # fmt: skip

    @admin.display(description="Enabled")
    def live(self, row: RedirectProfile) -> SafeString:
        kind, word = ("good", "enabled") if row.enabled else ("bad", "disabled")
        return format_html('<span class="mark mark-{}">{}</span>', kind, word)


# How each health looks: the tone of its mark, and its sign for those who see no colours.
_SIGNS = {"healthy": ("good", "check_circle"), "failing": ("bad", "error"), "unknown": ("plain", "help")}


def _drawn(check: TargetCheck, *, at: datetime, given: bool) -> dict[str, Any]:
    tone, sign = _SIGNS[check.health]
    ends = check.certificate_expires_at
    return {
        "check": check,
        "tone": tone,
        "sign": sign,
        "said": targethealth.said(check),
        "given": given,
        "waiting": targethealth.is_waiting(check, at=at),
        "days": (ends - at).days if ends else None,
        "ends_soon": ends is not None and ends - at <= health.EXPIRES_SOON,
        "since": drawing.ago(check.since),
        "checked": drawing.ago(check.checked_at),
        # It failed, and does not count as failing yet.
        "doubtful": check.failures if check.health != "failing" else 0,
    }


def preview(row: RedirectProfile) -> str:
    """The flat-profile that a phone with this profile gets."""
    profile = registrations.profile(row)
    answer = answers.Answer(answers.REDIRECTED, profile.targets[0] if profile.targets else "", profile)
    return answers.document(answer, lambda: example_links(_SOME_PHONE)).decode()
