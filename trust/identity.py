"""What a certificate says of a phone, and what that is worth. Values only: nothing here reads a certificate.

Subject     what stands in the certificate: MAC, serial number, model, whoever signed it
Shown       a certificate that a phone showed, and the verdict on it
Certified   the identity that a good one proves; without a MAC it proves none
Proof       how it is known that a query or a report is this phone's own
"""

from enum import StrEnum
from typing import NamedTuple

from onboarding.identifiers import MacAddress


class Verdict(StrEnum):
    """What came of checking a certificate."""

    VALID = "valid"
    # Everything is in order but the time: common on phones ten years old, so it is told apart.
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    REVOKED = "revoked"
    # No authority that the operator has loaded vouches for it.
    UNTRUSTED = "untrusted"
    WEAK_KEY = "weak_key"
    UNREADABLE = "unreadable"


class Proof(StrEnum):
    """How it is known that a phone is the one that it says it is."""

    NONE = "none"
    EXPIRED = "expired"
    TOKEN = "token"  # noqa: S105  (a word, no secret)
    CERTIFICATE = "certificate"


class Subject(NamedTuple):
    """Whom a certificate names. `mac` is None in a generic one, which a whole model line shares; texts may be ""."""

    mac: MacAddress | None
    serial: str
    model: str

    @property
    def is_generic(self) -> bool:
        """Whether it names no single phone, and so identifies none."""
        return self.mac is None


class Certified(NamedTuple):
    """The identity that a phone's certificate proves. `weak`: only by signatures that are out of use (SHA-1)."""

    mac: MacAddress
    serial: str = ""
    model: str = ""
    expired: bool = False
    weak: bool = False
    fingerprint: str = ""

    def is_of(self, mac: MacAddress, model: str) -> bool:
        """Whether it is the certificate of the phone with this MAC and, where both are known, of this model."""
        return self.mac == mac and _is_same_model(self.model, model)


class Shown(NamedTuple):
    """A certificate that a phone showed. It holds from `since` to `until` (epoch seconds): then it is checked anew.

    `fingerprint` is the SHA-256 of the certificate (DER), hexadecimal.
    """

    fingerprint: str
    verdict: Verdict
    subject: Subject
    weak: bool = False
    since: float = float("-inf")
    until: float = float("inf")
    certified: Certified | None = None


def proof(mac: MacAddress, certified: Certified | None, *, token: bool = False) -> Proof:
    """The best that shows that a request is of the phone with this MAC. Another phone's certificate shows nothing."""
    own = certified is not None and certified.mac == mac
    if own and certified is not None and not certified.expired:
        return Proof.CERTIFICATE
    if token:
        return Proof.TOKEN
    return Proof.EXPIRED if own else Proof.NONE


def _is_same_model(one: str, other: str) -> bool:
    """Certificates of the same phone say `CP-8861`, `CP-8861-3PCC` or `CP-8861-3PCC-K9`: the shorter begins the other.

    Which it is depends on model and year, and is not documented (protocol 4.1). An unknown model contradicts nothing.
    """
    short, long = sorted((one, other), key=len)
    return not short or long == short or long.startswith(f"{short}-")
