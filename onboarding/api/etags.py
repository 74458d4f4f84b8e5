"""ETags: one resource with a tag of exactly what it shows, and conditions that guard its updates (RFC 9110, 13.1).

What a resource shows beside its owner's own fields (as the health of a profile's targets) changes by itself. It has a
part of its own in the tag, which If-None-Match compares and If-Match does not: it stands in the way of no update.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from onboarding.api.renderers import octets
from onboarding.errors import OnboardingError

_BESIDE = re.compile(r'("[0-9a-f]{32})-[0-9a-f]{8}(?=")')


class PreconditionFailed(OnboardingError):
    """The resource is not any more (or not yet) what the caller believes it to be."""

    code = "precondition_failed"
    remedy = "Read the resource again, and send its present ETag in If-Match."


def single(
    request: Request,
    shown: Mapping[str, Any],
    *,
    beside: Mapping[str, Any] | None = None,
    status: int = 200,
    location: str = "",
) -> Response:
    """The answer with one resource; 304 where the caller of a GET has it already. `beside` changes by itself."""
    tag = _tag(shown) if beside is None else f'{_tag(shown)[:-1]}-{_tag(beside)[1:9]}"'
    headers = {"ETag": tag, **({"Location": location} if location else {})}
    if request.method in {"GET", "HEAD"} and _matches(request.headers.get("If-None-Match", ""), tag, weakly=True):
        return Response(status=304, headers=headers)
    return Response({**shown, **(beside or {})}, status=status, headers=headers)


def check(request: Request, show: Callable[[], Mapping[str, Any]] | None) -> None:
    """Refuse an update whose conditions the present resource (None: there is none) does not meet.

    `show` gives it, where it is asked for. Raises PreconditionFailed. The caller holds the row's lock, so that nothing
    changes between check and write.
    """
    wanted, unwanted = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    if wanted is None and unwanted is None:
        return
    tag = None if show is None else _tag(show())
    if wanted is not None and (tag is None or not _matches(_owners(wanted), tag)):
        raise PreconditionFailed("The resource is not the one that If-Match names.")
    if unwanted is not None and tag is not None and _matches(_owners(unwanted), tag, weakly=True):
        raise PreconditionFailed("The resource is one that If-None-Match excludes.")


def _matches(header: str, present: str, *, weakly: bool = False) -> bool:
    tags = parse_etags(header)
    return tags == ["*"] or present in ([tag.removeprefix("W/") for tag in tags] if weakly else tags)


def _owners(header: str) -> str:
    """The tags without the part that changes by itself."""
    return _BESIDE.sub(r"\1", header)


def _tag(shown: Mapping[str, Any]) -> str:
    return f'"{hashlib.sha256(octets(shown)).hexdigest()[:32]}"'
