"""The zero-touch service as the phone sees it: whom it asks at first boot, and whom it reports to.

Query, answer and report as in the contract, section 3. That "nothing for you" is an empty file with status 200 is the
vendor's own (administration guide, state Unavailable).
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from virtualphone.identity import Identity

EDOS_PATH = "/software/edos/callhome/rc"
REPORT_PATH = "/software/edos/callhome/report"

DHCP_PROVISIONED = "dhcp_provisioned"
MANUALLY_PROVISIONED = "manually_provisioned"
FACTORY_RESET = "factory_reset"
RESYNC_FAILED = "resync_failed"


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service is. `base` is its URL without a path, as `https://activate.example.net`."""

    base: str
    edos_path: str = EDOS_PATH
    report_path: str = REPORT_PATH

    def query_url(self, identity: Identity) -> str:
        """The phone's question at first boot: whose am I?"""
        return self._url(self.edos_path, {"id": identity.triple, "sw": identity.firmware})

    def report_url(self, identity: Identity, event: str, token: str) -> str:
        """What became of the phone. Without the token, which only our answer contains, it is hearsay."""
        return self._url(self.report_path, {"id": identity.triple, "event": event, **({"t": token} if token else {})})

    def _url(self, path: str, query: dict[str, str]) -> str:
        return f"{self.base.rstrip('/')}{path}?{urlencode(query, quote_via=quote)}"


def token_of(beacon_url: str) -> str:
    """The token in the beacon URL that the service hands out as Profile_Rule_B; empty if it has none."""
    try:
        return parse_qs(urlsplit(beacon_url).query).get("t", [""])[-1]
    except ValueError:
        return ""
