"""ETags: one resource with a tag of exactly what it shows, and conditions that guard its updates (RFC 9110, 13.1)."""

import hashlib
from collections.abc import Mapping
from typing import Any

from django.utils.http import parse_etags
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from onboarding.errors import OnboardingError


class PreconditionFailed(OnboardingError):
    """The resource is not any more (or not yet) what the caller believes it to be."""

    code = "precondition_failed"
    remedy = "Read the resource again, and send its present ETag in If-Match."


def single(request: Request, shown: Mapping[str, Any], *, status: int = 200, location: str = "") -> Response:
    """The answer with one resource; 304 where the caller of a GET has it already."""
    headers = {"ETag": _tag(shown), **({"Location": location} if location else {})}
    if request.method in {"GET", "HEAD"} and _matches(request.headers.get("If-None-Match", ""), shown, weakly=True):
        return Response(status=304, headers=headers)
    return Response(shown, status=status, headers=headers)


def check(request: Request, shown: Mapping[str, Any] | None) -> None:
    """Refuse an update whose conditions the present resource (None: there is none) does not meet.

    Raises PreconditionFailed. The caller holds the row's lock, so that nothing changes between check and write.
    """
    wanted = request.headers.get("If-Match")
    if wanted is not None and (shown is None or not _matches(wanted, shown)):
        raise PreconditionFailed("The resource is not the one that If-Match names.")
    unwanted = request.headers.get("If-None-Match")
    if unwanted is not None and shown is not None and _matches(unwanted, shown, weakly=True):
        raise PreconditionFailed("The resource is one that If-None-Match excludes.")


def _matches(header: str, shown: Mapping[str, Any], *, weakly: bool = False) -> bool:
    tags = parse_etags(header)
    return tags == ["*"] or _tag(shown) in ([tag.removeprefix("W/") for tag in tags] if weakly else tags)


def _tag(shown: Mapping[str, Any]) -> str:
    return f'"{hashlib.sha256(JSONRenderer().render(shown)).hexdigest()[:32]}"'
