"""Authorities and revocation lists, for the operator alone: all organizations' phones are believed by them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts import standing
from accounts.admin import scope
from accounts.admin.wording import VerbForm
from trust import authorities
from trust.certificates import MAX_OCTETS
from trust.models import Authority, RevocationList
from trust.verifying import MAX_LIST_OCTETS

_EXPIRES_SOON = authorities.WARNING_TIME


class _OperatorAdmin(scope.VerbAdmin):
    """Nobody's rows: the operator's own."""

    seen_by = changed_by = standing.NOBODY

    def organization_of(self, row: Any) -> int:
        return 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.model._default_manager.all()
        return rows if standing.of(request).is_operator else rows.none()


class _AuthorityForm(VerbForm):
    content = forms.CharField(
        label="Certificate",
        max_length=2 * MAX_OCTETS,
        strip=False,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 12, "spellcheck": "false", "placeholder": "-----BEGIN CERTIFICATE-----"}
        ),
        help_text="The manufacturer's root or intermediate certificate as PEM (BEGIN CERTIFICATE).",
    )

    class Meta:
        model = Authority
        fields = ("name", "allows_sha1")
        labels = {"allows_sha1": "SHA-1 allowed"}
        help_texts = {
            "name": "What people call it. Empty: the certificate's own name.",
            "allows_sha1": "Old phones may be signed so. These signatures can be forged; they count as weak.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" in self.fields:
            self.fields["name"].required = False


@admin.register(Authority)
class AuthorityAdmin(_OperatorAdmin):
    form = _AuthorityForm
    ending, ended = "Remove", "removed"
    ending_means = "Phones below it prove nothing any more; profiles that require a certificate refuse them."
    list_display = ("name", "kind", "expiry", "sha1", "added_by")
    search_fields = ("name",)
    search_help_text = "Name"
    ordering = ("name",)

    # A certificate never changes: another one is another authority.
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("name", "content", "allows_sha1")}),)
        return ((None, {"fields": ("name", "kind", "sha256", "expiry", "sha1", "added_at", "added_by")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else ("kind", "sha256", "expiry", "sha1", "added_at", "added_by")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            # Only looked at: there is nothing to type.
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change=change, **kwargs)

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: Authority | None) -> Authority:
        return authorities.add(
            actor=standing.actor_of(request), name=cleaned["name"], content=cleaned["content"].encode(),
            allows_sha1=cleaned["allows_sha1"], at=timezone.now(),
        )  # fmt: skip

    def end(self, request: HttpRequest, row: Authority) -> None:
        authorities.remove(row, actor=standing.actor_of(request), at=timezone.now())

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        if query:
            return super().empty(request, query, filtered)
        return scope.Empty(
            "No authorities yet", "No certificate of a phone proves anything before its manufacturer's root is loaded."
        )

    @admin.display(description="Fingerprint (SHA-256)")
    def sha256(self, row: Authority) -> str:
        # In groups, as certificates' viewers print it, and so that it breaks on a narrow screen.
        return " ".join(row.fingerprint[start : start + 4] for start in range(0, len(row.fingerprint), 4))

    @admin.display(description="SHA-1 allowed")
    def sha1(self, row: Authority) -> str:
        return "Yes, marked weak" if row.allows_sha1 else "No"

    @admin.display(description="Kind")
    def kind(self, row: Authority) -> str:
        return "Root" if row.is_root else "Intermediate"

    @admin.display(description="Valid until")
    def expiry(self, row: Authority) -> str:
        return _end(row.expires_at, soon=_EXPIRES_SOON, over="expired")


class _RevocationForm(VerbForm):
    document = forms.CharField(
        label="List",
        max_length=2 * MAX_LIST_OCTETS,
        strip=False,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 12, "spellcheck": "false", "placeholder": "-----BEGIN X509 CRL-----"}
        ),
        help_text="The authority's list as PEM (BEGIN X509 CRL). Larger ones: manage.py trust revoke FILE.",
    )

    class Meta:
        model = RevocationList
        fields = ()


@admin.register(RevocationList)
class RevocationListAdmin(_OperatorAdmin):
    form = _RevocationForm
    can_delete = False
    list_display = ("issuer", "revoked", "issued_at", "renewal", "added_by")
    ordering = ("issuer",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("document",)}),)
        return ((None, {"fields": ("issuer", "revoked", "issued_at", "renewal", "added_at", "added_by")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else ("issuer", "revoked", "issued_at", "renewal", "added_at", "added_by")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change=change, **kwargs)

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: RevocationList | None) -> RevocationList:
        return authorities.load_revocations(
            actor=standing.actor_of(request), content=cleaned["document"].encode(), at=timezone.now()
        )

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> scope.Empty:
        return scope.Empty("No revocation lists", "Every certificate below a loaded authority is believed.")

    @admin.display(description="Renewal promised for")
    def renewal(self, row: RevocationList) -> str:
        return _end(row.next_at, soon=timedelta(0), over="out of date") if row.next_at else "not said"


def _end(at: Any, *, soon: timedelta, over: str) -> str:
    said, now = f"{at:%Y-%m-%d}", timezone.now()
    if at < now:
        return f"{said}, {over}"
    return f"{said}, soon" if at < now + soon else said
