"""What resources look like on the way in and out (contract 4.1). Shape only: what values mean, the verbs know.

Fields may be added, never renamed.
"""

from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from onboarding import guessing, targethealth
from onboarding.answers import RULES
from onboarding.api.fields import MAX_ID, Choice, Flag, Input, Number, PageQuery, Parsed, Text, Time
from onboarding.health import Health
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import STATES, Device, RedirectProfile, ShortCode, StateChange, TargetCheck
from onboarding.observations import identity_of
from onboarding.registration import Confirm, IdentityDemand, UnprovenEvidence
from onboarding.registry import MAX_LABEL_LENGTH
from onboarding.shortcodes import MOST_DEVICES
from onboarding.states import REPORTABLE_EVENTS, Event
from trust.identity import Proof

# In the order of the table of states, so that documents list them the same every time.
CALLED_BACK = [event.value for event in Event if event in REPORTABLE_EVENTS]

# What the contract promises; each row costs a parse, all of them one search.
MAX_VALIDATED_ROWS = 1000


def _one_of(names: Iterable[str]) -> str:
    """A pattern instead of a choice: drf-spectacular names each set of choices once, by the field that has it first."""
    return f"^({'|'.join(names)})$"


_PROFILE = {
    "id": 1,
    "name": "Head office",
    "targets": ["https://cfg.example.net/$MA.xml"],
    "parameters": {"Upgrade_Rule": "https://cfg.example.net/sip88xx.loads"},
    "confirm": "beacon",
    "unproven_evidence": "record",
    "identity": "none",
    "accepts_expired_certificates": False,
    "match_model": False,
    "enabled": True,
    "stalled_after_minutes": 30,
    "target_health": [
        {
            "target": "https://cfg.example.net/$MA.xml",
            "status": "healthy",
            "since": "2026-11-22T08:10:00Z",
            "checked_at": "2026-11-22T09:10:00Z",
            "detail": "Answers, but has no file for the example phone.",
            "findings": ["no_example_file"],
            "http_status": 404,
            "certificate_expires_at": "2027-01-30T12:00:00Z",
        }
    ],
}
_DEVICE = {
    "mac": "00562B043615",
    "model": "CP-8841-3PCC",
    "serial": "FCH2133E8B9",
    "label": "Reception",
    "profile": 1,
    "target": None,
    "valid_from": None,
    "valid_until": "2026-12-31T00:00:00Z",
    "state": "custom_pending",
    "state_since": "2026-11-22T09:30:00Z",
    "last_seen": "2026-11-22T09:30:00Z",
    "stalled": False,
    "proven": True,
}
_SHORT_CODE = {
    "code": "20480016",
    "profile": 1,
    "enabled": True,
    "enabled_at": "2026-11-22T09:30:00Z",
    "disabled_at": None,
    "valid_until": None,
    "max_devices": 500,
    "devices": 37,
    "full": False,
    "last_used_at": "2026-11-22T10:12:00Z",
    "guess_space": 100_000_000,
    "days_to_try_all": 17361.1,
    "suggested_length": 8,
}
_CHANGE = {
    "at": "2026-11-22T09:30:00Z",
    "event": "asked",
    "before": "open",
    "after": "pending",
    "inferred": False,
    "refused": None,
    "source": "door",
    "identity": "none",
    "evidence": {"model": "CP-8841-3PCC", "firmware": "11.3.7"},
}


@extend_schema_serializer(
    component_name="ProfileInput",
    examples=[
        OpenApiExample(
            "A profile",
            value={"name": "Head office", "targets": ["https://cfg.example.net/$MA.xml"]},
            request_only=True,
        )
    ],
)
class ProfileInput(Input):
    name = Text(help_text="1 to 80 printable characters, unique among your profiles.")
    targets = serializers.ListField(
        child=Text(allow_blank=True), help_text="Profile rules in order; phones are given the first healthy one."
    )
    parameters = serializers.DictField(
        child=Text(allow_blank=True), required=False,
        help_text="Further flat-profile parameters. `{report_url}` stands for the phone's own report URL.",
    )  # fmt: skip
    confirm = Choice(
        list(map(str, Confirm)), required=False, help_text="How a phone's success becomes known. Default: callback."
    )
    unproven_evidence = Choice(
        list(map(str, UnprovenEvidence)),
        required=False,
        help_text="What nothing proves to be the phone's own: `record_all`, only record all without a certificate; "
        "`record`, only record reports without a token; `apply`, let everything move the state. Default: record.",
    )
    identity = Choice(
        list(map(str, IdentityDemand)),
        required=False,
        help_text="Whether phones must show a certificate. Default: none.",
    )
    accepts_expired_certificates = Flag(
        required=False, help_text="Whether an expired certificate counts as one that is required. Default: false."
    )
    match_model = Flag(required=False, help_text="Refuse phones that say they are another model. Default: false.")
    enabled = Flag(required=False, help_text="Default: true.")
    stalled_after_minutes = Number(
        required=False, min_value=1, max_value=525_600,
        help_text="Phones that stay Custom Pending longer are marked stalled. Default: 30.",
    )  # fmt: skip


