"""Second factors: an authenticator app, passkeys, recovery codes. Kept by allauth, whose secrets `adapter` seals.

A person with a second factor has no session that was made without one: adding the first and removing the last end the
person's other sessions, and `entering` looks under the same lock.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import segno
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.webauthn.internal import auth as webauthn
from django.core.exceptions import ValidationError
from django.db import transaction
from fido2.webauthn import ResidentKeyRequirement, UserVerificationRequirement

from accounts import pacing
from accounts.actors import Actor
from accounts.models import User
from onboarding.errors import OnboardingError
from signin import recording, sessions

Kind = Authenticator.Type
# A code is good from one period before until one after (MFA_TOTP_TOLERANCE), of 30 seconds each.
_PERIOD_SECONDS = 30
_STEPS = (0, -1, 1)
_CODE_REMEMBERED_SECONDS = 120.0
# How many allauth makes.
_RECOVERY_CODES = 10
# As long as a challenge is taken, and beyond.
_CHALLENGE_REMEMBERED_SECONDS = 900.0
MOST_PASSKEYS = 20
LONGEST_NAME = 40


class WrongCode(OnboardingError):
    """The code is wrong, used, or too old."""

    code = "wrong_code"
    remedy = "Type the code that the app shows now. Its clock and this service's must agree to half a minute."


class PasskeyRefused(OnboardingError):
    """The browser's passkey does not prove what was asked."""

    code = "passkey_refused"
    remedy = "Try again; if it is refused again, use another second factor."


class TooManyPasskeys(OnboardingError):
    """A person keeps a bounded number of passkeys."""

    code = "too_many_passkeys"
    remedy = "Remove one that is no longer used."


class FactorRequired(OnboardingError):
    """The last second factor cannot be removed where one is required."""

    code = "second_factor_required"
    remedy = "Set up another one first."


@dataclass(frozen=True, slots=True)
class Passkey:
    id: int
    name: str
    added_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Factors:
    """What a person can prove themselves with, beside the password."""

    app_added_at: datetime | None = None
    app_used_at: datetime | None = None
    passkeys: tuple[Passkey, ...] = ()
    recovery_codes_left: int = 0

    @property
    def any(self) -> bool:
        """Recovery codes are no factor of their own: they come with the first one."""
        return self.app_added_at is not None or bool(self.passkeys)


def of(user: User) -> Factors:
    """Read what a person has. One query."""
    rows = list(Authenticator.objects.filter(user=user).order_by("pk"))
    app = next((row for row in rows if row.type == Kind.TOTP), None)
    codes = next((row for row in rows if row.type == Kind.RECOVERY_CODES), None)
    return Factors(
        app_added_at=app.created_at if app else None,
        app_used_at=app.last_used_at if app else None,
        passkeys=tuple(
            Passkey(row.pk, row.data["name"], row.created_at, row.last_used_at)
            for row in rows
            if row.type == Kind.WEBAUTHN
        ),
        recovery_codes_left=_RECOVERY_CODES - int(codes.data["used_mask"]).bit_count() if codes else 0,
    )


def lock(user: User) -> User:
    """Hold a person's row to the end of the transaction: factors and sessions of one person change one at a time."""
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


# The authenticator app


def new_secret() -> str:
    """A secret for an authenticator app, 160 random bits in Base32."""
    return str(totp.generate_totp_secret())


def qr(user: User, secret: str) -> str:
    """What an authenticator app scans, as an SVG element."""
    image = segno.make(get_adapter().build_totp_url(user, secret), error="m", micro=False)
    return image.svg_inline(scale=4, border=2, svgclass=None, lineclass=None)


@transaction.atomic
def add_app(user: User, *, secret: str, code: str, session_key: str, actor: Actor, at: datetime) -> list[str]:
    """Keep a secret of which the app just showed a code, instead of any former one; gives recovery codes if they are
    new. Ends the person's other sessions. Raises WrongCode."""
    lock(user)
    if not _spend(user, secret, code, at=at):
        raise WrongCode("The code does not fit the secret.", field="code")
    Authenticator.objects.filter(user=user, type=Kind.TOTP).delete()
    totp.TOTP.activate(user, secret)
    return _added(user, "authenticator app", session_key=session_key, actor=actor, at=at)


