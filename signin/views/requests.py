"""What the views of this app read from requests and put into answers."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.actors import Actor
from accounts.models import User
from signin import guard, limits

_DEVICE, _CHALLENGE = "device", "challenge"
_CHALLENGE_SECONDS = 300
# A passkey's answer is some kilobytes.
_LONGEST_ANSWER = 64 * 1024


def source(request: HttpRequest) -> limits.Source:
    """Where a sign-in comes from."""
    address, network = getattr(request, "address", ""), getattr(request, "network", "")
    return limits.Source(address=address, network=network, device=request.COOKIES.get(_DEVICE, ""))


def actor(request: HttpRequest, person: User) -> Actor:
    """The person, as the audit names them; before anybody is signed in, too."""
    address, request_id = getattr(request, "address", ""), getattr(request, "id", "")
    return Actor("admin", person.get_username(), address=address, request_id=request_id)


def next_address(request: HttpRequest) -> str:
    """Where to go on: a page of this host that was asked for, or the home page."""
    asked = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(asked, {request.get_host()}, require_https=request.is_secure())
    return asked if safe else reverse("admin:index")


def to(name: str, request: HttpRequest, *args: object) -> HttpResponseRedirect:
    """Lead to one of our pages, which leads on to where the person wanted to go."""
    address, asked = reverse(name, args=args), next_address(request)
    return HttpResponseRedirect(
        address if asked == reverse("admin:index") else f"{address}?{urlencode({'next': asked})}"
    )


def page(request: HttpRequest, template: str, *, title: str, status: int = 200, **values: Any) -> TemplateResponse:
    """A page in the admin's look: within its frame for those who may open it all, bare for others."""
    inside = guard.may_enter(request)
    context = admin.site.each_context(request) | {
        "title": title,
        "layout": "admin/base_site.html" if inside else "signin/bare.html",
        "inside": inside,
        "next": next_address(request),
        **values,
    }
    return TemplateResponse(request, template, context, status=status)


def know_device(response: HttpResponse, person: User) -> None:
    """Let the browser's next attempts for this name be counted by themselves."""
    response.set_cookie(
        _DEVICE,
        limits.device_cookie(person.get_username()),
        max_age=limits.DEVICE_KNOWN,
        path=reverse("admin:index"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def keep_challenge(response: HttpResponse, state: Mapping[str, Any], *, purpose: str) -> None:
    """Hand a passkey's challenge to the browser, signed, so that asking for one costs no row."""
    response.set_cookie(
        _CHALLENGE,
        signing.dumps(state, salt=f"signin.{purpose}"),
        max_age=_CHALLENGE_SECONDS,
        path=reverse("admin:index"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )


def challenge(request: HttpRequest, *, purpose: str) -> dict[str, Any]:
    """The challenge that was handed out for this purpose; an impossible one for none."""
    try:
        state: dict[str, Any] = signing.loads(
            request.COOKIES.get(_CHALLENGE, ""), salt=f"signin.{purpose}", max_age=_CHALLENGE_SECONDS
        )
    except signing.BadSignature:
        return {}
    return state


def passkey_answer(request: HttpRequest) -> object:
    """What the browser's passkey said; None for what is no JSON."""
    text = request.POST.get("credential", "")
    try:
        return json.loads(text) if len(text) <= _LONGEST_ANSWER else None
    except (ValueError, RecursionError):
        return None
