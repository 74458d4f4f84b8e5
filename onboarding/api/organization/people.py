"""`/people/`: who may sign in for the organization, and as what."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import people
from accounts.models import Membership
from onboarding.api import etags, pagination
from onboarding.api.fields import PageQuery
from onboarding.api.organization import shapes
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView

_SCOPE = "organization:admin"


def shown(row: Membership) -> dict[str, Any]:
    """A person as partners see them."""
    return dict(shapes.PersonShown(row).data)


class _View(PartnerView):
    @property
    def people(self) -> "QuerySet[Membership]":
        """The people that the caller may see."""
        return Membership.objects.visible_to(self.partner.viewer).select_related("user")


class People(_View):
    scopes = {"GET": _SCOPE, "POST": _SCOPE}

    @operation(
        "people_list", "List your people", answers={200: shapes.PersonShown}, paged=True, query=PageQuery, scope=_SCOPE
    )
    def get(self, request: Request) -> Response:
        query = PageQuery.read(request.query_params)
        purpose = f"people:{self.organization.pk}"
        return pagination.page(self.people, by="id", query=query, purpose=purpose, show=shown)

    @operation(
        "people_create", "Add a person", body=shapes.PersonInput, answers={201: shapes.PersonShown}, refusals=(409,),
        tagged=True, scope=_SCOPE, missing=False,
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        given = shapes.PersonInput.read(request.data)
        row = people.add(actor=self.actor, organization=self.organization, at=timezone.now(), **given)
        return etags.single(request, shown(row), status=201, location=request.build_absolute_uri(f"{row.pk}/"))


class OnePerson(_View):
    scopes = {"GET": _SCOPE, "PATCH": _SCOPE, "DELETE": _SCOPE}

    @operation("people_read", "Read a person", answers={200: shapes.PersonShown}, tagged=True, scope=_SCOPE)
    def get(self, request: Request, person_id: int) -> Response:
        row = self.people.filter(pk=person_id).first()
        if row is None:
            raise Http404
        return etags.single(request, shown(row))

    @operation(
        "people_patch", "Give a person another role", body=shapes.RoleInput, answers={200: shapes.PersonShown},
        refusals=(409,), tagged=True, scope=_SCOPE, more="The last administrator stays one.",
    )  # fmt: skip
    def patch(self, request: Request, person_id: int) -> Response:
        given = shapes.RoleInput.read(request.data)
        with transaction.atomic():
            row = self._locked(person_id)
            changed = people.change_role(row, role=given["role"], by=None, actor=self.actor, at=timezone.now())
        return etags.single(request, shown(changed))

    @operation(
        "people_delete", "Remove a person from the organization", answers={204: None}, refusals=(409,), tagged=True,
        scope=_SCOPE, more="The account stays, without a place here. The last administrator cannot be removed.",
    )  # fmt: skip
    def delete(self, request: Request, person_id: int) -> Response:
        with transaction.atomic():
            people.remove(self._locked(person_id), by=None, actor=self.actor, at=timezone.now())
        return Response(status=204)

    def _locked(self, person_id: int) -> Membership:
        """The person of the path, held until the transaction ends, with the caller's conditions met."""
        # The organization first, as the verbs do: so no two requests wait for each other.
        people.lock(self.organization)
        row = self.people.select_for_update(of=("self",)).filter(pk=person_id).first()
        if row is None:
            raise Http404
        etags.check(self.request, lambda: shown(row))
        return row
