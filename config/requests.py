"""What is known of every request: an id, the caller's own where it is harmless, else a new one; and its sender."""

import re
import uuid
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from onboarding import sources

_HARMLESS = re.compile(r"[A-Za-z0-9._-]{8,64}")


class RequestIdMiddleware:
    """Sets `request.id`, which the header `X-Request-Id` repeats; `request.address`, the sender's (contract 2); and
    `request.network`, what one customer has of such.
    """

    def __init__(self, answer: Callable[[HttpRequest], HttpResponse]) -> None:
        self._answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request.id = given if _HARMLESS.fullmatch(given) else uuid.uuid4().hex  # type: ignore[attr-defined]
        peer, forwarded = request.META.get("REMOTE_ADDR") or "", request.META.get("HTTP_X_FORWARDED_FOR", "")
        if not sources.is_trusted(peer, settings.DOOR.trusted_proxies):
            # Only our own proxy may say that a request came by HTTPS (SECURE_PROXY_SSL_HEADER).
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)
        request.address = sources.sender(peer, forwarded, settings.DOOR.trusted_proxies)  # type: ignore[attr-defined]
        request.network = sources.network_of(request.address)  # type: ignore[attr-defined]
        response = self._answer(request)
        response["X-Request-Id"] = request.id  # type: ignore[attr-defined]
        return response
