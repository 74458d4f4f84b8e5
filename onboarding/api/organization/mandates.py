"""`/mandates/`: who may act for this organization, and for whom it may act."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import mandates
from accounts.models import Mandate
from onboarding.api import etags, pagination
from onboarding.api.organization import shapes
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView

_SCOPE = "organization:admin"


def shown(row: Mandate) -> dict[str, Any]:
    """A mandate as both sides see it."""
    return dict(shapes.MandateShown(row).data)


class _View(PartnerView):
    @property
    def mandates(self) -> "QuerySet[Mandate]":
        """The mandates that the caller's organization has given or holds."""
        return Mandate.objects.visible_to(self.partner.viewer).select_related("provider", "partner")


class Mandates(_View):
    scopes = {"GET": _SCOPE, "POST": _SCOPE}

    @operation(
        "mandates_list", "List the mandates that you have given or hold, newest first",
        answers={200: shapes.MandateShown}, paged=True, query=shapes.MandateQuery, scope=_SCOPE,
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = shapes.MandateQuery.read(request.query_params)
        rows = self.mandates
        if "in_force" in query:
            rows = rows.filter(withdrawn_at__isnull=query["in_force"])
        purpose = f"mandates:{self.organization.pk}"
        return pagination.page(rows, by="-id", query=query, purpose=purpose, show=shown)

    @operation(
        "mandates_create", "Let a partner act for you", body=shapes.MandateInput, answers={201: shapes.MandateShown},
        refusals=(409,), tagged=True, scope=_SCOPE, missing=False,
        more="Keys of the partner act for you with the header `On-Behalf-Of`, within these scopes and profiles. "
        "`organization:admin` cannot be given, nor a scope that the calling key lacks.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        given = shapes.MandateInput.read(request.data)
        row = mandates.give(
            actor=self.actor, provider=self.organization, partner=mandates.partner(partner_id=given["partner"]),
            scopes=given["scopes"], profile_ids=given.get("profiles", ()), note=given.get("note", ""),
            at=timezone.now(), held=self.partner.scopes,
        )  # fmt: skip
        return etags.single(request, shown(row), status=201, location=request.build_absolute_uri(f"{row.pk}/"))


class OneMandate(_View):
    scopes = {"GET": _SCOPE, "DELETE": _SCOPE}

    @operation("mandates_read", "Read a mandate", answers={200: shapes.MandateShown}, tagged=True, scope=_SCOPE)
    def get(self, request: Request, mandate_id: int) -> Response:
        row = self.mandates.filter(pk=mandate_id).first()
        if row is None:
            raise Http404
        return etags.single(request, shown(row))

    @operation(
        "mandates_delete", "Withdraw a mandate that you have given", answers={204: None}, refusals=(403,), tagged=True,
        scope=_SCOPE, more="From the next request on. It stays in the list as withdrawn.",
    )  # fmt: skip
    def delete(self, request: Request, mandate_id: int) -> Response:
        with transaction.atomic():
            row = self.mandates.select_for_update(of=("self",)).filter(pk=mandate_id).first()
            if row is None:
                raise Http404
            if row.provider_id != self.organization.pk:
                raise mandates.NotTheProvider("Only the organization that gave a mandate can withdraw it.")
            etags.check(request, lambda: shown(row))
            mandates.withdraw(row, actor=self.actor, at=timezone.now())
        return Response(status=204)
