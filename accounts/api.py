"""`/me/`: what a key is, and what it may do."""

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import mandates, views
from accounts.quotas import Standing
from accounts.views import KeyedView


class _Organization(serializers.Serializer[Any]):
    id = serializers.IntegerField(help_text="What others name in mandates, and `On-Behalf-Of` takes.")
    name = serializers.CharField()
    kind = serializers.ChoiceField(["provider", "partner"])


class _Key(serializers.Serializer[Any]):
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The part of the key that may be shown, as in timelines.")
    scopes = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(allow_null=True)


class _Mandate(serializers.Serializer[Any]):
    organization = _Organization(source="provider")
    scopes = serializers.ListField(child=serializers.CharField(), help_text="What this key may do there.")
    profiles = serializers.ListField(
        source="profile_ids", child=serializers.IntegerField(), help_text="Ids; empty: all profiles."
    )


class MeShown(serializers.Serializer[Any]):
    organization = _Organization(help_text="The one acted for: the key's own, or the one in `On-Behalf-Of`.")
    key = _Key()
    mandates = _Mandate(many=True, help_text="For whom this key may act, with the header `On-Behalf-Of: id`.")
    limits = serializers.DictField(
        child=serializers.IntegerField(), help_text="What one request may ask for, and what is left of each quota."
    )


class Me(KeyedView):
    keeps_to_profiles = True
    # Any key may ask about itself.
    scopes: ClassVar[dict[str, str]] = {"GET": ""}
    http_method_names = ["get", "head"]
    # What one request may ask for; set where the view is mounted, by those who enforce it.
    limits: ClassVar[dict[str, int]] = {}

    def get(self, request: Request) -> Response:
        quotas = (self.standing, views.counts().look(views.TAKEN, str(self.organization.pk)))
        left = {name: value for quota in quotas if quota for name, value in _left(quota).items()}
        key = self.partner.key
        held = mandates.held_by([key.organization_id])
        for mandate in held:
            mandate.scopes = sorted(set(mandate.scopes) & set(key.scopes))
        # The scopes that hold for this request: fewer than the key's under a mandate.
        known = {"name": key.name, "prefix": key.prefix, "expires_at": key.expires_at}
        shown = {
            "organization": self.organization,
            "key": known | {"scopes": sorted(self.partner.scopes)},
            "mandates": [mandate for mandate in held if mandate.scopes],
            "limits": self.limits | left,
        }
        return Response(MeShown(shown).data)


def _left(quota: Standing) -> dict[str, int]:
    name, span = quota.limit.name, {60: "minute", 3600: "hour"}[quota.limit.seconds]
    return {
        f"{name}_per_{span}": quota.limit.most,
        f"{name}_remaining": quota.remaining,
        f"{name}_reset_seconds": quota.resets_in_seconds,
    }
