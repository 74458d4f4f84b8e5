"""`/profiles/`: create, read, change, delete and list redirect profiles."""

from dataclasses import fields, replace
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import Http404
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.mandates import OutsideMandate
from onboarding import profiles, targethealth
from onboarding.api import etags, pagination, shapes
from onboarding.api.fields import PageQuery, printed
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView
from onboarding.models import RedirectProfile
from onboarding.profiles import ProfileFields


def shown(profile: RedirectProfile) -> dict[str, Any]:
    """What a profile's owner decides, as partners see it."""
    return printed(shapes.ProfileShown, profile)


def target_health(profile: RedirectProfile) -> dict[str, Any]:
    """What tests of its targets found, which stands beside it."""
    rows = targethealth.of_profile(profile)
    return {"target_health": [dict(shapes.TargetHealth(row).data) for row in rows]}


def _single(request: Request, profile: RedirectProfile, **options: Any) -> Response:
    return etags.single(request, shown(profile), beside=target_health(profile), **options)


class Profiles(PartnerView):
    keeps_to_profiles = True
    scopes = {"GET": "profiles:read", "POST": "profiles:write"}

    @operation(
        "profiles_list", "List your profiles, oldest first", answers={200: shapes.ProfileAnswered}, paged=True,
        query=PageQuery, scope="profiles:read",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = PageQuery.read(request.query_params)
        purpose = f"profiles:{self.organization.pk}"
        rows = self.profiles.prefetch_related("checks")
        return pagination.page(
            rows, by="id", query=query, purpose=purpose, show=lambda row: {**shown(row), **target_health(row)}
        )

    @operation(
        "profiles_create", "Create a profile", body=shapes.ProfileInput, answers={201: shapes.ProfileAnswered},
        refusals=(409,), tagged=True, scope="profiles:write", missing=False,
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        values = _values(shapes.ProfileInput.read(request.data))
        if self.limited:
            raise OutsideMandate(
                "The mandate is limited to some profiles, and a new one would be none of them.",
                remedy="Ask the provider to create it and to name it in the mandate.",
            )
        profile = profiles.create(
            actor=self.actor, organization=self.organization, values=values, own=settings.OWN_ADDRESSES,
            at=timezone.now(),
        )  # fmt: skip
        location = request.build_absolute_uri(f"{profile.pk}/")
        return _single(request, profile, status=201, location=location)


class OneProfile(PartnerView):
    keeps_to_profiles = True
    scopes = {"GET": "profiles:read", "PUT": "profiles:write", "PATCH": "profiles:write", "DELETE": "profiles:write"}

    @operation(
        "profiles_read", "Read a profile", answers={200: shapes.ProfileAnswered}, tagged=True, scope="profiles:read"
    )
    def get(self, request: Request, profile_id: int) -> Response:
        profile = self.profiles.filter(pk=profile_id).first()
        if profile is None:
            raise Http404
        return _single(request, profile)

    @operation(
        "profiles_put", "Set all fields of a profile", body=shapes.ProfileInput, answers={200: shapes.ProfileAnswered},
        refusals=(409,), tagged=True, scope="profiles:write",
        more="Optional fields that are absent are set to their defaults.",
    )  # fmt: skip
    def put(self, request: Request, profile_id: int) -> Response:
        given = shapes.ProfileInput.read(request.data)
        with transaction.atomic():
            return self._changed(self._locked(profile_id), _values(given))

    @operation(
        "profiles_patch", "Change some fields of a profile", body=shapes.ProfileInput,
        answers={200: shapes.ProfileAnswered}, refusals=(409,), tagged=True, scope="profiles:write",
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
            profiles.delete(self._locked(profile_id), actor=self.actor, at=timezone.now())
        return Response(status=204)

    def _locked(self, profile_id: int) -> RedirectProfile:
        """The profile of the path, held until the transaction ends, with the caller's conditions met."""
        profile = self.profiles.select_for_update().filter(pk=profile_id).first()
        if profile is None:
            raise Http404
        etags.check(self.request, lambda: shown(profile))
        return profile

    def _changed(self, profile: RedirectProfile, values: ProfileFields) -> Response:
        changed = profiles.change(
            profile, actor=self.actor, values=values, own=settings.OWN_ADDRESSES, at=timezone.now()
        )
        return _single(self.request, changed)


class CheckProfile(PartnerView):
    keeps_to_profiles = True
    scopes = {"POST": "profiles:write"}

    @operation(
        "profiles_check", "Test a profile's targets now", answers={202: shapes.ProfileAnswered}, scope="profiles:write",
        more="Results stand in the profile's `target_health` within seconds. They are tested every hour anyway, and "
        "when the profile is changed.",
    )  # fmt: skip
    def post(self, request: Request, profile_id: int) -> Response:
        profile = self.profiles.filter(pk=profile_id).first()
        if profile is None:
            raise Http404
        targethealth.check_now(profile, at=timezone.now())
        return Response({**shown(profile), **target_health(profile)}, status=202)


def _values(given: dict[str, Any]) -> ProfileFields:
    return ProfileFields(**{"parameters": {}, **given})
