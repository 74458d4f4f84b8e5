"""`/events/`: the feed."""

from django.core import signing
from rest_framework.request import Request
from rest_framework.response import Response

from events import feed
from events.api import shapes
from onboarding.api.pagination import InvalidCursor
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView


class Events(PartnerView):
    scopes = {"GET": "events:read"}

    @operation(
        "events_list", "Read what happened, in order", answers={200: shapes.EventPage}, query=shapes.EventQuery,
        refusals=(410,), scope="events:read",
        more="Nothing is skipped and nothing comes twice. Go on with `after={next}`, also from an empty page. A page "
        "may hold fewer events than `limit` although more follow. Events are kept for 30 days, unless the operator "
        "chose otherwise; a cursor older than that is answered 410.",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = shapes.EventQuery.read(request.query_params)
        signer = signing.Signer(salt=f"cursor:events:{self.organization.pk}")
        found = feed.page(
            self.partner.viewer,
            after=_opened(signer, query["after"]) if "after" in query else None,
            limit=query["limit"],
            types=frozenset({query["type"]} if "type" in query else ()),
        )
        results = [shapes.EventShown(event).data for event in found.events]
        return Response({"results": results, "next": signer.sign_object(found.next)})


def _opened(signer: signing.Signer, cursor: str) -> int:
    try:
        return int(signer.unsign_object(cursor))
    except (signing.BadSignature, ValueError) as error:
        raise InvalidCursor(
            "The cursor was not given out by this feed.", field="after", remedy="Begin again without `after`."
        ) from error
