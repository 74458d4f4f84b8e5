"""`/me/`: what a key is, and what it may do."""

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import views
from accounts.quotas import Standing
from accounts.views import KeyedView


class _Organization(serializers.Serializer[Any]):
    name = serializers.CharField()
    kind = serializers.ChoiceField(["provider", "partner"])


class _Key(serializers.Serializer[Any]):
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The part of the key that may be shown, as in timelines.")
    scopes = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(allow_null=True)


class MeShown(serializers.Serializer[Any]):
    organization = _Organization()
    key = _Key()
    limits = serializers.DictField(
        child=serializers.IntegerField(), help_text="What one request may ask for, and what is left of each quota."
    )


class Me(KeyedView):
    # Any key may ask about itself.
    scopes: ClassVar[dict[str, str]] = {"GET": ""}
    http_method_names = ["get", "head"]
    # What one request may ask for; set where the view is mounted, by those who enforce it.
    limits: ClassVar[dict[str, int]] = {}

    def get(self, request: Request) -> Response:
        quotas = (self.standing, views.counts().look(views.TAKEN, str(self.organization.pk)))
        left = {name: value for quota in quotas if quota for name, value in _left(quota).items()}
        shown = {"organization": self.organization, "key": self.partner.key, "limits": self.limits | left}
        return Response(MeShown(shown).data)


def _left(quota: Standing) -> dict[str, int]:
    name, span = quota.limit.name, {60: "minute", 3600: "hour"}[quota.limit.seconds]
    return {
        f"{name}_per_{span}": quota.limit.most,
        f"{name}_remaining": quota.remaining,
        f"{name}_reset_seconds": quota.resets_in_seconds,
    }
