"""`/short-codes/`: enable, change, disable and list the short codes of profiles."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from onboarding import shortcodes
from onboarding.api import etags, pagination, shapes
from onboarding.api.fields import printed
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView
from onboarding.identifiers import ShortCode
from onboarding.models import ShortCode as ShortCodeRow
from onboarding.registry import ProfileNotYours


def shown(row: ShortCodeRow) -> dict[str, Any]:
    """A short code as partners see it."""
    return printed(shapes.ShortCodeShown, row)


class _View(PartnerView):
    keeps_to_profiles = True

    @property
    def codes(self) -> "QuerySet[ShortCodeRow]":
        """The short codes that the caller may see, disabled ones too."""
        return ShortCodeRow.objects.visible_to(self.partner.viewer)


class ShortCodes(_View):
    scopes = {"GET": "profiles:read"}

    @operation(
        "shortcodes_list", "List your short codes, newest first", answers={200: shapes.ShortCodeShown}, paged=True,
        query=shapes.ShortCodeQuery, scope="profiles:read",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = shapes.ShortCodeQuery.read(request.query_params)
        rows = self.codes
        if "enabled" in query:
            rows = rows.filter(disabled_at__isnull=query["enabled"])
        purpose = f"short-codes:{self.organization.pk}"
        return pagination.page(rows, by="-id", query=query, purpose=purpose, show=shown)


class OneShortCode(_View):
    scopes = {"GET": "profiles:read", "PUT": "profiles:write", "DELETE": "profiles:write"}

    @operation(
        "shortcodes_read", "Read a short code", answers={200: shapes.ShortCodeShown}, tagged=True,
        scope="profiles:read", more="Of one that was disabled and enabled again, its last life.",
    )  # fmt: skip
    def get(self, request: Request, digits: str) -> Response:
        row = self.codes.filter(code=ShortCode.from_digits(digits).digits).order_by("-id").first()
        if row is None:
            raise Http404
        return etags.single(request, shown(row))

    @operation(
        "shortcodes_put", "Enable a short code, or change what it gives", body=shapes.ShortCodeInput,
        answers={200: shapes.ShortCodeShown, 201: shapes.ShortCodeShown}, refusals=(409,), tagged=True,
        scope="profiles:write", missing=False,
        more="Phones can use it within a second. Optional fields that are absent are set to their defaults.",
    )  # fmt: skip
    def put(self, request: Request, digits: str) -> Response:
        code = ShortCode.from_digits(digits)
        given = shapes.ShortCodeInput.read(request.data)
        profile = self.profiles.filter(pk=given["profile"]).first()
        if profile is None:
            raise ProfileNotYours("There is no such profile.", field="profile")
        terms = shortcodes.Terms(
            profile=profile, valid_until=given.get("valid_until"), max_devices=given.get("max_devices")
        )
        with transaction.atomic():
            present = self.codes.select_for_update().filter(code=code.digits, disabled_at=None).first()
            etags.check(request, (lambda: shown(present)) if present else None)
            row, enabled = shortcodes.enable(
                actor=self.actor, organization=self.organization, code=code, terms=terms, at=timezone.now()
            )
            if self.limited and present is None and not enabled:
                # The organization's own, but of another profile. Raised in the transaction, so that nothing is changed.
                raise shortcodes.ShortCodeTaken(f"{code} cannot be had.", field="code")
        location = request.build_absolute_uri() if enabled else ""
        return etags.single(request, shown(row), status=201 if enabled else 200, location=location)

    @operation(
        "shortcodes_delete", "Disable a short code", answers={204: None}, tagged=True, scope="profiles:write",
        more="Its digits rest for 30 days before another organization can have them.",
    )  # fmt: skip
    def delete(self, request: Request, digits: str) -> Response:
        code = ShortCode.from_digits(digits)
        with transaction.atomic():
            row = self.codes.select_for_update().filter(code=code.digits, disabled_at=None).first()
            if row is None:
                raise Http404
            etags.check(request, lambda: shown(row))
            shortcodes.disable(actor=self.actor, row=row, at=timezone.now())
        return Response(status=204)
