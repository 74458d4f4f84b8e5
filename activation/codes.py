"""ActivationCode: 16 digits, of which 15 are random and the last one checks them.

The check digit is Damm's (H. M. Damm, 2004): it catches every single wrong digit and every swap of neighbours, so a
slip of the finger is told from a guess, and costs its user no attempt.

How often guessing hits. A guess that passes the check digit hits one of `active` codes with probability
active / 10^15, so in a year of guesses at the most that `limits` lets through in the whole service,

    hits a year = guesses a second · 31,557,600 s · active / 10^15

Ten to the fifth active codes and at most 10^-3 hits a year allow 0.317 guesses a second; `guesses_allowed` computes it,
and a test holds the limits against it. Limits for each phone or network alone would not do: an attacker may hit
anybody's code from anywhere. Sources: seed, "Onboard Your Phone with the Activation Code" (16 digits, typed once);
NIST SP 800-63B asks for rate limits below 64 bits, and these are 49.8.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Self

from onboarding.errors import OnboardingError

LENGTH = 16
RANDOM_DIGITS = LENGTH - 1
SPACE: int = 10**RANDOM_DIGITS
SECONDS_A_YEAR = 31_557_600

# What people and spreadsheets put between the groups.
_SEPARATORS = str.maketrans("", "", " -\u00a0")
_MAX_TEXT_LENGTH = 40
_DIGITS = re.compile(r"[0-9]{16}")

# A quasigroup without fixed points and totally anti-symmetric: what Damm's proof asks for.
_DAMM = (
    (0, 3, 1, 7, 5, 9, 8, 6, 4, 2),
    (7, 0, 9, 2, 1, 5, 4, 8, 6, 3),
    (4, 2, 0, 6, 8, 7, 1, 3, 5, 9),
    (1, 7, 5, 0, 9, 8, 3, 4, 2, 6),
    (6, 1, 2, 3, 0, 4, 5, 9, 7, 8),
    (3, 6, 7, 4, 2, 0, 9, 5, 8, 1),
    (5, 8, 6, 9, 7, 2, 0, 1, 3, 4),
    (8, 9, 4, 5, 3, 6, 2, 0, 1, 7),
    (9, 4, 3, 8, 6, 1, 7, 2, 0, 5),
    (2, 5, 8, 1, 4, 3, 6, 7, 9, 0),
)


class MistypedCode(OnboardingError):
    """The text is not an activation code: not 16 digits, or the check digit does not fit."""

    code = "mistyped_activation_code"
    remedy = "Type the 16 digits again, as they stand on the label. A short code begins with #."


@dataclass(frozen=True, slots=True)
class ActivationCode:
    """A well-formed code; whether it is anybody's, only the registry knows. Never print or log it: it is a secret."""

    digits: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read 16 digits, grouped or not. Raises MistypedCode."""
        digits = text[: _MAX_TEXT_LENGTH + 1].translate(_SEPARATORS)
        if len(text) > _MAX_TEXT_LENGTH or not _DIGITS.fullmatch(digits):
            raise MistypedCode("An activation code has 16 digits.", field="code")
        if _damm(digits) != 0:
            raise MistypedCode("One of the digits is wrong, or two are swapped.", field="code")
        return cls(digits)

    @classmethod
    def random(cls) -> Self:
        """A new code from the system's secure source."""
        digits = f"{secrets.randbelow(SPACE):0{RANDOM_DIGITS}}"
        return cls(digits + str(_damm(digits)))

    @property
    def grouped(self) -> str:
        """The form for people: `1234 5678 9012 3456`."""
        return " ".join(self.digits[start : start + 4] for start in range(0, LENGTH, 4))

    def __str__(self) -> str:
        return self.digits

    def __repr__(self) -> str:
        return "ActivationCode(…)"


def _damm(digits: str) -> int:
    interim = 0
    for digit in digits:
        interim = _DAMM[interim][ord(digit) - 48]
    return interim


def hits_a_year(*, guesses_a_second: float, active: int) -> float:
    """How many of `active` codes a year of guessing finds on average."""
    return guesses_a_second * SECONDS_A_YEAR * active / SPACE


def guesses_allowed(*, active: int, hits: float = 1e-3) -> float:
    """How many wrong guesses a second the whole service may let through for at most `hits` hits a year."""
    return hits * SPACE / (SECONDS_A_YEAR * active)
