"""Every request has an id, the caller's own where it is harmless, else a new one; each answer carries it."""

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

_HARMLESS = re.compile(r"[A-Za-z0-9._-]{8,64}")


class RequestIdMiddleware:
    """Sets `request.id` and the header `X-Request-Id`."""

    def __init__(self, answer: Callable[[HttpRequest], HttpResponse]) -> None:
        self._answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request.id = given if _HARMLESS.fullmatch(given) else uuid.uuid4().hex  # type: ignore[attr-defined]
        response = self._answer(request)
        response["X-Request-Id"] = request.id  # type: ignore[attr-defined]
        return response
