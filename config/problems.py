"""Refusals as partners get them: problem documents (RFC 9457), from one table of code → status.

Whatever goes wrong under `/api/` becomes one of these: refusals of our verbs (OnboardingError), REST framework's own,
Django's, a database that is down, and mistakes of ours (500, without detail; the traceback goes to the log).
"""

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.utils.html import format_html, format_html_join
from django.views import defaults
from rest_framework import exceptions
from rest_framework.settings import api_settings

from onboarding.customization import StateContended
from onboarding.errors import OnboardingError

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

# How long a caller is asked to wait while the registry is down.
RETRY_AFTER_SECONDS = 5

# Every code that the API answers with, and its status.
STATUSES = {
    "invalid_input": 400,
    "invalid_json": 400,
    "invalid_request": 400,
    "unknown_host": 400,
    "invalid_cursor": 400,
    "invalid_idempotency_key": 400,
    "invalid_mac": 400,
    "invalid_serial": 400,
    "invalid_model": 400,
    "invalid_device": 400,
    "invalid_sheet": 400,
    "invalid_profile": 400,
    "invalid_profile_rule": 400,
    "invalid_parameter": 400,
    "invalid_targets": 400,
    "target_points_back": 400,
    "unknown_profile": 400,
    "unknown_partner": 400,
    "unknown_role": 400,
    "invalid_mandate": 400,
    "invalid_key_request": 400,
    "invalid_person": 400,
    "weak_password": 400,
    "unknown_scope": 400,
    "invalid_code_request": 400,
    "invalid_short_code": 400,
    "invalid_short_code_terms": 400,
    "weak_key": 400,
    "invalid_url": 400,
    "address_not_allowed": 400,
    "unknown_event_type": 400,
    "not_authenticated": 401,
    "invalid_key": 401,
    "insufficient_scope": 403,
    "scope_not_held": 403,
    "no_mandate": 403,
    "not_the_provider": 403,
    "outside_mandate": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "conflict": 409,
    "device_taken": 409,
    "key_not_live": 409,
    "last_administrator": 409,
    "mandate_exists": 409,
    "too_many_keys": 409,
    "username_taken": 409,
    "answer_not_kept": 409,
    "request_in_progress": 409,
    "code_not_usable": 409,
    "not_revertible": 409,
    "operation_over": 409,
    "profile_full": 409,
    "too_many_operations": 409,
    "profile_in_use": 409,
    "profile_name_taken": 409,
    "short_code_taken": 409,
    "too_many_short_codes": 409,
    "too_many_webhooks": 409,
    "webhook_not_running": 409,
    "nothing_to_send": 409,
    "cursor_expired": 410,
    "precondition_failed": 412,
    "body_too_large": 413,
    "sheet_too_large": 413,
    "unsupported_media_type": 415,
    "idempotency_key_reused": 422,
    "too_many_requests": 429,
    "too_many_taken": 429,
    "internal_error": 500,
    "seal_broken": 500,
    "unavailable": 503,
}

# What to do about refusals that are not our verbs' own; those bring their remedies along.
_REMEDIES = {
    "invalid_input": "Correct what `errors` names and send the request again.",
    "invalid_json": "Send one JSON document in UTF-8.",
    "invalid_request": "Send the request as described at /api/docs/.",
    "unknown_host": "Send requests to the public URL of the service.",
    "not_authenticated": "Send the header `Authorization: Bearer KEY`.",
    "invalid_key": "Check the key, or ask your administrator for a new one.",
    "insufficient_scope": "Use a key that has this scope.",
    "not_found": "Check the address. Every path ends with a slash; /api/docs/ lists them all.",
    "method_not_allowed": "Use one of the methods in the header Allow.",
    "not_acceptable": "Accept application/json.",
    "conflict": "Read the resource again and repeat the request.",
    "body_too_large": "Send less at once.",
    "unsupported_media_type": "Send the body as application/json.",
    "internal_error": "Try again later. If it stays, tell the operator the request_id.",
    "unavailable": "Repeat the request after the time in Retry-After.",
}

# REST framework's and Django's refusals by class, each with a code and, where its own text says too much, a sentence.
_FOREIGN: tuple[tuple[type[Exception], str, str], ...] = (
    (exceptions.ParseError, "invalid_json", ""),
    (exceptions.NotAuthenticated, "not_authenticated", "An API key is needed."),
    (exceptions.AuthenticationFailed, "invalid_key", ""),
    (exceptions.PermissionDenied, "insufficient_scope", ""),
    (PermissionDenied, "insufficient_scope", "The API key may not do this."),
    (exceptions.NotFound, "not_found", "There is nothing at this address."),
    (Http404, "not_found", "There is nothing at this address."),
    (exceptions.MethodNotAllowed, "method_not_allowed", ""),
    (exceptions.NotAcceptable, "not_acceptable", "No accepted media type can be given."),
    (exceptions.UnsupportedMediaType, "unsupported_media_type", ""),
    (RequestDataTooBig, "body_too_large", "The body is too large."),
    (SuspiciousOperation, "invalid_request", "The request cannot be read."),
    (UnreadablePostError, "invalid_request", "The body ended early."),
)


_PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Problems</title>
<h1>Problems of the API</h1>
<table>
{}</table>
</html>
"""


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """REST framework's exception handler: any error of a view as its problem document."""
    request = context["request"]
    if isinstance(error, exceptions.ValidationError):
        return _invalid(request, error)
    if isinstance(error, OnboardingError) and error.code in STATUSES:
        errors = {error.field: [error.detail]} if error.field else {}
        response = answer(request, error.code, error.detail, remedy=error.remedy, errors=errors)
        if wait := getattr(error, "retry_after_seconds", None):
            response["Retry-After"] = str(wait)
        return response
    if isinstance(error, OperationalError | InterfaceError | StateContended):
        logger.error("The registry cannot be reached", exc_info=error)
        return answer(request, "unavailable", "The registry is not available at the moment.")
    if isinstance(error, IntegrityError):
        # Two requests that each were right alone; the database let one of them through.
        logger.warning("A constraint of the database refused a write", exc_info=error)
        return answer(request, "conflict", "Something that this depends on was changed at the same moment.")
    for kind, code, detail in _FOREIGN:
        if isinstance(error, kind):
            response = answer(request, code, detail or str(getattr(error, "detail", "")))
            if challenge := getattr(error, "auth_header", None):
                response["WWW-Authenticate"] = challenge
            return response
    logger.error("Unhandled error in the API", exc_info=error)
    return answer(request, "internal_error", "")


def answer(
    request: Any, code: str, detail: str, *, remedy: str = "", errors: Mapping[str, Sequence[str]] | None = None
) -> HttpResponse:
    """The problem document of `code`."""
    status = STATUSES[code]
    response = JsonResponse(
        {
            "type": f"{settings.PUBLIC_URL}/api/problems/#{code}",
            "title": _title(code),
            "status": status,
            "code": code,
            "detail": detail,
            "remedy": remedy or _remedy(code),
            "errors": errors or {},
            "request_id": getattr(request, "id", ""),
        },
        status=status,
        content_type=CONTENT_TYPE,
    )
    if status == 503:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: what is refused before any view is asked, as an unknown Host."""
    if _is_partner(request):
        if isinstance(exception, DisallowedHost):
            _tell_operator(request.META.get("HTTP_HOST", ""))
            remedy = f"Send requests to {settings.PUBLIC_URL}."
            return answer(request, "unknown_host", "The service has no such host name.", remedy=remedy)
        return answer(request, "invalid_request", "The request cannot be read.")
    return defaults.bad_request(request, exception)


@functools.lru_cache(maxsize=100)
def _tell_operator(host: str) -> None:
    """Once for each name, as scanners send any."""
    logger.warning("Refused a request for the host %r. If that is a name of this service: ALLOWED_HOSTS", host[:100])


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: mistakes outside the views. Django has logged them."""
    return answer(request, "internal_error", "") if _is_partner(request) else defaults.server_error(request)


def page(request: HttpRequest) -> HttpResponse:
    """`/api/problems/`: where the `type` of each problem document points to."""
    rows = format_html_join(
        "", '<tr id="{}"><td><code>{}</code><td>{}<td>{}<td>{}\n',
        ((code, code, status, _title(code), _remedy(code)) for code, status in STATUSES.items()),
    )  # fmt: skip
    return HttpResponse(format_html(_PAGE, rows))


def _is_partner(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")


def _remedy(code: str) -> str:
    """What to do about it: said here, or by the error of ours that has this code."""
    waiting = [OnboardingError]
    while code not in _REMEDIES and waiting:
        kind = waiting.pop()
        if kind.code == code and kind.remedy:
            return kind.remedy
        waiting += kind.__subclasses__()
    return _REMEDIES.get(code, "Correct the request as the detail says.")


def _title(code: str) -> str:
    return code.replace("_", " ").capitalize()


def _invalid(request: Any, error: exceptions.ValidationError) -> HttpResponse:
    """A body or query of the wrong shape. A single refusal by one of our own parsers keeps its code."""
    found = list(_flat(error.detail))
    errors: dict[str, list[str]] = {}
    for field, text in found:
        errors.setdefault(field, []).append(str(text))
    code = found[0][1].code if len(found) == 1 else ""
    if code not in STATUSES:
        code = "invalid_input"
    detail = "; ".join(f"{field}: {text}" if field else str(text) for field, text in found[:5])
    return answer(request, code, detail, errors={field: texts for field, texts in errors.items() if field})


def _flat(detail: Any, field: str = "") -> Iterator[tuple[str, exceptions.ErrorDetail]]:
    """Each sentence with its field, written `rows.3.mac` where fields lie inside each other."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = "" if name == api_settings.NON_FIELD_ERRORS_KEY else str(name)
            yield from _flat(inner, f"{field}.{own}".strip("."))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        for position, inner in enumerate(detail):
            # A list of sentences is about the field itself; a list of mappings about its entries.
            yield from _flat(inner, f"{field}.{position}" if isinstance(inner, Mapping) else field)
    elif isinstance(detail, exceptions.ErrorDetail):
        yield field, detail
