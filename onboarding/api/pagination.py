"""Lists in pages: `{"results": […], "next": CURSOR or null}`.

A cursor holds the key of the last row given, so rows that come or go meanwhile neither repeat nor hide others. It is
signed for one list of one organization with its filters: any other use of it is refused.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.core import signing
from django.db.models import Model, QuerySet
from rest_framework.response import Response

from onboarding.errors import OnboardingError

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000

Row = TypeVar("Row", bound=Model)


class InvalidCursor(OnboardingError):
    """The cursor was not given out for this list."""

    code = "invalid_cursor"
    remedy = "Begin again without a cursor, and keep the filters while you follow `next`."


def page(
    rows: "QuerySet[Row]", *, by: str, query: Mapping[str, Any], purpose: str, show: Callable[[Row], Mapping[str, Any]]
) -> Response:
    """One page of `rows` in the order of the unique column `by` (`-id`: descending). Raises InvalidCursor.

    `query` is the parsed query; `purpose` names the list and its owner. Costs one indexed search.
    """
    column = by.removeprefix("-")
    filters = sorted((name, str(value)) for name, value in query.items() if name not in {"limit", "cursor"})
    signer = signing.Signer(salt=f"cursor:{purpose}:{filters}")
    if "cursor" in query:
        after = _opened(signer, query["cursor"])
        rows = rows.filter(**{f"{column}__lt" if by.startswith("-") else f"{column}__gt": after})
    limit = query["limit"]
    found = list(rows.order_by(by)[: limit + 1])
    following = signer.sign_object(getattr(found[limit - 1], column)) if len(found) > limit else None
    return Response({"results": [show(row) for row in found[:limit]], "next": following})


def _opened(signer: signing.Signer, cursor: str) -> Any:
    try:
        return signer.unsign_object(cursor)
    except (signing.BadSignature, ValueError) as error:
        raise InvalidCursor("The cursor does not belong to this list.", field="cursor") from error
