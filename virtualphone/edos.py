"""The zero-touch service as the phone sees it: whom it asks at first boot or with a code, and whom it reports to.

Query, answer and report as in the contract, section 3. That "nothing for you" is an empty file with status 200 is the
vendor's own (administration guide, state Unavailable).
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from virtualphone.identity import Identity

EDOS_PATH = "/software/edos/callhome/rc"
SHORT_CODE_PATH = "/software/edos/callhome/cda"
ACTIVATION_PATH = "/gds/activate"
REPORT_PATH = "/software/edos/callhome/report"

DHCP_PROVISIONED = "dhcp_provisioned"
MANUALLY_PROVISIONED = "manually_provisioned"
FACTORY_RESET = "factory_reset"
RESYNC_FAILED = "resync_failed"


@dataclass(frozen=True, slots=True)
class Question:
    """One request to the service, whose answer may name the provider. `what` is the name it is told under."""

    what: str
    url: str
    post: bytes | None = None
    content_type: str = ""

    @property
    def method(self) -> str:
        return "GET" if self.post is None else "POST"


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service is. `base` is its URL without a path, as `https://activate.example.net`."""

    base: str
    edos_path: str = EDOS_PATH
    report_path: str = REPORT_PATH
    short_code_path: str = SHORT_CODE_PATH
    activation_path: str = ACTIVATION_PATH

    def query(self, identity: Identity) -> Question:
        """The phone's question at first boot: whose am I?"""
        return Question("EDOS", self._url(self.edos_path, {"id": identity.triple, "sw": identity.firmware}))

    def short_code_url(self, identity: Identity, digits: str) -> str:
        """The question of a phone at which `#` and these digits were typed."""
        query = {"code": f"#{digits}", "id": identity.triple, "sw": identity.firmware}
        return self._url(self.short_code_path, query)

    @property
    def activation_url(self) -> str:
        """Where activation codes are posted to."""
        return f"{self.base.rstrip('/')}{self.activation_path}"

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
