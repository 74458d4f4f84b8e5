"""What activation codes look like on the way in and out (contract 4.1): digits only when issued and revealed."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from activation import issuing, status
from activation.models import IssuedCode
from activation.status import CodeStatus
from onboarding.api.fields import MAX_ID, Input, Number, PageQuery, Parsed, Text
from onboarding.identifiers import MacAddress, ModelName, SerialNumber

# A pattern instead of a choice: drf-spectacular would name the choices of every `status` alike.
_STATUS = f"^({'|'.join(CodeStatus)})$"

_CODE = {
    "id": 4711,
    "label": "Reception",
    "status": "issued",
    "profile": 1,
    "device": None,
    "model": "",
    "mac": "",
    "serial": "",
    "email": "reception@example.net",
    "batch": "6f7f6f0c-5f0d-4f0e-9f0a-2d3c4b5a6978",
    "issued_at": "2026-11-22T09:30:00Z",
    "expires_at": "2026-11-29T09:30:00Z",
    "redeemed_at": None,
    "revoked_at": None,
    "mailed_at": None,
    "mail_error": "",
    "refusals": [],
}
_DIGITS = {"code": "1234567890123456", "grouped": "1234 5678 9012 3456"}


class Hours(serializers.FloatField):
    """A JSON number."""

    def to_internal_value(self, data: Any) -> float:
        if not isinstance(data, int | float) or isinstance(data, bool):
            self.fail("invalid")
        return float(super().to_internal_value(data))


@extend_schema_serializer(
    component_name="ActivationCodeInput",
    examples=[
        OpenApiExample("One, for a person", value={"profile": 1, "label": "Reception"}, request_only=True),
        OpenApiExample("Many", value={"profile": 1, "count": 200, "expires_in_hours": 720}, request_only=True),
    ],
)
class CodeInput(Input):
    profile = Number(min_value=1, max_value=MAX_ID, help_text="The id of one of your profiles.")
    count = Number(
        required=False, min_value=1, max_value=issuing.MOST_AT_ONCE,
        help_text="How many, all alike. Default: 1. With a MAC, a serial number or an address only 1.",
    )  # fmt: skip
    model = Parsed(ModelName.parse, required=False, allow_null=True, help_text="Works on phones of this model only.")
    mac = Parsed(MacAddress.parse, required=False, allow_null=True, help_text="Works on this phone only.")
    serial = Parsed(SerialNumber.parse, required=False, allow_null=True, help_text="Works on this phone only.")
    label = Text(  # type: ignore[assignment]  # a field of a code, not the field's own label
        required=False, allow_null=True, allow_blank=True,
        help_text=f"Whose phone it will be, or where; at most {issuing.MAX_LABEL_LENGTH} characters.",
    )  # fmt: skip
    email = Text(required=False, allow_null=True, allow_blank=True, help_text="The code is sent there.")
    expires_in_hours = Hours(
        required=False, min_value=1 / 60, max_value=8760.0, help_text="From 1/60 (a minute) to 8760. Default: 168."
    )


@extend_schema_serializer(
    component_name="ActivationCode", examples=[OpenApiExample("A code", value=_CODE, response_only=True)]
)
class CodeShown(serializers.Serializer[IssuedCode]):
    """`at` in the context is the moment of which `status` is."""

    id = serializers.IntegerField()
    label = serializers.CharField(allow_blank=True)  # type: ignore[assignment]
    status = serializers.SerializerMethodField(help_text=f"One of {', '.join(CodeStatus)}.")
    profile = serializers.IntegerField(source="profile_id")
    device = serializers.SerializerMethodField(help_text="The MAC of the phone that redeemed it, or null.")
    model = serializers.CharField(allow_blank=True, help_text="Empty: any.")
    mac = serializers.CharField(allow_blank=True, help_text="Empty: any.")
    serial = serializers.CharField(allow_blank=True, help_text="Empty: any.")
    email = serializers.CharField(allow_blank=True)
    batch = serializers.UUIDField(help_text="The codes of one order have the same.")
    issued_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    redeemed_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    mailed_at = serializers.DateTimeField(allow_null=True)
    mail_error = serializers.CharField(allow_blank=True, help_text="Why the mail was given up.")
    refusals = serializers.ListField(
        child=serializers.DictField(),
        help_text="The last phones that typed it rightly and were refused: at, reason, mac.",
    )

    def get_status(self, row: IssuedCode) -> str:
        return str(status.status(row, at=self.context["at"]))

    def get_device(self, row: IssuedCode) -> str | None:
        return row.redeemed_mac or None


@extend_schema_serializer(
    component_name="IssuedActivationCode",
    examples=[OpenApiExample("A code with its digits", value=_CODE | _DIGITS, response_only=True)],
)
class CodeWithDigits(CodeShown):
    code = serializers.RegexField(r"^[0-9]{16}$", help_text="Sixteen digits.")
    grouped = serializers.CharField(help_text="The digits in groups of four, for people.")


@extend_schema_serializer(
    component_name="IssuedActivationCodes",
    examples=[OpenApiExample("Issued", value={"results": [_CODE | _DIGITS]}, response_only=True)],
)
class CodesIssued(serializers.Serializer[Any]):
    results = CodeWithDigits(many=True)


class CodeQuery(PageQuery):
    """The filters of the list of codes. Each narrows it further."""

    status = serializers.RegexField(_STATUS, required=False, help_text=f"One of {', '.join(CodeStatus)}.")
    profile = serializers.IntegerField(min_value=1, max_value=MAX_ID, required=False, help_text="A profile's id.")
    device = Parsed(MacAddress.parse, required=False, help_text="The MAC of the phone that redeemed it.")
    batch = serializers.UUIDField(required=False)
