"""The admin site as a whole: who may enter, what the sidebar offers, how it looks. Pages are in the apps' `admin`."""

from typing import Any

from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from accounts import standing
from accounts.models import User
from signin import guard, urls
from signin.views import account, entrance

own_password = account.own(account.password)


class OnboardingAdminSite(UnfoldAdminSite):
    """Lets in whom `signin` let in: there is no other way to sign in, and none past a required second factor."""

    index_template = "onboarding/dashboard.html"
    index_title = "Where the phones stand"
    enable_nav_sidebar = True

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        # The theme reads the page's number as it comes.
        page = request.GET.get("page", "")
        if not (page.isascii() and page.isdecimal() and 0 < len(page) < 6):
            asked = request.GET.copy()
            asked["page"] = "1"
            request.GET = asked  # type: ignore[assignment]  # the stubs know only what came
        try:
            return super().search(request, extra_context)
        except InvalidPage:
            raise Http404 from None

    def has_permission(self, request: HttpRequest) -> bool:
        return guard.may_enter(request)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return entrance.sign_in(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return own_password(request)

    def extra_urls(self) -> list[Any]:
        return urls.urlpatterns


def stylesheet(request: HttpRequest) -> str:
    return static("onboarding/admin.css")


def primary_colors(request: HttpRequest) -> dict[str, str]:
    """The theme's own violet would be taken for Custom Pending."""
    shades = (
        "f0f9ff",
        "e0f2fe",
        "bae6fd",
        "7dd3fc",
        "38bdf8",
        "0ea5e9",
        "0369a1",
        "075985",
        "0c4a6e",
        "0b3b5a",
        "082f49",
    )
    return {str(weight): f"#{shade}" for weight, shade in zip((50, *range(100, 1000, 100), 950), shades, strict=True)}


def favicon(request: HttpRequest) -> str:
    return static("onboarding/icon.svg")


def organization_names(request: HttpRequest) -> str:
    """What stands below the title: whose phones these are."""
    if not isinstance(request.user, User):
        return ""
    person = standing.of(request)
    return "All organizations" if person.is_operator else ", ".join(person.names) or "No organization yet"


def account_links(request: HttpRequest) -> list[dict[str, str]]:
    """What the user menu offers beside signing out."""
    return [{"title": "Your account", "link": reverse("admin:account")}]


# Heading, then title, icon and the model whose list it opens.
_SIDEBAR = (
    ("Phones", (
        ("Devices", "deskphone", "onboarding_device"),
        ("Redirect profiles", "alt_route", "onboarding_redirectprofile"),
        ("Activation codes", "dialpad", "activation_issuedcode"),
        ("Short codes", "tag", "onboarding_shortcode"),
        ("Bulk work", "playlist_add_check", "operations_operation"),
        ("History", "history", "onboarding_statechange"),
        ("Events", "bolt", "events_event"),
        ("Sightings", "visibility", "onboarding_sighting"),
        ("Code guessing", "gpp_maybe", "onboarding_codeguessing"),
    )),
    ("Organization", (
        ("Organizations", "apartment", "accounts_organization"),
        ("People", "group", "accounts_membership"),
        ("API keys", "key", "accounts_apikey"),
        ("Mandates", "handshake", "accounts_mandate"),
        ("Webhooks", "webhook", "events_webhookendpoint"),
        ("Audit", "fact_check", "accounts_auditentry"),
        ("Readings of codes", "policy", "activation_auditedreading"),
        ("Authorities", "verified", "trust_authority"),
        ("Revocation lists", "remove_moderator", "trust_revocationlist"),
        ("User accounts", "manage_accounts", "accounts_user"),
    )),
)  # fmt: skip


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: lists that this person may open."""
    from django.contrib import admin

    from onboarding.admin import bench

    listable = {
        f"{model._meta.app_label}_{model._meta.model_name}"
        for model, model_admin in admin.site._registry.items()
        if model_admin.has_view_or_change_permission(request)
    }
    overview = {"title": "Overview", "icon": "dashboard", "link": reverse("admin:index")}
    groups: list[dict[str, Any]] = [{"title": "", "items": [overview]}]
    if bench.may_work(request):
        groups[0]["items"].append({"title": "Bench", "icon": "barcode_scanner", "link": reverse("bench")})
    for heading, entries in _SIDEBAR:
        items = [
            {"title": title, "icon": icon, "link": reverse(f"admin:{model}_changelist")}
            for title, icon, model in entries
            if model in listable
        ]
        if items:
            groups.append({"title": heading, "separator": True, "items": items})
    return groups
