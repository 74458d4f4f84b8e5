"""`/explain/`: what a phone would be answered now, and why. The decision is the door's own."""

from typing import Any

from django.conf import settings
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from onboarding import answers, registrations, targethealth
from onboarding.answers import REDIRECTED, Answer, Links
from onboarding.api import shapes
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView
from onboarding.identifiers import MacAddress
from onboarding.registration import PhoneQuery
from trust.identity import Certified


class Explain(PartnerView):
    keeps_to_profiles = True
    scopes = {"GET": "devices:read"}

    @operation(
        "explain", "What would this phone be answered now, and why?", answers={200: shapes.Explanation},
        query=shapes.ExplainQuery, scope="devices:read",
        more="A device of another organization is explained like one that nobody has registered.",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        said = shapes.ExplainQuery.read(request.query_params)
        mac = said["mac"]
        query = PhoneQuery(
            mac=mac,
            model=str(said.get("model", "")),
            serial=str(said.get("serial", "")),
            firmware=said.get("firmware", ""),
            certified=_certified(said),
        )
        registration = registrations.for_mac(mac, among=self.devices)
        return Response(explanation(mac, answers.decide(query, registration, timezone.now().timestamp())))


def _certified(said: dict[str, Any]) -> Certified | None:
    """The identity that the phone's certificate would prove."""
    mac = said.get("certified_mac")
    if mac is None:
        return None
    expired = said.get("certificate_expired", False)
    return Certified(mac, model=str(said.get("certified_model", "")), expired=expired)


def explanation(mac: MacAddress, answer: Answer) -> dict[str, Any]:
    """An answer as partners see it."""
    return {
        "outcome": answer.outcome,
        "tried": [{"rule": rule, "result": result} for rule, result in answer.tried],
        "answer": _given(mac, answer) if answer.outcome == REDIRECTED else None,
        "remedy": answer.remedy,
    }


def _given(mac: MacAddress, answer: Answer) -> dict[str, Any]:
    return {
        "target": answer.target,
        "profile": answer.profile.id if answer.profile else None,
        "skipped": _skipped(answer),
        "flat_profile": answers.document(answer, lambda: _links(mac)).decode(),
    }


def _skipped(answer: Answer) -> list[dict[str, str]]:
    rows = targethealth.skipped(answer.profile.id, answer.target) if answer.profile else []
    return [{"target": row.target, "detail": targethealth.said(row)} for row in rows]


def _links(mac: MacAddress) -> Links:
    """The phone's URLs without their tokens: an explanation must not be able to speak for the phone."""
    base, door = settings.PUBLIC_URL, settings.DOOR
    return Links(beacon=f"{base}{door.beacon_path}?id={mac}", report=f"{base}{door.report_path}?id={mac}")
