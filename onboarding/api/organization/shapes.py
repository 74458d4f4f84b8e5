"""What people, keys, mandates and audit entries look like on the way in and out."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from accounts import keys, mandates
from accounts.models import ApiKey, AuditEntry, Mandate, Membership
from onboarding.api.fields import MAX_ID, Choice, Input, Number, PageQuery, Text, Time

_ROLES = ["admin", "staff", "reader"]
_MOST_OVERLAP_HOURS = int(keys.LONGEST_OVERLAP.total_seconds() // 3600)

_PERSON = {
    "id": 7,
    "username": "nora@example.net",
    "name": "Nora Berg",
    "email": "nora@example.net",
    "role": "staff",
    "suspended": False,
    "last_signed_in_at": None,
}
_KEY = {
    "id": 12,
    "name": "Order system",
    "prefix": "k7m2p9qx",
    "scopes": ["devices:read", "devices:write"],
    "standing": "good",
    "created_at": "2026-11-22T09:30:00Z",
    "expires_at": "2027-11-22T09:30:00Z",
    "last_used_at": None,
    "revoked_at": None,
    "suspended_at": None,
    "successor": None,
}
_MANDATE = {
    "id": 3,
    "provider": {"id": 1, "name": "Alpenphone"},
    "partner": {"id": 2, "name": "Box Logistics"},
    "scopes": ["devices:read", "devices:write", "profiles:read"],
    "profiles": [4],
    "note": "Ships our phones",
    "given_at": "2026-11-22T09:30:00Z",
    "withdrawn_at": None,
    "in_force": True,
}
_ENTRY = {
    "id": 4711,
    "at": "2026-11-22T09:30:00Z",
    "action": "profile.changed",
    "subject": "profile Head office",
    "thing": "profile:4",
    "source": "admin",
    "name": "nora@example.net",
    "through": None,
    "address": "192.0.2.7",
    "request_id": "8a3c7d0f0c4e4f5e9d4f6f3a2b1c0d9e",
    "before": {"enabled": True},
    "after": {"enabled": False},
    "position": 812,
    "digest": "5b1c0e5d7c1f4f0e9f0a2d3c4b5a69785b1c0e5d7c1f4f0e9f0a2d3c4b5a6978",
}


@extend_schema_serializer(
    component_name="PersonInput",
    examples=[
        OpenApiExample(
            "A person",
            value={
                "username": "nora@example.net",
                "name": "Nora Berg",
                "role": "staff",
                "password": "correct horse 42",
            },
            request_only=True,
        )
    ],
)
class PersonInput(Input):
    username = Text(max_length=150, help_text="What the person types to sign in.")
    name = Text(max_length=150, required=False, allow_blank=True)
    email = Text(max_length=254, required=False, allow_blank=True)
    role = Choice(_ROLES)
    password = Text(max_length=128, help_text="The first one; tell it to the person, who should change it.")


@extend_schema_serializer(
    component_name="RoleInput", examples=[OpenApiExample("A role", value={"role": "admin"}, request_only=True)]
)
class RoleInput(Input):
    role = Choice(_ROLES)


@extend_schema_serializer(
    component_name="Person", examples=[OpenApiExample("A person", value=_PERSON, response_only=True)]
)
class PersonShown(serializers.Serializer[Membership]):
    id = serializers.IntegerField()
    username = serializers.CharField(source="user.username")
    name = serializers.CharField(source="user.get_full_name", allow_blank=True)
    email = serializers.CharField(source="user.email", allow_blank=True)
    role = serializers.ChoiceField(_ROLES)
    suspended = serializers.SerializerMethodField(help_text="Locked out by the operator.")
    last_signed_in_at = serializers.DateTimeField(source="user.last_login", allow_null=True)

    def get_suspended(self, row: Membership) -> bool:
        return not row.user.is_active


@extend_schema_serializer(
    component_name="KeyInput",
    examples=[OpenApiExample("A key", value={"name": "Order system", "scopes": ["devices:read"]}, request_only=True)],
)
class KeyInput(Input):
    name = Text(max_length=80, help_text="Who or what uses it.")
    scopes = serializers.ListField(child=Text(max_length=40), max_length=len(keys.SCOPES) * 2)
    expires_at = Time(required=False, allow_null=True, help_text="Default: it does not expire.")


@extend_schema_serializer(
    component_name="RotationInput",
    examples=[OpenApiExample("A rotation", value={"overlap_hours": 48}, request_only=True)],
)
class RotationInput(Input):
    overlap_hours = Number(
        required=False, min_value=0, max_value=_MOST_OVERLAP_HOURS,
        help_text="How long the old key is good beside the new one. Default: 24.",
    )  # fmt: skip


@extend_schema_serializer(component_name="Key", examples=[OpenApiExample("A key", value=_KEY, response_only=True)])
class KeyShown(serializers.Serializer[ApiKey]):
    """`at` in the context is the moment of which `standing` is."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The part that may be shown, as in timelines and the audit.")
    scopes = serializers.ListField(child=serializers.CharField())
    standing = serializers.SerializerMethodField(help_text=f"One of {', '.join(keys.Standing)}.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To within five minutes.")
    revoked_at = serializers.DateTimeField(allow_null=True)
    suspended_at = serializers.DateTimeField(allow_null=True, help_text="Stopped by the operator.")
    successor = serializers.IntegerField(
        source="successor_id", allow_null=True, help_text="The id of the key that takes its place."
    )

    def get_standing(self, row: ApiKey) -> str:
        return str(keys.standing(row, at=self.context["at"]))