class TargetHealth(serializers.Serializer[TargetCheck]):
    target = serializers.CharField()
    status = serializers.RegexField(
        _one_of(map(str, Health)), source="health",
        help_text="`failing` after three failed tests in a row; such a target is passed over while another is not. "
        "`unknown`: not tested yet, or not to be told from here.",
    )  # fmt: skip
    since = serializers.DateTimeField(help_text="When this status began.")
    checked_at = serializers.DateTimeField(allow_null=True)
    detail = serializers.SerializerMethodField(help_text="What the last test found, as sentences.")
    findings = serializers.ListField(child=serializers.CharField(), help_text="The same by name; the first decides.")
    http_status = serializers.SerializerMethodField()
    certificate_expires_at = serializers.DateTimeField(allow_null=True)

    def get_detail(self, row: TargetCheck) -> str:
        return targethealth.said(row)

    def get_http_status(self, row: TargetCheck) -> int | None:
        return row.http_status or None


class ProfileShown(serializers.Serializer[RedirectProfile]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    targets = serializers.ListField(child=serializers.CharField())
    parameters = serializers.DictField(child=serializers.CharField())
    confirm = serializers.ChoiceField(list(map(str, Confirm)))
    unproven_evidence = serializers.ChoiceField(list(map(str, UnprovenEvidence)))
    identity = serializers.ChoiceField(list(map(str, IdentityDemand)))
    accepts_expired_certificates = serializers.BooleanField()
    match_model = serializers.BooleanField()
    enabled = serializers.BooleanField()
    stalled_after_minutes = serializers.IntegerField()


@extend_schema_serializer(
    component_name="Profile", examples=[OpenApiExample("A profile", value=_PROFILE, response_only=True)]
)
class ProfileAnswered(ProfileShown):
    target_health = TargetHealth(many=True, help_text="What tests of the targets from this server found.")


@extend_schema_serializer(
    component_name="DeviceInput",
    examples=[
        OpenApiExample(
            "A claim", value={"model": "CP-8841-3PCC", "profile": 1, "label": "Reception"}, request_only=True
        )
    ],
)
class DeviceInput(Input):
    model = Parsed(ModelName.parse, help_text="The product name on the phone's label.")
    profile = Number(
        required=False, allow_null=True, min_value=1, max_value=MAX_ID, help_text="The id of one of your profiles."
    )
    serial = Parsed(SerialNumber.parse, required=False, allow_null=True, allow_blank=True)
    label = Text(  # type: ignore[assignment]  # a field of a device, not the field's own label
        required=False, allow_null=True, allow_blank=True,
        help_text=f"Whose phone it is, or where; at most {MAX_LABEL_LENGTH} characters.",
    )  # fmt: skip
    target = Text(
        required=False,
        allow_null=True,
        allow_blank=True,
        help_text="A profile rule of its own, instead of the profile's.",
    )
    valid_from = Time(required=False, allow_null=True, help_text="The phone is refused before.")
    valid_until = Time(required=False, allow_null=True, help_text="The phone is refused from then on.")


@extend_schema_serializer(
    component_name="Device", examples=[OpenApiExample("A device", value=_DEVICE, response_only=True)]
)
class DeviceShown(serializers.Serializer[Device]):
    mac = serializers.RegexField(r"^[0-9A-F]{12}$", help_text="Twelve upper-case hexadecimal digits.")
    model = serializers.CharField()
    serial = serializers.CharField(allow_blank=True, help_text="Empty: not given.")
    label = serializers.CharField(allow_blank=True)  # type: ignore[assignment]
    profile = serializers.IntegerField(source="profile_id", allow_null=True)
    target = serializers.SerializerMethodField()
    valid_from = serializers.DateTimeField(allow_null=True)
    valid_until = serializers.DateTimeField(allow_null=True)
    state = serializers.ChoiceField(STATES)
    state_since = serializers.DateTimeField()
    last_seen = serializers.DateTimeField(allow_null=True)
    stalled = serializers.SerializerMethodField(help_text="Custom Pending for longer than the profile allows.")
    proven = serializers.BooleanField(help_text="Claimed by its owner, not merely typed in on some phone.")

    def get_target(self, device: Device) -> str | None:
        return device.target or None

    def get_stalled(self, device: Device) -> bool:
        return device.stalled_at is not None


class DeviceQuery(PageQuery):
    """The filters of the list of devices. Each narrows it further."""

    state = serializers.ChoiceField(STATES, required=False)
    model = Parsed(ModelName.parse, required=False)
    profile = serializers.IntegerField(min_value=1, max_value=MAX_ID, required=False, help_text="A profile's id.")
    serial = Parsed(SerialNumber.parse, required=False)
    stalled = serializers.BooleanField(required=False)
    changed_after = Time(required=False, help_text="Registration or state changed after this time.")


@extend_schema_serializer(
    component_name="TimelineRow", examples=[OpenApiExample("A row", value=_CHANGE, response_only=True)]
)
class ChangeShown(serializers.Serializer[StateChange]):
    at = serializers.DateTimeField(help_text="When it happened.")
    event = serializers.CharField(help_text="An event of the phone, or `claimed`, `changed`, `released`.")
    before = serializers.RegexField(_one_of(STATES))
    after = serializers.RegexField(_one_of(STATES))
    inferred = serializers.BooleanField(help_text="Not seen, but concluded from what was seen next.")
    refused = serializers.SerializerMethodField(help_text="Why it moved nothing, or null.")
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="Who told: `door`, `report`, `callback`, `api`, `admin`, `sighting`, …"
    )
    identity = serializers.SerializerMethodField(
        help_text="What proves that the phone itself did it: `certificate`, `expired` (certificate), `token`, `none`; "
        "null where it was no phone."
    )
    evidence = serializers.DictField()

    @extend_schema_field({"type": ["string", "null"], "enum": [*map(str, Proof), None]})
    def get_identity(self, change: StateChange) -> str | None:
        return None if change.inferred else identity_of(change.source, change.evidence)

    def get_refused(self, change: StateChange) -> str | None:
        return change.refused or None


