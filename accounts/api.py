"""`/me/`: what a key is, and what it may do."""

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import Partner


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
    limits = serializers.DictField(child=serializers.IntegerField(), help_text="How much one request may ask for.")


class Me(APIView):
    # Any key may ask about itself.
    scopes: ClassVar[dict[str, str]] = {"GET": ""}
    metadata_class = None
    http_method_names = ["get", "head"]
    # What one request may ask for; set where the view is mounted, by those who enforce it.
    limits: ClassVar[dict[str, int]] = {}

    def get(self, request: Request) -> Response:
        partner = request.user
        assert isinstance(partner, Partner)
        shown = {"organization": partner.organization, "key": partner.key, "limits": self.limits}
        return Response(MeShown(shown).data)
