"""`/keys/`: make, rotate and revoke API keys. A key gives no scope that it has not itself."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import keys
from accounts.models import ApiKey
from onboarding.api import etags, pagination
from onboarding.api.fields import PageQuery
from onboarding.api.organization import shapes
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView

_SCOPE = "organization:admin"
# Answers with a key are kept by nobody on the way.
_SECRET = {"Cache-Control": "no-store"}


def shown(row: ApiKey, *, at: datetime) -> dict[str, Any]:
    """A key as partners see it."""
    return dict(shapes.KeyShown(row, context={"at": at}).data)


class _View(PartnerView):
    @property
    def keys(self) -> "QuerySet[ApiKey]":
        """The keys that the caller may see."""
        return ApiKey.objects.visible_to(self.partner.viewer)

    def made(self, row: ApiKey, text: str, *, at: datetime, location: str) -> Response:
        return Response(shown(row, at=at) | {"key": text}, status=201, headers=_SECRET | {"Location": location})


class Keys(_View):
    scopes = {"GET": _SCOPE, "POST": _SCOPE}

    @operation(
        "keys_list", "List your API keys, newest first", answers={200: shapes.KeyShown}, paged=True, query=PageQuery,
        scope=_SCOPE,
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query, at = PageQuery.read(request.query_params), timezone.now()
        purpose = f"keys:{self.organization.pk}"
        return pagination.page(self.keys, by="-id", query=query, purpose=purpose, show=lambda row: shown(row, at=at))

    @operation(
        "keys_create", "Make an API key", body=shapes.KeyInput, answers={201: shapes.KeyMade}, refusals=(409,),
        scope=_SCOPE, more="The key is in this answer and nowhere else. It gets no scope that the calling key lacks.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        given, at = shapes.KeyInput.read(request.data), timezone.now()
        expires_at = given.get("expires_at")
        if expires_at is not None and expires_at <= at:
            raise ValidationError({"expires_at": "This has passed already."})
        row, text = keys.create(
            actor=self.actor, organization=self.organization, name=given["name"], scopes=given["scopes"], at=at,
            expires_at=expires_at, held=self.partner.scopes,
        )  # fmt: skip
        return self.made(row, text, at=at, location=request.build_absolute_uri(f"{row.pk}/"))


class OneKey(_View):
    scopes = {"GET": _SCOPE, "DELETE": _SCOPE}

    @operation("keys_read", "Read an API key", answers={200: shapes.KeyShown}, tagged=True, scope=_SCOPE)
    def get(self, request: Request, key_id: int) -> Response:
        row = self.keys.filter(pk=key_id).first()
        if row is None:
            raise Http404
        return etags.single(request, shown(row, at=timezone.now()))

    @operation(
        "keys_delete", "Revoke an API key", answers={204: None}, tagged=True, scope=_SCOPE,
        more="For good. It stays in the list as revoked. Revoking it again changes nothing.",
    )  # fmt: skip
    def delete(self, request: Request, key_id: int) -> Response:
        at = timezone.now()
        with transaction.atomic():
            row = self.keys.select_for_update().filter(pk=key_id).first()
            if row is None:
                raise Http404
            etags.check(request, lambda: shown(row, at=at))
            keys.revoke(row, actor=self.actor, at=at)
        return Response(status=204)


class Rotate(_View):
    scopes = {"POST": _SCOPE}

    @operation(
        "keys_rotate", "Replace an API key by a new one", body=shapes.RotationInput, answers={201: shapes.KeyMade},
        refusals=(409,), missing=True, scope=_SCOPE,
        more="The new key has the old one's name, scopes and lifetime; the old one is good for `overlap_hours` more. "
        "A key with scopes that the calling key lacks cannot be rotated by it.",
    )  # fmt: skip
    def post(self, request: Request, key_id: int) -> Response:
        given, at = shapes.RotationInput.read(request.data), timezone.now()
        row = self.keys.filter(pk=key_id).first()
        if row is None:
            raise Http404
        hours = given.get("overlap_hours")
        overlap = keys.USUAL_OVERLAP if hours is None else timedelta(hours=hours)
        made, text = keys.rotate(row, actor=self.actor, at=at, overlap=overlap, held=self.partner.scopes)
        return self.made(made, text, at=at, location=request.build_absolute_uri(f"../../{made.pk}/"))
