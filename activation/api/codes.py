"""`/activation-codes/`: issue, list, read, reveal and revoke."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from activation import issuing
from activation.api import shapes
from activation.codes import ActivationCode
from activation.models import IssuedCode
from activation.status import CodeStatus
from activation.vault import Vault
from onboarding.api import etags, pagination
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView
from onboarding.registry import ProfileNotYours

# Answers with digits are kept by nobody on the way.
_SECRET = {"Cache-Control": "no-store"}


def shown(row: IssuedCode, *, at: datetime) -> dict[str, Any]:
    """A code as partners see it, without its digits."""
    return dict(shapes.CodeShown(row, context={"at": at}).data)


def with_digits(row: IssuedCode, code: ActivationCode, *, at: datetime) -> dict[str, Any]:
    return shown(row, at=at) | {"code": code.digits, "grouped": code.grouped}


class CodeView(PartnerView):
    keeps_to_profiles = True

    @property
    def codes(self) -> "QuerySet[IssuedCode]":
        """The codes that the caller may see."""
        return IssuedCode.objects.visible_to(self.partner.viewer)

    def code(self, code_id: int, *, locked: bool = False) -> IssuedCode:
        """The code of the path. Raises Http404 for foreign ones too."""
        rows = self.codes.select_for_update() if locked else self.codes
        row = rows.filter(pk=code_id).first()
        if row is None:
            raise Http404
        return row


class Codes(CodeView):
    scopes = {"GET": "codes:read", "POST": "codes:issue"}

    @operation(
        "codes_list", "List your activation codes, newest first, without digits", answers={200: shapes.CodeShown},
        paged=True, query=shapes.CodeQuery, scope="codes:read",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = shapes.CodeQuery.read(request.query_params)
        at = timezone.now()
        rows = self.codes
        if "status" in query:
            rows = rows.with_status(CodeStatus(query["status"]), at=at)  # type: ignore[attr-defined]
        if "profile" in query:
            rows = rows.filter(profile_id=query["profile"])
        if "batch" in query:
            rows = rows.filter(batch=query["batch"])
        if "device" in query:
            # Said twice, so that the databases know that their index of the redeemed ones will do.
            rows = rows.exclude(redeemed_mac="").filter(redeemed_mac=str(query["device"]))
        return pagination.page(
            rows, by="-id", query=query, purpose=f"codes:{self.organization.pk}", show=lambda row: shown(row, at=at)
        )

    @operation(
        "codes_issue", "Issue activation codes", body=shapes.CodeInput, answers={201: shapes.CodesIssued},
        scope="codes:issue",
        more="All or none. The digits are in this answer; later only `reveal` shows them again.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        given = shapes.CodeInput.read(request.data)
        at = timezone.now()
        values = {name: value for name, value in given.items() if value is not None}
        if "expires_in_hours" in values:
            values["lifetime"] = timedelta(hours=values.pop("expires_in_hours"))
        profile = self.profiles.filter(pk=values.pop("profile")).first()
        if profile is None:
            raise ProfileNotYours("There is no such profile.", field="profile")
        issued = issuing.issue(
            actor=self.actor, organization=self.organization, profile=profile, at=at,
            vault=Vault(settings.CODE_KEYS), **values,
        )  # fmt: skip
        location = request.build_absolute_uri(f"?batch={issued[0][0].batch}")
        results = [with_digits(row, code, at=at) for row, code in issued]
        return Response({"results": results}, status=201, headers=_SECRET | {"Location": location})


class OneCode(CodeView):
    scopes = {"GET": "codes:read", "DELETE": "codes:issue"}

    @operation(
        "codes_read", "Read an activation code, without digits", answers={200: shapes.CodeShown}, tagged=True,
        scope="codes:read",
    )  # fmt: skip
    def get(self, request: Request, code_id: int) -> Response:
        return etags.single(request, shown(self.code(code_id), at=timezone.now()))

    @operation(
        "codes_delete", "Revoke an activation code", answers={204: None}, tagged=True, scope="codes:issue",
        more="It stays in the list as revoked. A phone that has redeemed it keeps what it was given.",
    )  # fmt: skip
    def delete(self, request: Request, code_id: int) -> Response:
        with transaction.atomic():
            row, at = self.code(code_id, locked=True), timezone.now()
            etags.check(request, lambda: shown(row, at=at))
            issuing.revoke(actor=self.actor, code=row, at=at)
        return Response(status=204)


class Revoke(CodeView):
    scopes = {"POST": "codes:issue"}

    @operation(
        "codes_revoke", "Revoke an activation code, and see it", answers={200: shapes.CodeShown}, missing=True,
        scope="codes:issue", more="Revoking it again changes nothing.",
    )  # fmt: skip
    def post(self, request: Request, code_id: int) -> Response:
        at = timezone.now()
        return Response(shown(issuing.revoke(actor=self.actor, code=self.code(code_id), at=at), at=at))


class Reveal(CodeView):
    scopes = {"POST": "codes:reveal"}

    @operation(
        "codes_reveal", "Read the digits of an activation code again", answers={200: shapes.CodeWithDigits},
        refusals=(409,), missing=True, scope="codes:reveal",
        more="Each reading is written down with the key that read. Codes that are not `issued` any more are refused.",
    )  # fmt: skip
    def post(self, request: Request, code_id: int) -> Response:
        at = timezone.now()
        ((row, code),) = issuing.reveal(
            actor=self.actor, codes=[self.code(code_id)], at=at, vault=Vault(settings.CODE_KEYS)
        )
        return Response(with_digits(row, code, at=at), headers=_SECRET)
