"""What a door may know: frozen values that the directory holds and the decision reads; nothing secret of owners."""

from enum import StrEnum
from typing import NamedTuple

from onboarding.identifiers import MacAddress
from trust.identity import Certified


class Confirm(StrEnum):
    """How the service learns that a phone acquired its profile."""

    CALLBACK = "callback"
    BEACON = "beacon"
    NONE = "none"


class UnprovenEvidence(StrEnum):
    """What nothing proves to be the phone's own may do.

    RECORD_ALL  queries, too, are recorded only, unless the phone showed a certificate
    RECORD      reports without a token are recorded only
    APPLY       everything moves the state
    """

    RECORD_ALL = "record_all"
    RECORD = "record"
    APPLY = "apply"


class IdentityDemand(StrEnum):
    """Whether a phone must show a manufacturer's certificate to be redirected."""

    REQUIRED = "required"
    PREFERRED = "preferred"
    NONE = "none"


class Profile(NamedTuple):
    """A redirect profile as the door needs it. `targets` in the order in which phones get them: failing ones last."""

    id: int
    organization_id: int
    enabled: bool
    targets: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    confirm: str
    identity: str
    match_model: bool
    accepts_expired: bool = False


class Registration(NamedTuple):
    """One phone's registration. Times are epoch seconds; empty text means not given."""

    device_id: int
    organization_id: int
    organization_suspended: bool
    model: str
    serial: str
    target: str
    valid_from: float | None
    valid_until: float | None
    profile: Profile | None


class PhoneQuery(NamedTuple):
    """What a phone said of itself when it asked; `certified` is the identity that its certificate proves, if any."""

    mac: MacAddress
    model: str = ""
    serial: str = ""
    firmware: str = ""
    certified: Certified | None = None