@extend_schema_serializer(
    component_name="EventInput",
    examples=[
        OpenApiExample("A call-back", value={"event": "acquired", "at": "2026-11-22T09:30:00Z"}, request_only=True)
    ],
)
class EventInput(Input):
    event = Choice(CALLED_BACK)
    at = Time(required=False, help_text="When it happened: at most 30 days ago and 5 minutes ahead. Default: now.")


@extend_schema_serializer(
    component_name="EventAccepted",
    examples=[
        OpenApiExample(
            "Accepted",
            value={"mac": "00562B043615", "event": "acquired", "at": "2026-11-22T09:30:00Z"},
            response_only=True,
            status_codes=["202"],
        )
    ],
)
class EventAccepted(serializers.Serializer[Any]):
    mac = serializers.CharField()
    event = serializers.ChoiceField(CALLED_BACK)
    at = serializers.DateTimeField(help_text="The time that it was recorded with.")


@extend_schema_serializer(
    component_name="ShortCodeInput",
    examples=[OpenApiExample("A short code", value={"profile": 1, "max_devices": 500}, request_only=True)],
)
class ShortCodeInput(Input):
    profile = Number(min_value=1, max_value=MAX_ID, help_text="The id of one of your profiles.")
    valid_until = Time(required=False, allow_null=True, help_text="It does not work from then on. Default: no end.")
    max_devices = Number(
        min_value=1, max_value=MOST_DEVICES, required=False, allow_null=True,
        help_text="It stops working when so many phones became devices by it; a few more may pass. Default: no limit.",
    )  # fmt: skip


@extend_schema_serializer(
    component_name="ShortCode", examples=[OpenApiExample("A short code", value=_SHORT_CODE, response_only=True)]
)
class ShortCodeShown(serializers.Serializer[ShortCode]):
    code = serializers.RegexField(r"^[0-9]{3,16}$", help_text="The digits; on the phone they are typed after a #.")
    profile = serializers.IntegerField(source="profile_id", allow_null=True, help_text="null: deleted since.")
    enabled = serializers.SerializerMethodField()
    enabled_at = serializers.DateTimeField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    valid_until = serializers.DateTimeField(allow_null=True)
    max_devices = serializers.IntegerField(allow_null=True)
    devices = serializers.IntegerField(help_text="Phones that became devices by it.")
    full = serializers.BooleanField(source="is_full", help_text="As many phones as may have used it.")
    last_used_at = serializers.DateTimeField(allow_null=True)
    guess_space = serializers.SerializerMethodField(help_text="How many codes of this length there are.")
    days_to_try_all = serializers.SerializerMethodField(help_text="In how many days one network could try them all.")
    suggested_length = serializers.SerializerMethodField(help_text="The fewest digits that are hard to guess.")

    def get_enabled(self, row: ShortCode) -> bool:
        return row.disabled_at is None

    def get_guess_space(self, row: ShortCode) -> int:
        return guessing.space_of(len(row.code)).values

    def get_days_to_try_all(self, row: ShortCode) -> float:
        return guessing.space_of(len(row.code)).days_to_try_all

    def get_suggested_length(self, row: ShortCode) -> int:
        return guessing.suggested_length()


