"""The one way into the admin site, in steps that each refuse by name.

1. `check_password`: the right name and password of somebody who may open the admin site; or `check_passkey` instead of
   1 and 2, with a passkey that verified its person.
2. `check_code`, `check_second_passkey`: where the person has a second factor. Until then nobody is signed in: the
   session only remembers who is on the way (`pending`), for ten minutes.
3. `enter`: the session is this person's.

An unknown name and a wrong password have the same answer, the same work done and the same count.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from django.contrib import auth
from django.db import transaction
from django.http import HttpRequest

from accounts import pacing, standing
from accounts.actors import Actor
from accounts.models import User
from accounts.pacing import Attempt
from onboarding.errors import OnboardingError
from signin import factors, failures, limits, recording, sessions
from signin.limits import Source
from signin.models import FailedSignIns

PENDING_SECONDS = 600
_PENDING = "pending"
_BACKEND = "django.contrib.auth.backends.ModelBackend"
# Longer ones are nobody's; hashing them would be work for us alone.
LONGEST_PASSWORD = 1000


class SignInRefused(OnboardingError):
    """The user name or the password is wrong."""

    code = "sign_in_refused"
    remedy = "Mind capital letters. An administrator of your organization can give you a link to choose a new password."


class Suspended(OnboardingError):
    """Every organization of this person is suspended."""

    code = "organization_suspended"
    remedy = "Ask the operator of this service."


class TooManyAttempts(OnboardingError):
    """A limit is closed (`limits`). `opens_at` is when it has an attempt again (epoch seconds)."""

    code = "too_many_attempts"
    remedy = "Sign in with a passkey, or from a browser that you signed in with before."

    def __init__(self, opens_at: float, *, at: datetime) -> None:
        minutes = max(1, -int((at.timestamp() - opens_at) // 60))
        super().__init__(f"Too many failed attempts. Try again in {minutes} minute{'s' if minutes > 1 else ''}.")
        self.opens_at = opens_at


class FactorNeeded(OnboardingError):
    """The person has a second factor, and this sign-in has not shown it."""

    code = "second_factor_needed"
    remedy = "Sign in again."


def check_password(username: str, password: str, *, source: Source, at: datetime) -> User:
    """The person with this name and password. Raises SignInRefused, Suspended, TooManyAttempts."""
    attempts = _take(limits.for_password(username, source), at=at)
    person = auth.authenticate(username=username, password=password) if len(password) <= LONGEST_PASSWORD else None
    if not isinstance(person, User) or not person.is_staff:
        failures.count(username, "passwords", address=source.address, at=at)
        raise SignInRefused("The user name or the password is wrong.")
    pacing.give_back(attempts)
    return _let_in(person)


def check_passkey(answer: object, state: Mapping[str, Any], *, source: Source, at: datetime) -> User:
    """The person whose passkey it is. Raises PasskeyRefused, SignInRefused, Suspended, TooManyAttempts."""
    attempts = _take(limits.for_passkey(source), at=at)
    person = factors.prove_passkey(None, answer=answer, state=state, at=at)
    if not person.is_active or not person.is_staff:
        raise SignInRefused("This account may not sign in.")
    pacing.give_back(attempts)
    return _let_in(person)


def check_code(person: User, code: str, *, source: Source, at: datetime) -> str:
    """The kind of second factor that a code proves. Raises WrongCode, TooManyAttempts."""
    attempts = _take(limits.for_code(person.pk, person.get_username(), source), at=at)
    try:
        kind = factors.prove_code(person, code, at=at)
    except factors.WrongCode:
        failures.count(person.get_username(), "codes", address=source.address, at=at)
        raise
    pacing.give_back(attempts)
    return kind


def check_second_passkey(
    person: User, answer: object, state: Mapping[str, Any], *, source: Source, at: datetime
) -> None:
    """Raises PasskeyRefused, TooManyAttempts."""
    attempts = _take(limits.for_passkey(source), at=at)
    factors.prove_passkey(person, answer=answer, state=state, at=at)
    pacing.give_back(attempts)


def confirm(person: User, password: str, *, at: datetime) -> None:
    """The password once more, of somebody who is signed in. Raises SignInRefused, TooManyAttempts."""
    attempts = _take(limits.for_confirming(person.pk), at=at)
    if len(password) > LONGEST_PASSWORD or not person.check_password(password):
        raise SignInRefused("The password is wrong.", field="password")
    pacing.give_back(attempts)


def remember(request: HttpRequest, person: User, *, at: datetime) -> None:
    """Note in the session that this person has shown the password and still needs the second factor."""
    # Whoever planted the former session's key in this browser does not know the new one.
    request.session.cycle_key()
    request.session[_PENDING] = {
        "user": person.pk,
        "password": person.get_session_auth_hash(),
        "until": at.timestamp() + PENDING_SECONDS,
    }
    request.session.set_expiry(PENDING_SECONDS)


def pending(request: HttpRequest, *, at: datetime) -> User | None:
    """Who still needs the second factor in this session."""
    kept = request.session.get(_PENDING)
    if not kept or kept["until"] < at.timestamp():
        return None
    person = User.objects.filter(pk=kept["user"], is_active=True, is_staff=True).first()
    # A password that was changed meanwhile was not shown.
    return person if person is not None and person.get_session_auth_hash() == kept["password"] else None


def enter(
    request: HttpRequest,
    person: User,
    *,
    factor: Literal["", "totp", "webauthn", "recovery_codes"] | str,
    actor: Actor,
    browser: str,
    at: datetime,
) -> FailedSignIns | None:
    """Make the session this person's; gives the failed attempts since the last time. Raises FactorNeeded."""
    with transaction.atomic():
        person = factors.lock(person)
        if not factor and factors.of(person).any:
            raise FactorNeeded("A second factor was set up meanwhile.")
        if auth.SESSION_KEY in request.session:
            request.session.flush()
        request.session.pop(_PENDING, None)
        request.session.set_expiry(None)
        auth.login(request, person, backend=_BACKEND)
        request.session[sessions.ENTERED] = {
            "at": at.timestamp(),
            "confirmed_at": at.timestamp(),
            "address": actor.address,
            "browser": browser[:200],
            "factor": factor,
        }
        request.session.save()
        sessions.end_oldest(person)
        failed = failures.settle(person, at=at)
        recording.record(actor, person, "person.signed_in", at=at, after={"second_factor": factor or "none"})
    return failed


def _let_in(person: User) -> User:
    if not standing.of_user(person).may_enter:
        raise Suspended("Your organization is suspended, so its people cannot sign in.")
    return person


def _take(attempts: Sequence[Attempt], *, at: datetime) -> Sequence[Attempt]:
    closed = pacing.take(attempts, at=at.timestamp())
    if closed is not None:
        raise TooManyAttempts(closed.opens_at, at=at)
    return attempts
