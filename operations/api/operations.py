"""`/operations/`: bulk work started, watched, cancelled, reverted, and its results."""

import hashlib
from typing import Any

from django.core import signing
from django.db.models import QuerySet
from django.http import Http404
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from onboarding.api import etags, pagination
from onboarding.api.fields import PageQuery
from onboarding.api.pagination import InvalidCursor
from onboarding.api.parsers import BoundedJSONParser
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView
from onboarding.registry import ProfileNotYours
from operations import receiving, reporting, running
from operations.api import shapes
from operations.api.parsers import StreamParser
from operations.models import Operation, Sheet
from operations.reading import UnreadableSheet


def shown(row: Operation) -> dict[str, Any]:
    """An operation as partners see it."""
    return dict(shapes.OperationShown(row, context={"at": timezone.now()}).data)


class _View(PartnerView):
    @property
    def operations(self) -> "QuerySet[Operation]":
        """The operations that the caller may see."""
        return Operation.objects.visible_to(self.partner.viewer).select_related("sheet")

    def operation(self, operation_id: int) -> Operation:
        """The operation of the path. Raises Http404 for foreign ones too."""
        row = self.operations.filter(pk=operation_id).first()
        if row is None:
            raise Http404
        return row


class _Hashed:
    """A stream whose octets are counted into a digest as they are read."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        octets: bytes = self._stream.read(size)
        self._digest.update(octets)
        return octets

    def digest(self) -> bytes:
        return self._digest.digest()


class Operations(_View):
    scopes = {"GET": "devices:read", "POST": "devices:write"}
    parser_classes = [BoundedJSONParser, StreamParser]
    _sheet: Sheet | None = None
    _stream: "_Hashed"
    _order: dict[str, Any]
    _is_used = False

    @operation(
        "operations_list", "List your operations, newest first", answers={200: shapes.OperationShown}, paged=True,
        query=PageQuery, scope="devices:read",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = PageQuery.read(request.query_params)
        purpose = f"operations:{self.organization.pk}"
        return pagination.page(self.operations, by="-id", query=query, purpose=purpose, show=shown)

    @extend_schema(request={"application/json": shapes.OperationInput, "text/csv": OpenApiTypes.BINARY})
    @operation(
        "operations_start", "Import, assign or release many devices", body=shapes.OperationInput,
        answers={202: shapes.OperationShown}, query=shapes.OperationQuery, refusals=(409,), scope="devices:write",
        more="Rows as JSON (1 MiB), or as a `text/csv` body of up to a million rows and 128 MiB, for which `kind`, "
        "`dry_run` and `profile` stand in the query. Answered when the rows are safe; they are done in the background.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        sheet = self._received()
        row = running.start(actor=self.actor, sheet=sheet, at=timezone.now(), **self._order)
        self._is_used = True
        return Response(shown(row), status=202, headers={"Location": self.request.build_absolute_uri(f"{row.pk}/")})

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """As usual; a sheet on which nothing was started, as of a repeated request, is forgotten."""
        response = super().dispatch(request, *args, **kwargs)
        if self._sheet is not None and not self._is_used:
            receiving.discard(self._sheet)
        return response

    def body_digested(self) -> bytes:
        """A file is taken in first, and known by its digest afterwards: it is not held in memory."""
        if self._is_file():
            self._received()
            return self._stream.digest()
        return super().body_digested()

    def _is_file(self) -> bool:
        return self.request.content_type.partition(";")[0].strip().lower() == "text/csv"

    def _received(self) -> Sheet:
        """The request's rows, taken in once."""
        if self._sheet is not None:
            return self._sheet
        at = timezone.now()
        if self._is_file():
            query = shapes.OperationQuery.read(self.request.query_params)
            if "kind" not in query:
                raise UnreadableSheet(
                    "The query does not say what to do.", field="kind", remedy="Add ?kind=import, assign or release."
                )
            file_name = query.pop("file_name", "")
            self._order = self._ordered(query)
            data = self.request.data
            self._stream = _Hashed(data)
            if not hasattr(data, "read"):
                raise UnreadableSheet("The body is empty.", remedy="Send a file, with its Content-Length.")
            self._sheet = receiving.receive_csv(
                organization=self.organization, stream=self._stream, file_name=file_name, at=at
            )
        else:
            given = shapes.OperationInput.read(self.request.data)
            rows = given.pop("rows")
            self._order = self._ordered(given)
            self._sheet = receiving.receive_rows(organization=self.organization, rows=rows, at=at)
        return self._sheet

    def _ordered(self, given: dict[str, Any]) -> dict[str, Any]:
        profile_id = given.pop("profile", None)
        profile = self.profiles.filter(pk=profile_id).first() if profile_id is not None else None
        if profile_id is not None and profile is None:
            raise ProfileNotYours("There is no such profile.", field="profile")
        return given | {"profile": profile}


class OneOperation(_View):
    scopes = {"GET": "devices:read"}

    @operation(
        "operations_read", "Read an operation: how far it is", answers={200: shapes.OperationShown}, tagged=True,
        scope="devices:read",
    )  # fmt: skip
    def get(self, request: Request, operation_id: int) -> Response:
        return etags.single(request, shown(self.operation(operation_id)))


class Results(_View):
    scopes = {"GET": "devices:read"}

    @operation(
        "operations_results", "Read what became of each row, in the rows' order", answers={200: shapes.ResultShown},
        paged=True, query=shapes.ResultQuery, missing=True, scope="devices:read",
        more="While the operation runs, `next` is null at the end of what is done so far.",
    )  # fmt: skip
    def get(self, request: Request, operation_id: int) -> Response:
        query = shapes.ResultQuery.read(request.query_params)
        row = self.operation(operation_id)
        status, limit = query.get("status", ""), query["limit"]
        signer = signing.Signer(salt=f"cursor:results:{row.pk}:{status}")
        after = _after(signer, query["cursor"]) if "cursor" in query else 0
        found = reporting.results(row, after=after, most=limit + 1, status=status)
        following = signer.sign_object(found[limit - 1].row) if len(found) > limit else None
        return Response({"results": [result._asdict() for result in found[:limit]], "next": following})


def _after(signer: signing.Signer, cursor: str) -> int:
    try:
        return int(signer.unsign_object(cursor))
    except (signing.BadSignature, ValueError) as error:
        raise InvalidCursor("The cursor does not belong to this list.", field="cursor") from error


class Cancel(_View):
    scopes = {"POST": "devices:write"}

    @operation(
        "operations_cancel", "Cancel an operation", answers={200: shapes.OperationShown}, missing=True,
        refusals=(409,), scope="devices:write", more="It ends within seconds; what was done stays.",
    )  # fmt: skip
    def post(self, request: Request, operation_id: int) -> Response:
        row = running.cancel(actor=self.actor, operation=self.operation(operation_id), at=timezone.now())
        return Response(shown(row))


class Revert(_View):
    scopes = {"POST": "devices:write"}

    @operation(
        "operations_revert", "Undo an operation", answers={202: shapes.OperationShown}, missing=True,
        refusals=(409,), scope="devices:write",
        more="Gives a new operation, which restores every device whose registration nobody touched since.",
    )  # fmt: skip
    def post(self, request: Request, operation_id: int) -> Response:
        row = running.revert(actor=self.actor, operation=self.operation(operation_id), at=timezone.now())
        location = request.build_absolute_uri(f"../../{row.pk}/")
        return Response(shown(row), status=202, headers={"Location": location})
