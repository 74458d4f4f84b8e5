"""`/devices/validate/`: would these rows be accepted? Changes nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from onboarding import registry
from onboarding.api import shapes, takings
from onboarding.api.schema import operation
from onboarding.api.views import PartnerView
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ModelName, SerialNumber


class Validate(PartnerView):
    keeps_to_profiles = True
    # Whether a MAC is taken is what a claim would tell, so it takes the scope of a claim.
    scopes = {"POST": "devices:write"}

    @operation(
        "devices_validate", "Check up to 1,000 rows without changing anything", body=shapes.ValidateInput,
        answers={200: shapes.Validated}, scope="devices:write",
        more="`duplicate` stands for every further row with a MAC that an earlier row has. PUT needs a model; a row "
        "without one is checked for the rest. Devices that are `taken` are told of a hundred times an hour; after the "
        "request that goes beyond, nothing is told until the hour is over.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        given = shapes.ValidateInput.read(request.data)
        takings.check(self.organization)
        results = _judged(given["rows"], self._owned)
        if taken := list(dict.fromkeys(result["mac"] for result in results if result["status"] == "taken")):
            takings.note(taken, actor=self.actor, organization=self.organization, at=timezone.now())
        return Response({"results": results})

    def _owned(self, macs: set[MacAddress]) -> dict[MacAddress, bool]:
        """Which of these are claimed, and whether the caller may change them."""
        owned = registry.owned(macs, self.organization)
        if not self.limited:
            return owned
        mine = set(self.devices.filter(mac__in=[str(mac) for mac in owned]).values_list("mac", flat=True))
        return {mac: str(mac) in mine for mac in owned}


def _judged(
    rows: Sequence[Mapping[str, object]], find_owned: Callable[[set[MacAddress]], dict[MacAddress, bool]]
) -> list[dict[str, Any]]:
    """One result a row, in order."""
    read = [_read(row) for row in rows]
    owned = find_owned({mac for mac in read if isinstance(mac, MacAddress)})
    met: set[MacAddress] = set()
    results = []
    for number, (row, mac) in enumerate(zip(rows, read, strict=True), start=1):
        if isinstance(mac, str):
            given = row.get("mac", "")
            shown, status, detail = given[:64] if isinstance(given, str) else "", "invalid", mac
        else:
            standing = {None: "available", True: "yours", False: "taken"}[owned.get(mac)]
            shown, status, detail = str(mac), "duplicate" if mac in met else standing, ""
            met.add(mac)
        results.append({"row": number, "mac": shown, "status": status, "detail": detail})
    return results


_PARSERS = {"mac": MacAddress.parse, "model": ModelName.parse, "serial": SerialNumber.parse}


def _read(row: Mapping[str, object]) -> MacAddress | str:
    """The row's MAC if all of the row is right, or else the sentence that says what is wrong."""
    if unknown := [name for name in row if name not in _PARSERS]:
        return f"Unknown field {unknown[0][:64]!r}; a row has mac, model and serial."
    # Serial and model may be missing; a MAC must be there.
    given = {"mac": ""} | {name: value for name, value in row.items() if value not in ("", None)}
    values = {}
    for name, value in given.items():
        if not isinstance(value, str):
            return f"{name} is not a text."
        try:
            values[name] = _PARSERS[name](value)
        except OnboardingError as error:
            return error.detail
    mac = values["mac"]
    assert isinstance(mac, MacAddress)
    return mac