class ShortCodeQuery(PageQuery):
    enabled = serializers.BooleanField(required=False, help_text="Only those enabled, or disabled.")


class ExplainQuery(Input):
    """What the phone would say of itself."""

    mac = Parsed(MacAddress.parse, help_text="In any usual notation.")
    model = Parsed(ModelName.parse, required=False)
    serial = Parsed(SerialNumber.parse, required=False)
    firmware = serializers.CharField(required=False, max_length=64)
    certified_mac = Parsed(
        MacAddress.parse,
        required=False,
        help_text="The MAC that the phone's certificate names. Default: it shows none that holds.",
    )
    certified_model = Parsed(ModelName.parse, required=False, help_text="The model that the certificate names.")
    certificate_expired = serializers.BooleanField(
        required=False, help_text="Whether that certificate has expired. Default: false."
    )


class RuleTried(serializers.Serializer[Any]):
    rule = serializers.RegexField(_one_of(RULES))
    result = serializers.ChoiceField(["passed", "refused", "applied"])


class SkippedTarget(serializers.Serializer[Any]):
    target = serializers.CharField()
    detail = serializers.CharField(allow_blank=True, help_text="What tests of it found.")


class AnswerShown(serializers.Serializer[Any]):
    target = serializers.CharField(help_text="The profile rule that the phone would be given.")
    profile = serializers.IntegerField(allow_null=True, help_text="The id of the profile that gives it.")
    skipped = SkippedTarget(many=True, help_text="The profile's targets that were passed over, since they fail.")
    flat_profile = serializers.CharField(
        help_text="The document, with the URLs made for this phone shown without their tokens."
    )


@extend_schema_serializer(
    component_name="Explanation",
    examples=[
        OpenApiExample(
            "Refused",
            value={
                "outcome": "not_associated",
                "tried": [
                    {"rule": "unknown_device", "result": "passed"},
                    {"rule": "not_associated", "result": "refused"},
                ],
                "answer": None,
                "remedy": "Give the device a redirect profile, or a target of its own.",
            },
            response_only=True,
        )
    ],
)
class Explanation(serializers.Serializer[Any]):
    outcome = serializers.ChoiceField(list(RULES), help_text="The rule that decided.")
    tried = RuleTried(many=True, help_text="The rules in the order in which they were tried.")
    answer = AnswerShown(allow_null=True, help_text="null: the phone would get an empty answer.")
    remedy = serializers.CharField(
        allow_blank=True, help_text="What you can do about it; empty where nothing is wrong."
    )


class ValidateInput(Input):
    rows = serializers.ListField(
        child=serializers.DictField(allow_empty=True), max_length=MAX_VALIDATED_ROWS,
        help_text="Each with `mac`, and `model` and `serial` where you want these checked too.",
    )  # fmt: skip


class ValidatedRow(serializers.Serializer[Any]):
    row = serializers.IntegerField(help_text="The row's number, from 1.")
    mac = serializers.CharField(allow_blank=True, help_text="In its normal form, or as given where it is invalid.")
    status = serializers.ChoiceField(["available", "yours", "taken", "invalid", "duplicate"])
    detail = serializers.CharField(allow_blank=True, help_text="What is wrong with an invalid row.")


@extend_schema_serializer(
    component_name="Validated",
    examples=[
        OpenApiExample(
            "Validated",
            value={"results": [{"row": 1, "mac": "00562B043615", "status": "available", "detail": ""}]},
            response_only=True,
        )
    ],
)
class Validated(serializers.Serializer[Any]):
    results = ValidatedRow(many=True)


class Problem(serializers.Serializer[Any]):
    """RFC 9457."""

    type = serializers.URLField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable; for machines.")
    detail = serializers.CharField(allow_blank=True, help_text="What was wrong; for people.")
    remedy = serializers.CharField(allow_blank=True, help_text="What to do about it.")
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        help_text="Sentences by field, as `targets` or `rows.3.mac`.",
    )
    request_id = serializers.CharField(help_text="Tell it to the operator when you ask about this answer.")
