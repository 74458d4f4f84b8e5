"""The admin site as a whole: who may enter, what the sidebar offers, how it looks. Pages are in the apps' `admin`."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from unfold.forms import AuthenticationForm
from unfold.sites import UnfoldAdminSite

from accounts import standing
from accounts.models import User

_SUSPENDED = "Your organization is suspended, so its people cannot sign in. Ask the operator of this service."


class SignInForm(AuthenticationForm):
    """Says why a person with the right password may still not enter."""

    def confirm_login_allowed(self, user: Any) -> None:
        super().confirm_login_allowed(user)
        if not standing.of_user(user).may_enter:
            raise ValidationError(_SUSPENDED, code="suspended")


class OnboardingAdminSite(UnfoldAdminSite):
    """Lets in active staff, except people of whom every organization is suspended."""

    login_form = SignInForm
    login_template = "accounts/sign_in.html"
    index_template = "onboarding/dashboard.html"
    index_title = "Where the phones stand"
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and standing.of(request).may_enter


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


# Heading, then title, icon and the model whose list it opens.
_SIDEBAR = (
    ("Phones", (
        ("Devices", "deskphone", "onboarding_device"),
        ("Redirect profiles", "alt_route", "onboarding_redirectprofile"),
        ("Activation codes", "dialpad", "activation_issuedcode"),
        ("Short codes", "tag", "onboarding_shortcode"),
        ("History", "history", "onboarding_statechange"),
        ("Sightings", "visibility", "onboarding_sighting"),
        ("Code guessing", "gpp_maybe", "onboarding_codeguessing"),
    )),
    ("Organization", (
        ("Organizations", "apartment", "accounts_organization"),
        ("People", "group", "accounts_membership"),
        ("API keys", "key", "accounts_apikey"),
        ("Readings of codes", "policy", "activation_auditedreading"),
        ("User accounts", "manage_accounts", "accounts_user"),
    )),
)  # fmt: skip


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: lists that this person may open."""
    from django.contrib import admin

    listable = {
        f"{model._meta.app_label}_{model._meta.model_name}"
        for model, model_admin in admin.site._registry.items()
        if model_admin.has_view_or_change_permission(request)
    }
    overview = {"title": "Overview", "icon": "dashboard", "link": reverse("admin:index")}
    groups: list[dict[str, Any]] = [{"title": "", "items": [overview]}]
    for heading, entries in _SIDEBAR:
        items = [
            {"title": title, "icon": icon, "link": reverse(f"admin:{model}_changelist")}
            for title, icon, model in entries
            if model in listable
        ]
        if items:
            groups.append({"title": heading, "separator": True, "items": items})
    return groups
