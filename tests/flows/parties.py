"""Who takes part in a flow beside the service: the provider with its API key, and phones."""

from typing import Any

from onboarding.models import RedirectProfile
from tests import factories
from tests.service import Service, all_applied, wait_until
from virtualphone import edos
from virtualphone.identity import Identity
from virtualphone.outcomes import Outcome
from virtualphone.phone import Circumstances, VirtualPhone
from virtualphone.provider import SampleProvider

MODEL = "CP-8841-3PCC"
MAC = "00562B5A0001"


class Provider:
    """A provider at the API. Made after its profile, and never anything but HTTP from then on."""

    def __init__(self, service: Service, profile: RedirectProfile) -> None:
        self._service, self.profile = service, profile
        self._key = factories.make_key(organization=profile.organization)[1]

    def issue(self, count: int = 1, **values: object) -> list[dict[str, str]]:
        status, answer = self("POST", "activation-codes/", {"profile": self.profile.pk, "count": count, **values})
        assert status == 201, answer
        issued: list[dict[str, str]] = answer["results"]
        return issued

    def __call__(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        return self._service.partner(self._key, method, path, body)

    def code(self, code_id: object) -> dict:
        return self("GET", f"activation-codes/{code_id}/")[1]

    def device(self, mac: str = MAC) -> dict:
        status, answer = self("GET", f"devices/{mac}/")
        assert status == 200, answer
        return answer

    def events(self, mac: str = MAC) -> list[tuple[str, str]]:
        """Event and source of what counted in a device's timeline, oldest first, claims left out."""
        rows = self("GET", f"devices/{mac}/timeline/")[1]["results"]
        counted = [row for row in reversed(rows) if not row["refused"] and row["event"] != "claimed"]
        return [(row["event"], row["source"]) for row in counted]


def make_profile(server: SampleProvider) -> RedirectProfile:
    """A profile that leads to this provisioning server and asks for the beacon."""
    return factories.make_profile(targets=[f"{server.url}/$MA.xml"], confirm="beacon")


def phone(service: Service, mac: str = MAC, **around: Any) -> VirtualPhone:
    """A phone out of the box; keywords are its circumstances. It waits a hundredth of what it should."""
    circumstances = Circumstances(**{"max_retries": 3, "retry_scale": 0.01} | around)
    return VirtualPhone(Identity.parse(mac, MODEL), edos.Service(service.url), circumstances=circumstances)


def kind(outcome: Outcome) -> str:
    """What the phone gave up on; empty if on nothing."""
    return outcome.failure.kind if outcome.failure else ""


def applied(service: Service) -> None:
    """Wait until all that was observed so far is in the history."""
    wait_until(lambda: all_applied(service), seconds=60, what="applying everything")
