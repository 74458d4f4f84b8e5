"""Tokens: what proves that a beacon or report comes from somebody who got our answer for this phone.

A token is `base64url(time, tag)`: the second in which the answer was given (4 octets) and the first 10 octets of an
HMAC-SHA-256 over MAC and time. 80 bits cannot be guessed online; a token for one MAC says nothing about another.
"""

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from urllib.parse import quote

from onboarding.answers import Links
from onboarding.registration import PhoneQuery

# A phone that is put on a shelf after its answer and confirms later than this is hearsay.
LIFETIME_SECONDS = 30 * 24 * 3600
# Doors' clocks may differ by this much.
_LEEWAY_SECONDS = 300

_TIME_OCTETS, _TAG_OCTETS = 4, 10
# No phone has this MAC.
_NO_PHONE = bytes(6)
# 14 octets in base64url without padding.
_TEXT_LENGTH = 19


class Tokens:
    """Makes and checks tokens with one secret, the same on all doors of a service."""

    def __init__(self, secret_key: str) -> None:
        self._key = hashlib.sha256(b"redirect.tokens\0" + secret_key.encode()).digest()

    def make(self, mac: bytes, at: float) -> str:
        """The token for a phone (six octets) that is answered at `at` (epoch seconds)."""
        moment = int(at).to_bytes(_TIME_OCTETS, "big")
        return urlsafe_b64encode(moment + self._tag(mac, moment))[:_TEXT_LENGTH].decode()

    def answered_at(self, token: str, mac: bytes, at: float) -> int | None:
        """When the answer was given that this token proves (epoch seconds); None if it proves nothing."""
        if len(token) != _TEXT_LENGTH or not token.isascii():
            return None
        try:
            octets = urlsafe_b64decode(token + "=")
        except (binascii.Error, ValueError):
            return None
        moment, tag = octets[:_TIME_OCTETS], octets[_TIME_OCTETS:]
        if not hmac.compare_digest(tag, self._tag(mac, moment)):
            return None
        answered_at = int.from_bytes(moment, "big")
        if not answered_at - _LEEWAY_SECONDS <= at <= answered_at + LIFETIME_SECONDS:
            return None
        return answered_at

    def _tag(self, mac: bytes, moment: bytes) -> bytes:
        return hmac.digest(self._key, mac + moment, "sha256")[:_TAG_OCTETS]


class LinkMaker:
    """Makes the beacon and report URLs of one phone's answer, each with its token."""

    def __init__(self, tokens: Tokens, *, beacon_url: str, report_url: str) -> None:
        self._tokens, self._beacon_url, self._report_url = tokens, beacon_url, report_url

    def make(self, query: PhoneQuery, at: float, *, proving: bool = True) -> Links:
        """The links of the phone that is answered at `at` (epoch seconds).

        Without `proving` their token looks like any other and proves nothing.
        """
        said = f"?id={quote(':'.join(filter(None, (str(query.mac), query.serial, query.model))), safe=':')}"
        token = self._tokens.make(bytes(query.mac) if proving else _NO_PHONE, at)
        return Links(f"{self._beacon_url}{said}&t={token}", f"{self._report_url}{said}&t={token}")
