"""Vault: how activation codes are kept, so that a stolen database gives none.

Each code leaves two things in its row: a lookup, an HMAC-SHA-256 under a key that is not in the database, and a seal,
which an authorized person may open to read it again. Both are made with the first of CODE_KEYS; all of them open, so
keys rotate by putting a new one in front and re-sealing. (A salted password hash cannot be looked up by code; with the
key outside the database, nothing can be tried offline. OWASP ASVS 6.5.2 is deviated from on purpose.)
"""

import hmac
from collections.abc import Sequence

from accounts.seals import Seal, SealUnreadable, derive
from activation.codes import ActivationCode
from onboarding.errors import OnboardingError


class SealBroken(OnboardingError):
    """None of the present keys opens the seal."""

    code = "seal_broken"
    remedy = "Put the key that sealed it back into CODE_KEYS, or issue a new code."


class Vault:
    """Seals with the first key, opens with all. Keys are texts of at least 32 characters."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._lookup_keys = [derive(key, "activation.lookup") for key in keys]
        self._seal = Seal(keys, purpose="activation.seal")

    def lookup(self, code: ActivationCode) -> str:
        """What the code is found by, under the first key."""
        return self._under(self._lookup_keys[0], code)

    def lookups(self, code: ActivationCode) -> list[str]:
        """What it may have been stored by, under every key."""
        return [self._under(key, code) for key in self._lookup_keys]

    def seal(self, code: ActivationCode) -> bytes:
        return self._seal.close(code.digits.encode())

    def open(self, seal: bytes) -> ActivationCode:
        """Read a sealed code. Raises SealBroken."""
        try:
            return ActivationCode(self._seal.open(seal).decode())
        except SealUnreadable as error:
            raise SealBroken("The code cannot be opened with the present keys.") from error

    @staticmethod
    def _under(key: bytes, code: ActivationCode) -> str:
        return hmac.digest(key, code.digits.encode(), "sha256").hex()
