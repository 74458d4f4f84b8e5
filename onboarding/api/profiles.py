"""`/profiles/`: create, read, change, delete and list redirect profiles."""

from dataclasses import fields, replace
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from onboarding import profiles
from onboarding.api import etags, pagination, shapes
from onboarding.api.fields import PageQuery
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView
from onboarding.models import RedirectProfile
from onboarding.profiles import ProfileFields


def shown(profile: RedirectProfile) -> dict[str, Any]:
    """A profile as partners see it."""
    return dict(shapes.ProfileShown(profile).data)


class Profiles(PartnerView):
    scopes = {"GET": "profiles:read", "POST": "profiles:write"}

    @operation(
        "profiles_list", "List your profiles, oldest first", answers={200: shapes.ProfileShown}, paged=True,
        query=PageQuery, scope="profiles:read",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = PageQuery.read(request.query_params)
        purpose = f"profiles:{self.organization.pk}"
        return pagination.page(self.profiles, by="id", query=query, purpose=purpose, show=shown)

    @operation(
        "profiles_create", "Create a profile", body=shapes.ProfileInput, answers={201: shapes.ProfileShown},
        refusals=(409,), tagged=True, scope="profiles:write", missing=False,
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        values = _values(shapes.ProfileInput.read(request.data))
        profile = profiles.create(organization=self.organization, values=values, own=settings.OWN_ADDRESSES)
        location = request.build_absolute_uri(f"{profile.pk}/")
        return etags.single(request, shown(profile), status=201, location=location)


class OneProfile(PartnerView):
    scopes = {"GET": "profiles:read", "PUT": "profiles:write", "PATCH": "profiles:write", "DELETE": "profiles:write"}

    @operation(
        "profiles_read", "Read a profile", answers={200: shapes.ProfileShown}, tagged=True, scope="profiles:read"
    )
    def get(self, request: Request, profile_id: int) -> Response:
        profile = self.profiles.filter(pk=profile_id).first()
        if profile is None:
            raise Http404
        return etags.single(request, shown(profile))

    @operation(
        "profiles_put", "Set all fields of a profile", body=shapes.ProfileInput, answers={200: shapes.ProfileShown},
        refusals=(409,), tagged=True, scope="profiles:write",
        more="Optional fields that are absent are set to their defaults.",
    )  # fmt: skip
    def put(self, request: Request, profile_id: int) -> Response:
        given = shapes.ProfileInput.read(request.data)
        with transaction.atomic():
            return self._changed(self._locked(profile_id), _values(given))

    @operation(
        "profiles_patch", "Change some fields of a profile", body=shapes.ProfileInput,
        answers={200: shapes.ProfileShown}, refusals=(409,), tagged=True, scope="profiles:write",
    )  # fmt: skip
    def patch(self, request: Request, profile_id: int) -> Response:
        given = shapes.ProfileInput.read(request.data, partial=True)
        with transaction.atomic():
            present = self._locked(profile_id)
            kept = ProfileFields(**{field.name: getattr(present, field.name) for field in fields(ProfileFields)})
            return self._changed(present, replace(kept, **given))

    @operation(
        "profiles_delete", "Delete a profile that no device uses", answers={204: None}, refusals=(409,), tagged=True,
        scope="profiles:write",
    )  # fmt: skip
    def delete(self, request: Request, profile_id: int) -> Response:
        with transaction.atomic():
            profiles.delete(self._locked(profile_id))
        return Response(status=204)

    def _locked(self, profile_id: int) -> RedirectProfile:
        """The profile of the path, held until the transaction ends, with the caller's conditions met."""
        profile = self.profiles.select_for_update().filter(pk=profile_id).first()
        if profile is None:
            raise Http404
        etags.check(self.request, shown(profile))
        return profile

    def _changed(self, profile: RedirectProfile, values: ProfileFields) -> Response:
        return etags.single(self.request, shown(profiles.change(profile, values=values, own=settings.OWN_ADDRESSES)))


def _values(given: dict[str, Any]) -> ProfileFields:
    return ProfileFields(**{"parameters": {}, **given})