@extend_schema_serializer(
    component_name="MadeKey",
    examples=[
        OpenApiExample(
            "A new key", value=_KEY | {"key": "zt_k7m2p9qx_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE"},
            response_only=True,
        )
    ],
)  # fmt: skip
class KeyMade(KeyShown):
    key = serializers.CharField(help_text="The key itself. It is shown once and kept nowhere.")


class _Named(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()


@extend_schema_serializer(
    component_name="MandateInput",
    examples=[
        OpenApiExample(
            "A mandate",
            value={"partner": 2, "scopes": ["devices:read", "devices:write", "profiles:read"], "profiles": [4]},
            request_only=True,
        )
    ],
)
class MandateInput(Input):
    partner = Number(min_value=1, max_value=MAX_ID, help_text="The partner organization's id, as its `/me/` tells it.")
    scopes = serializers.ListField(child=Text(max_length=40), max_length=len(keys.SCOPES) * 2)
    profiles = serializers.ListField(
        child=Number(min_value=1, max_value=MAX_ID), max_length=mandates.MOST_PROFILES, required=False,
        help_text="Ids of the profiles to which it is limited. Default: all, also those to come.",
    )  # fmt: skip
    note = Text(max_length=200, required=False, allow_blank=True, help_text="What it is for. Both sides see it.")


class MandateQuery(PageQuery):
    in_force = serializers.BooleanField(required=False, help_text="Only those that are not withdrawn, or withdrawn.")


@extend_schema_serializer(
    component_name="Mandate", examples=[OpenApiExample("A mandate", value=_MANDATE, response_only=True)]
)
class MandateShown(serializers.Serializer[Mandate]):
    id = serializers.IntegerField()
    provider = _Named(help_text="Who gave it.")
    partner = _Named(help_text="Who may act, with the header `On-Behalf-Of: {provider.id}`.")
    scopes = serializers.ListField(child=serializers.CharField())
    profiles = serializers.ListField(
        source="profile_ids", child=serializers.IntegerField(), help_text="Ids; empty: all profiles."
    )
    note = serializers.CharField(allow_blank=True)
    given_at = serializers.DateTimeField()
    withdrawn_at = serializers.DateTimeField(allow_null=True)
    in_force = serializers.SerializerMethodField(help_text="Not withdrawn.")

    def get_in_force(self, row: Mandate) -> bool:
        return row.withdrawn_at is None


class AuditQuery(PageQuery):
    action = serializers.RegexField(r"^[a-z_]{1,30}\.[a-z_]{1,30}$", required=False, help_text="As `key.revoked`.")
    since = Time(required=False, help_text="Only what was done then or later.")


_VALUES = {"type": "object", "additionalProperties": {}}


@extend_schema_field(_VALUES)
class _Values(serializers.DictField):
    """JSON values by name."""


@extend_schema_serializer(
    component_name="AuditEntry", examples=[OpenApiExample("An entry", value=_ENTRY, response_only=True)]
)
class EntryShown(serializers.Serializer[AuditEntry]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    action = serializers.CharField(help_text="What happened: `key.revoked`, `profile.changed`, …")
    subject = serializers.CharField(help_text="What it happened to, for people.")
    thing = serializers.CharField(allow_blank=True, help_text="The same for machines, as `profile:4`; empty: none.")
    source = serializers.CharField(help_text="The way in: `api`, `admin`, `command`.")  # type: ignore[assignment]
    name = serializers.CharField(help_text="Who: a key's prefix, a user's name, a command.")
    through = serializers.IntegerField(
        source="through_id", allow_null=True, help_text="The organization that acted under a mandate, by its id."
    )
    address = serializers.CharField(allow_blank=True, help_text="From where.")
    request_id = serializers.CharField(allow_blank=True)
    before = _Values()
    after = _Values()
    position = serializers.IntegerField(allow_null=True, help_text="Its place in the chain; null for a few seconds.")
    digest = serializers.CharField(allow_blank=True, help_text="What chains it to the entries before it.")
