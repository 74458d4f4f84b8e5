"""What an administrator does for people who cannot sign in: a link to a new password, the second factor reset."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from accounts import standing
from accounts.models import Membership, User
from onboarding.errors import OnboardingError
from signin import factors, passwords
from signin.views import requests


def password_link(request: HttpRequest, membership_id: int) -> HttpResponse:
    """Asks once, then makes the link and shows it once."""
    row = _membership(request, membership_id)
    try:
        passwords.require_own(row.user, by=_person(request))
        if request.method != "POST":
            return _page(request, row, "signin/make_link.html", title=f"A link for {row.user.get_username()}?")
        parts = passwords.make_link(row.user, actor=standing.actor_of(request), at=timezone.now())
    except OnboardingError as error:
        return _refused(request, row, error)
    link = f"{settings.PUBLIC_URL}{reverse('admin:new_password', args=parts)}"
    return _page(request, row, "signin/link.html", title=f"The link for {row.user.get_username()}", link=link)


def reset_factor(request: HttpRequest, membership_id: int) -> HttpResponse:
    """Asks once, then takes the person's second factors away."""
    row = _membership(request, membership_id)
    try:
        passwords.require_own(row.user, by=_person(request))
        if request.method != "POST":
            title = f"Take the second factor of {row.user.get_username()} away?"
            return _page(request, row, "signin/reset_factor.html", title=title, has=factors.of(row.user))
        factors.reset(row.user, actor=standing.actor_of(request), at=timezone.now())
    except OnboardingError as error:
        return _refused(request, row, error)
    messages.success(request, f"{row.user.get_username()} has no second factor now, and is signed out everywhere.")
    return HttpResponseRedirect(_address(row))


def _membership(request: HttpRequest, membership_id: int) -> Membership:
    """A membership that this person may change; unknown and foreign ones look the same."""
    memberships = admin.site._registry[Membership]
    row: Any = memberships.get_object(request, str(membership_id))
    if row is None or not memberships.has_change_permission(request, row):
        raise Http404
    assert isinstance(row, Membership)
    return row


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _page(request: HttpRequest, row: Membership, template: str, *, title: str, **values: Any) -> HttpResponse:
    return requests.page(
        request, template, title=title, opts=Membership._meta, person=row.user, back=_address(row), **values
    )


def _refused(request: HttpRequest, row: Membership, error: OnboardingError) -> HttpResponse:
    messages.error(request, f"{error.detail} {error.remedy}")
    return HttpResponseRedirect(_address(row))


def _address(row: Membership) -> str:
    return reverse("admin:accounts_membership_change", args=(row.pk,))
