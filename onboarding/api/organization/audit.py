"""`/audit/`: who changed what, newest first."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import AuditEntry
from onboarding.api import pagination
from onboarding.api.organization import shapes
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView


class Audit(PartnerView):
    scopes = {"GET": "audit:read"}

    @operation(
        "audit_list", "Read the audit, newest first", answers={200: shapes.EntryShown}, paged=True,
        query=shapes.AuditQuery, scope="audit:read",
        more="Bulk work has one entry; what became of its rows stands in the devices' timelines.",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = shapes.AuditQuery.read(request.query_params)
        rows = AuditEntry.objects.visible_to(self.partner.viewer)
        if "action" in query:
            rows = rows.filter(action=query["action"])
        if "since" in query:
            rows = rows.filter(at__gte=query["since"])
        return pagination.page(rows, by="-id", query=query, purpose=f"audit:{self.organization.pk}", show=_shown)


def _shown(entry: AuditEntry) -> dict[str, Any]:
    return dict(shapes.EntryShown(entry).data)
