"""What operations look like on the way in and out (contract 4.1)."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from onboarding.api.fields import MAX_ID, Choice, Flag, Input, Number, PageQuery, Text
from operations import reporting
from operations.interpreting import NEEDED
from operations.models import KINDS, STATUSES, Operation
from operations.reading import MAX_ROWS

_OPERATION = {
    "id": 1,
    "kind": "import",
    "status": "running",
    "dry_run": False,
    "total": 10_000,
    "processed": 4000,
    "succeeded": 3998,
    "failed": 2,
    "created": 3900,
    "changed": 98,
    "unchanged": 0,
    "released": 0,
    "progress": 0.4,
    "seconds_left": 3,
    "reason": "",
    "profile": None,
    "reverts": None,
    "columns": {"mac": "MAC Address", "model": "Product", "serial": "S/N"},
    "ignored": ["Carton"],
    "created_at": "2026-11-22T09:30:00Z",
    "started_at": "2026-11-22T09:30:01Z",
    "finished_at": None,
}
_ROWS = [{"mac": "00:56:2b:04:36:15", "model": "CP-8841-3PCC", "serial": "FCH2133E8B9", "profile": 1}]


@extend_schema_field({"type": "array", "minItems": 1, "items": {"type": "object", "additionalProperties": True}})
class RowsField(serializers.Field[Any, Any, Any, Any]):
    """A list of objects, taken as it is: what is wrong with a row becomes its result."""

    default_error_messages = {"invalid": "Give a list of objects, at least one."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, list) or not data or not all(isinstance(row, dict) for row in data):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_serializer(
    component_name="OperationInput",
    examples=[OpenApiExample("Import", value={"kind": "import", "dry_run": True, "rows": _ROWS}, request_only=True)],
)
class OperationInput(Input):
    kind = Choice(list(NEEDED))
    dry_run = Flag(required=False, default=False, help_text="Tells what the run would do, and changes nothing.")
    profile = Number(
        required=False, allow_null=True, min_value=1, max_value=MAX_ID, help_text="For rows that name no profile."
    )
    rows = RowsField(
        help_text="Objects with `mac`, and `model`, `serial`, `profile` (id or name), `label`, `target`, `valid_from`, "
        "`valid_until`; the usual headings of shipping lists will do too. What a row does not name stays as it is."
    )


class OperationQuery(Input):
    """With `text/csv` the rest stands in the query."""

    kind = serializers.ChoiceField(list(NEEDED), required=False, help_text="Needed with a body of `text/csv`.")
    dry_run = serializers.BooleanField(required=False, default=False, help_text="For a body of `text/csv`.")
    profile = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_ID, help_text="For rows that name no profile (`text/csv`)."
    )
    file_name = Text(required=False, max_length=200, help_text="What to call it in lists (`text/csv`).")


@extend_schema_serializer(
    component_name="Operation",
    examples=[OpenApiExample("An operation", value=_OPERATION, response_only=True)],
)
class OperationShown(serializers.ModelSerializer[Operation]):
    kind = serializers.CharField(help_text=", ".join(KINDS))
    status = serializers.CharField(help_text=", ".join(STATUSES))
    succeeded = serializers.IntegerField(help_text="Rows that did not fail.")
    progress = serializers.SerializerMethodField(help_text="From 0 to 1.")
    seconds_left = serializers.SerializerMethodField(help_text="An estimate; null where there is none.")
    profile = serializers.IntegerField(source="profile_id", allow_null=True, help_text="For rows that name none.")
    reverts = serializers.IntegerField(
        source="reverts_id", allow_null=True, help_text="The operation that this one undoes."
    )
    columns = serializers.SerializerMethodField(help_text="The columns that were recognized, and their headings.")
    ignored = serializers.SerializerMethodField(help_text="Headings of columns that mean nothing here.")

    class Meta:
        model = Operation
        fields = list(_OPERATION)

    def get_progress(self, operation: Operation) -> float:
        return round(reporting.progress(operation, at=self.context["at"]).share, 4)

    def get_seconds_left(self, operation: Operation) -> int | None:
        return reporting.progress(operation, at=self.context["at"]).seconds_left

    def get_columns(self, operation: Operation) -> dict[str, str]:
        return dict(operation.sheet.columns) if operation.sheet else {}

    def get_ignored(self, operation: Operation) -> list[str]:
        return list(operation.sheet.ignored) if operation.sheet else []


class ResultQuery(PageQuery):
    status = serializers.ChoiceField(list(reporting.STATUSES), required=False, help_text="Only these.")


@extend_schema_serializer(
    component_name="OperationResult",
    examples=[
        OpenApiExample(
            "A result",
            value={"row": 2, "mac": "00562B043615", "status": "created", "code": "", "detail": ""},
            response_only=True,
        )
    ],
)
class ResultShown(serializers.Serializer[Any]):
    row = serializers.IntegerField(help_text=f"The row's number in the file, up to about {MAX_ROWS:,}.")
    mac = serializers.CharField(allow_blank=True, help_text="In its normal form, or as given where it is invalid.")
    status = serializers.CharField(help_text=", ".join(reporting.STATUSES))
    code = serializers.CharField(allow_blank=True, help_text="Why it failed; for machines.")
    detail = serializers.CharField(allow_blank=True, help_text="Why it failed, and what to do; for people.")