def prove_code(user: User, code: str, *, at: datetime) -> str:
    """The kind of factor that `code` proves: of the app, or a recovery code, each good once. Raises WrongCode."""
    digits = "".join(code.split()).replace("-", "")
    rows = {row.type: row for row in Authenticator.objects.filter(user=user).exclude(type=Kind.WEBAUTHN)}
    used = None
    if len(digits) == 6 and Kind.TOTP in rows:
        secret = get_adapter().decrypt(rows[Kind.TOTP].data["secret"])
        used = rows[Kind.TOTP] if _spend(user, secret, digits, at=at) else None
    elif Kind.RECOVERY_CODES in rows and RecoveryCodes(rows[Kind.RECOVERY_CODES]).validate_code(digits):
        used = rows[Kind.RECOVERY_CODES]
    if used is None:
        raise WrongCode("The code is wrong or was used before.", field="code")
    _note_use(used, at=at)
    return str(used.type)


def _spend(user: User, secret: str, code: str, *, at: datetime) -> bool:
    """Whether a code of the app is good now and was not used; then it is."""
    present = int(at.timestamp()) // _PERIOD_SECONDS
    good = {totp.format_hotp_value(totp.hotp_value(secret, present + step)): present + step for step in _STEPS}
    period = good.get(code.strip())
    return period is not None and pacing.once(
        "signin-totp", f"{user.pk}:{period}", seconds=_CODE_REMEMBERED_SECONDS, at=at.timestamp()
    )


# Passkeys


def begin_adding_passkey(user: User) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the browser is asked for, and what `add_passkey` must be handed with its answer."""
    options, state = webauthn.get_server().register_begin(
        user=webauthn.build_user_payload(user),
        credentials=webauthn.get_credentials(user),
        # Preferred: a security key without room or PIN is a second factor, any other signs in by itself.
        resident_key_requirement=ResidentKeyRequirement.PREFERRED,
        user_verification=UserVerificationRequirement.PREFERRED,
        extensions=webauthn.EXTENSIONS,
    )
    return _plain(options), state


@transaction.atomic
def add_passkey(
    user: User, *, name: str, answer: object, state: Mapping[str, Any], session_key: str, actor: Actor, at: datetime
) -> list[str]:
    """Keep a passkey that the browser made; gives recovery codes if they are new. Ends the person's other sessions.
    Raises PasskeyRefused, TooManyPasskeys."""
    lock(user)
    if Authenticator.objects.filter(user=user, type=Kind.WEBAUTHN).count() >= MOST_PASSKEYS:
        raise TooManyPasskeys(f"There are {MOST_PASSKEYS} passkeys already.")
    try:
        webauthn.parse_registration_response(answer)
        webauthn.get_server().register_complete(state, answer)
    except (ValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PasskeyRefused("The passkey that the browser made cannot be used.") from error
    _spend_challenge(state, at=at)
    webauthn.WebAuthn.add(user, name.strip()[:LONGEST_NAME] or "Passkey", answer)
    return _added(user, f"passkey {name}", session_key=session_key, actor=actor, at=at)


def begin_proving_passkey(user: User | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the browser is asked for, and what `prove_passkey` must be handed with its answer. Without a user, for
    whoever the passkey belongs to; then the browser must verify the person, by a PIN or a finger."""
    options, state = webauthn.get_server().authenticate_begin(
        credentials=webauthn.get_credentials(user) if user else [],
        user_verification=UserVerificationRequirement.PREFERRED if user else UserVerificationRequirement.REQUIRED,
    )
    return _plain(options), state


