"""Sealing: how signing secrets are kept, so that a stolen database gives none.

Sealed with the first of CODE_KEYS, opened with all, as activation codes are, but under keys derived for this purpose.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from onboarding.errors import OnboardingError


class SealBroken(OnboardingError):
    """None of the present keys opens the seal."""

    code = "seal_broken"
    remedy = "Put the key that sealed it back into CODE_KEYS, or rotate the webhook's secret."


class Seal:
    """Seals texts with the first key, opens with all. Keys are texts of at least 32 characters."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._seals = MultiFernet([Fernet(base64.urlsafe_b64encode(_derive(key))) for key in keys])

    def close(self, text: str) -> bytes:
        return self._seals.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """Raises SealBroken."""
        try:
            return self._seals.decrypt(bytes(sealed)).decode()
        except InvalidToken as error:
            raise SealBroken("The webhook's secret cannot be opened with the present keys.") from error


def _derive(key: str) -> bytes:
    return hmac.digest(hashlib.sha256(key.encode()).digest(), b"events.webhook-secret", "sha256")
