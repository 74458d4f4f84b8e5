"""How long a short code lasts against somebody who tries all of them at the phones' door. Pure.

A door lets each source network make TRIES_AT_ONCE wrong tries at once and one more every SECONDS_A_TRY seconds, for
each of its processes. So a network makes at most PROCESSES * SECONDS_A_YEAR / SECONDS_A_TRY = 2.1 million wrong tries a
year, and of a space of 10^n values it finds one given code with the chance tries / 10^n: at 8 digits 2 % a year, at 3
digits within the first hours. What it finds is the address of a provisioning server, not what that server gives out.
"""

from dataclasses import dataclass

# Everybody in an office mistypes now and then, behind one address.
TRIES_AT_ONCE = 20
SECONDS_A_TRY = 30.0
# Web processes of one machine, each with a memory of its own.
PROCESSES = 2

_TRIES_A_DAY = PROCESSES * 24 * 3600 / SECONDS_A_TRY
# The chance that one network finds a given code within a year, at most, of a code of the suggested length.
_ACCEPTED_CHANCE = 0.1


@dataclass(frozen=True, slots=True)
class GuessSpace:
    """How many codes of this length there are, and in how many days one network could try them all."""

    values: int
    days_to_try_all: float


def space_of(length: int) -> GuessSpace:
    """The guess space of codes of this many digits."""
    return GuessSpace(10**length, round(10**length / _TRIES_A_DAY, 1))


def suggested_length() -> int:
    """The fewest digits at which the chance stays below what is accepted."""
    return next(n for n in range(3, 17) if 365 * _TRIES_A_DAY / 10**n <= _ACCEPTED_CHANCE)
