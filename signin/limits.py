"""How many wrong passwords and wrong codes are let through, for whom, and why nobody can lock somebody else out.

Only wrong attempts count (`pacing`: taken before the check, given back when it was right). What is counted:

    NETWORK    everything from one source network (an IPv4 address, an IPv6 /48)     50, then one every 30 s
    PLACE      one user name from one network                                        10, then one every 5 min
    NAME       one user name from everywhere                                        100, then one every 15 min
    DEVICE     one browser that this person signed in with before                    10, then one every 5 min
    CODE       second factors of one person, after the right password                10, then one an hour
    DEVICE_CODE the same, from a browser that this person signed in with before      10, then one an hour
    CONFIRM    the password asked again of somebody who is signed in                 10, then one every 5 min

A browser that completed a sign-in holds a signed cookie with the person's name and a random id, for half a year
(OWASP's "device cookies"). For that name it has limits of its own, and none of the others is asked. So:

- Guessing from one place closes that place for that name; the person gets in from any other network.
- Guessing from everywhere (a botnet) closes NAME for every browser that is not known: as long as it lasts, the person
  gets in with any browser used before, with a passkey (nothing to guess, so not counted against a name), or with a
  one-time link to choose a new password, which makes the browser that opens it a known one.
- Whoever guesses codes must know the password already; the person is told at the next sign-in. Known browsers and
  passkeys stay open.

What it leaves a guesser: 35,000 passwords a year for one name over all networks, and 8,800 codes a year for one person
whose password is known. A code of six digits, of which three are good at a time, is then hit with a chance of 2.6 % a
year, ten recovery codes of eight digits with 0.09 %.

Names are counted as they are typed, known or not, so a closed limit tells nothing about who exists. The rows this makes
are bounded by NETWORK and pruned.
"""

import hashlib
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import timedelta

from django.core import signing

from accounts.pacing import Attempt, Limit

NETWORK = Limit("signin-network", burst=50, seconds=30.0)
PLACE = Limit("signin-place", burst=10, seconds=300.0)
NAME = Limit("signin-name", burst=100, seconds=900.0)
DEVICE = Limit("signin-device", burst=10, seconds=300.0)
CODE = Limit("signin-code", burst=10, seconds=3600.0)
DEVICE_CODE = Limit("signin-device-code", burst=10, seconds=3600.0)
CONFIRM = Limit("signin-confirm", burst=10, seconds=300.0)

DEVICE_KNOWN = timedelta(days=180)
_SALT = "signin.device"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a sign-in comes from: the address, its network, and the device cookie as it was sent."""

    address: str
    network: str
    device: str = ""


def device_cookie(username: str) -> str:
    """A new one for a browser that just completed a sign-in."""
    return signing.dumps([_subject(username), secrets.token_urlsafe(12)], salt=_SALT)


def for_password(username: str, source: Source) -> list[Attempt]:
    """What a password for this name takes."""
    device = _device(username, source)
    if device:
        return [Attempt(DEVICE, device)]
    name = _subject(username)
    return [Attempt(NETWORK, source.network), Attempt(PLACE, f"{name}@{source.network}"), Attempt(NAME, name)]


def for_code(user_id: int, username: str, source: Source) -> list[Attempt]:
    """What a code takes, after the right password."""
    device = _device(username, source)
    return [Attempt(DEVICE_CODE, device) if device else Attempt(CODE, str(user_id))]


def for_passkey(source: Source) -> list[Attempt]:
    """What a passkey takes: there is nothing to guess, but it costs us work."""
    return [Attempt(NETWORK, source.network)]


def for_confirming(user_id: int) -> list[Attempt]:
    return [Attempt(CONFIRM, str(user_id))]


def _subject(username: str) -> str:
    """One subject for all ways to write a name, of bounded length."""
    folded = unicodedata.normalize("NFKC", username).casefold()
    return hashlib.sha256(folded.encode(errors="replace")).hexdigest()[:32]


def _device(username: str, source: Source) -> str:
    """The id in the cookie, if it is ours and for this name; "" otherwise."""
    try:
        name, device = signing.loads(source.device, salt=_SALT, max_age=DEVICE_KNOWN)
    except (signing.BadSignature, ValueError):
        return ""
    return str(device) if name == _subject(username) else ""
