"""Seal: how secrets that must be read again lie in the database, so that a stolen one gives none.

Fernet (AES-128-CBC, HMAC-SHA-256) under keys derived from CODE_KEYS, each purpose its own. The first key seals, all of
them open, so keys rotate by putting a new one in front.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from onboarding.errors import OnboardingError


class SealUnreadable(OnboardingError):
    """None of the present keys opens the seal."""

    code = "seal_broken"
    remedy = "Put the key that sealed it back into CODE_KEYS."


class Seal:
    """Seals for one purpose, as `activation.seal`. `keys` are texts of at least 32 characters."""

    def __init__(self, keys: Sequence[str], *, purpose: str) -> None:
        self._keys = MultiFernet([Fernet(base64.urlsafe_b64encode(derive(key, purpose))) for key in keys])

    def close(self, content: bytes) -> bytes:
        return self._keys.encrypt(content)

    def open(self, sealed: bytes) -> bytes:
        """Read what was sealed. Raises SealUnreadable."""
        try:
            return self._keys.decrypt(bytes(sealed))
        except InvalidToken as error:
            raise SealUnreadable("This cannot be opened with the present keys.") from error


def derive(key: str, purpose: str) -> bytes:
    """32 octets out of a key, others for each purpose."""
    return hmac.digest(hashlib.sha256(key.encode()).digest(), purpose.encode(), "sha256")