def prove_passkey(user: User | None, *, answer: object, state: Mapping[str, Any], at: datetime) -> User:
    """The person whose passkey it is. Raises PasskeyRefused."""
    try:
        webauthn.parse_authentication_response(answer)
        assert isinstance(answer, dict)
        person: User = user or webauthn.extract_user_from_response(answer)
        proven = webauthn.get_server().authenticate_complete(state, webauthn.get_credentials(person), answer)
    except (ValidationError, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise PasskeyRefused("The passkey is not one of this service.") from error
    _spend_challenge(state, at=at)
    row = webauthn.get_authenticator_by_credential_id(person, proven.credential_id)
    if row is None:
        raise PasskeyRefused("The passkey was removed.")
    _note_use(row, at=at)
    return person


def rename_passkey(user: User, passkey_id: int, *, name: str, actor: Actor, at: datetime) -> None:
    """Give a passkey another name. Nothing happens where there is none."""
    with transaction.atomic():
        row = Authenticator.objects.select_for_update().filter(pk=passkey_id, user=user, type=Kind.WEBAUTHN).first()
        if row is None:
            return
        former, row.data["name"] = row.data["name"], name.strip()[:LONGEST_NAME] or "Passkey"
        row.save(update_fields=["data"])
        recording.record(
            actor, user, "factor.renamed", at=at, before={"passkey": former}, after={"passkey": row.data["name"]}
        )


def _plain(options: Any) -> dict[str, Any]:
    """fido2's own mappings as plain JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(options), default=dict))
    return plain


def _spend_challenge(state: Mapping[str, Any], *, at: datetime) -> None:
    if not pacing.once(
        "signin-challenge", state["challenge"], seconds=_CHALLENGE_REMEMBERED_SECONDS, at=at.timestamp()
    ):
        raise PasskeyRefused("This answer of the passkey was used before.")


# All of them


@transaction.atomic
def make_recovery_codes(user: User, *, actor: Actor, at: datetime) -> list[str]:
    """Ten new recovery codes; the former ones are good no longer."""
    lock(user)
    Authenticator.objects.filter(user=user, type=Kind.RECOVERY_CODES).delete()
    codes: list[str] = RecoveryCodes.activate(user).generate_codes()
    recording.record(actor, user, "factor.recovery_codes_made", at=at, after={"recovery_codes": len(codes)})
    return codes


@transaction.atomic
def remove(
    user: User,
    *,
    kind: str,
    passkey_id: int | None = None,
    required: bool,
    session_key: str,
    actor: Actor,
    at: datetime,
) -> None:
    """Take away the app (`totp`) or one passkey (`webauthn`); the recovery codes go with the last factor. Ends the
    person's other sessions. Raises FactorRequired where `required` and it is the last."""
    lock(user)
    rows = Authenticator.objects.filter(user=user, type=kind)
    row = (rows.filter(pk=passkey_id) if kind == Kind.WEBAUTHN else rows).first()
    if row is None:
        return
    others = Authenticator.objects.filter(user=user).exclude(pk=row.pk).exclude(type=Kind.RECOVERY_CODES).exists()
    if required and not others:
        raise FactorRequired("Your organization requires a second factor, and this is the last.")
    name = f"passkey {row.data['name']}" if kind == Kind.WEBAUTHN else "authenticator app"
    row.delete()
    if not others:
        Authenticator.objects.filter(user=user).delete()
    sessions.end(user, but=session_key)
    recording.record(actor, user, "factor.removed", at=at, before={"second_factor": name})


@transaction.atomic
def reset(user: User, *, actor: Actor, at: datetime) -> int:
    """Take away everything, for somebody who lost it, and end all sessions; gives how many factors there were."""
    lock(user)
    kinds = list(
        Authenticator.objects.filter(user=user).exclude(type=Kind.RECOVERY_CODES).values_list("type", flat=True)
    )
    Authenticator.objects.filter(user=user).delete()
    sessions.end(user)
    recording.record(actor, user, "factor.reset", at=at, before={"second_factors": sorted(kinds)})
    return len(kinds)


def _added(user: User, name: str, *, session_key: str, actor: Actor, at: datetime) -> list[str]:
    sessions.end(user, but=session_key)
    recording.record(actor, user, "factor.added", at=at, after={"second_factor": name})
    if Authenticator.objects.filter(user=user, type=Kind.RECOVERY_CODES).exists():
        return []
    return make_recovery_codes(user, actor=actor, at=at)


def _note_use(row: Authenticator, *, at: datetime) -> None:
    Authenticator.objects.filter(pk=row.pk).update(last_used_at=at)


def reseal(*, after: int = 0, limit: int = 500) -> tuple[int, int] | None:
    """Seal secrets anew under the first of CODE_KEYS, from the id `after` on; gives the last id and how many were done,
    None at the end. Raises SealUnreadable."""
    rows = list(
        Authenticator.objects.filter(pk__gt=after, type__in=[Kind.TOTP, Kind.RECOVERY_CODES]).order_by("pk")[:limit]
    )
    adapter = get_adapter()
    for row in rows:
        name = "secret" if row.type == Kind.TOTP else "seed"
        with transaction.atomic():
            present = Authenticator.objects.select_for_update().filter(pk=row.pk).first()
            if present is not None:
                present.data[name] = adapter.encrypt(adapter.decrypt(present.data[name]))
                present.save(update_fields=["data"])
    return (rows[-1].pk, len(rows)) if rows else None
