"""`/devices/`: claim, change, read, list and release."""

from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.mandates import OutsideMandate
from onboarding import holding, registry
from onboarding.api import etags, pagination, shapes, takings
from onboarding.api.fields import printed
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import Device, RedirectProfile
from onboarding.registry import DeviceFields


def shown(device: Device) -> dict[str, Any]:
    """A device as partners see it."""
    return printed(shapes.DeviceShown, device)


class Devices(PartnerView):
    keeps_to_profiles = True
    scopes = {"GET": "devices:read"}

    @operation(
        "devices_list", "List your devices, by MAC", answers={200: shapes.DeviceShown}, paged=True,
        query=shapes.DeviceQuery, scope="devices:read",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = shapes.DeviceQuery.read(request.query_params)
        rows = _filtered(self.devices, query)
        return pagination.page(rows, by="mac", query=query, purpose=f"devices:{self.organization.pk}", show=shown)


class OneDevice(PartnerView):
    keeps_to_profiles = True
    scopes = {"GET": "devices:read", "PUT": "devices:write", "PATCH": "devices:write", "DELETE": "devices:write"}

    @operation("devices_read", "Read a device", answers={200: shapes.DeviceShown}, tagged=True, scope="devices:read")
    def get(self, request: Request, mac: str) -> Response:
        return etags.single(request, shown(self.device(mac)))

    @operation(
        "devices_put", "Claim a device, or set all fields of one of yours",
        body=shapes.DeviceInput, answers={201: shapes.DeviceShown, 200: shapes.DeviceShown}, refusals=(409,),
        tagged=True, scope="devices:write", missing=False,
        more="One atomic, idempotent step. Optional fields that are absent are set to their defaults. "
        "A device of another organization is refused with `device_taken`, a hundred times an hour at most.",
    )  # fmt: skip
    def put(self, request: Request, mac: str) -> Response:
        address = MacAddress.parse(mac)
        given = shapes.DeviceInput.read(request.data)
        with transaction.atomic():
            present = holding.hold(address, self.partner.viewer)
            etags.check(request, (lambda: shown(present)) if present else None)
            if present is None:
                takings.check(self.organization)
            device, claimed = registry.put(
                actor=self.actor,
                organization=self.organization,
                mac=address,
                values=self._values(given, DeviceFields(model=given["model"]), present),
                own=settings.OWN_ADDRESSES,
                at=timezone.now(),
                held=present,
            )
            if self.limited and present is None and not claimed:
                # The organization's own, but of another profile. Raised in the transaction, so that nothing is changed.
                raise registry.DeviceTaken(f"{address} is not among the mandate's devices.", field="mac")
        location = request.build_absolute_uri(f"../{address}/") if claimed else ""
        return etags.single(request, shown(device), status=201 if claimed else 200, location=location)

    @operation(
        "devices_patch", "Change some fields of a device", body=shapes.DeviceInput, answers={200: shapes.DeviceShown},
        refusals=(409,), tagged=True, scope="devices:write",
    )  # fmt: skip
    def patch(self, request: Request, mac: str) -> Response:
        given = shapes.DeviceInput.read(request.data, partial=True)
        with transaction.atomic():
            present = self._locked(mac)
            values = self._values(given, _values_of(present), present)
            device = registry.change(
                actor=self.actor, device=present, values=values, own=settings.OWN_ADDRESSES, at=timezone.now()
            )
        return etags.single(request, shown(device))

    @operation("devices_release", "Release a device", answers={204: None}, tagged=True, scope="devices:write")
    def delete(self, request: Request, mac: str) -> Response:
        with transaction.atomic():
            registry.release(actor=self.actor, device=self._locked(mac), at=timezone.now())
        return Response(status=204)

    def handle_exception(self, exc: Exception) -> Response:
        """Here, not in `put`: what was refused is undone first, and the note must stay."""
        if isinstance(exc, registry.DeviceTaken):
            try:
                mac = str(MacAddress.parse(self.kwargs["mac"]))
                takings.note([mac], actor=self.actor, organization=self.organization, at=timezone.now())
            except DatabaseError as error:
                exc = error
        return super().handle_exception(exc)

    def _locked(self, mac: str) -> Device:
        """The device of the path, held until the transaction ends, with the caller's conditions met."""
        device = holding.hold(MacAddress.parse(mac), self.partner.viewer)
        if device is None:
            raise Http404
        etags.check(self.request, lambda: shown(device))
        return device

    def _values(self, given: dict[str, Any], base: DeviceFields, present: Device | None) -> DeviceFields:
        """`base` with what was given; null and empty text both say: none."""
        values: dict[str, Any] = {name: value if value != "" else None for name, value in given.items()}
        values |= {name: values[name] or "" for name in ("label", "target") if name in values}
        if present is not None and present.profile_id is not None and values.get("profile") == present.profile_id:
            values["profile"] = present.profile
        elif values.get("profile") is not None:
            values["profile"] = self._profile(values["profile"])
        fields = replace(base, **values)
        if self.limited and fields.profile is None:
            raise OutsideMandate(
                "A device without a profile is none of the mandate's.",
                field="profile",
                remedy="Name one of the mandate's profiles.",
            )
        return fields

    def _profile(self, profile_id: int) -> RedirectProfile:
        profile = self.profiles.filter(pk=profile_id).first()
        if profile is None:
            raise registry.ProfileNotYours("There is no such profile.", field="profile")
        return profile


def _values_of(device: Device) -> DeviceFields:
    return DeviceFields(
        model=ModelName(device.model),
        serial=SerialNumber(device.serial) if device.serial else None,
        label=device.label,
        profile=device.profile,
        target=device.target,
        valid_from=device.valid_from,
        valid_until=device.valid_until,
    )


def _filtered(rows: "QuerySet[Device]", query: dict[str, Any]) -> "QuerySet[Device]":
    exactly = {"state": "state", "model": "model", "serial": "serial", "profile": "profile_id"}
    for name, column in exactly.items():
        if name in query:
            rows = rows.filter(**{column: query[name] if name == "profile" else str(query[name])})
    if "stalled" in query:
        rows = rows.filter(stalled_at__isnull=not query["stalled"])
    if "changed_after" in query:
        rows = rows.filter(changed_at__gt=query["changed_after"])
    return rows
