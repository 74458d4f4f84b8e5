"""What can be done with activation codes by those who hand them out: issue, revoke, issue anew, read again, re-seal.

Each verb checks everything before it writes anything. Redeeming, which phones do, is in `redemption`.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts import auditing
from accounts.actors import Actor
from accounts.models import Organization
from activation.codes import ActivationCode
from activation.models import AuditedReading, IssuedCode
from activation.status import CodeStatus, status
from activation.vault import Vault
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import RedirectProfile
from onboarding.registry import ProfileNotYours

MOST_AT_ONCE = 10_000
MAX_LABEL_LENGTH = 120
MAX_EMAIL_LENGTH = 254
USUAL_LIFETIME = timedelta(hours=168)
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=365)

# Two of 10^15 numbers are alike once in a very long time; then the whole order is drawn again.
_DRAWS = 3
_ROWS_A_STATEMENT = 500
_PRUNED_AT_ONCE = 5000


class InvalidCodeRequest(OnboardingError):
    """Codes cannot be issued like this."""

    code = "invalid_code_request"
    remedy = "Correct the field and send it again."


class CodeNotUsable(OnboardingError):
    """The code was redeemed, revoked, or has expired, so this is not done with it any more."""

    code = "code_not_usable"
    remedy = "Issue a new code."


def issue(
    *,
    actor: Actor,
    organization: Organization,
    profile: RedirectProfile,
    count: int = 1,
    model: ModelName | None = None,
    mac: MacAddress | None = None,
    serial: SerialNumber | None = None,
    label: str = "",
    email: str = "",
    lifetime: timedelta = USUAL_LIFETIME,
    at: datetime,
    vault: Vault,
) -> list[tuple[IssuedCode, ActivationCode]]:
    """Issue `count` codes at once, all or none; gives each row with its digits.

    Raises InvalidCodeRequest, ProfileNotYours.
    """
    label, email = label.strip(), email.strip()
    _check(organization, profile, count=count, single=mac or serial or email or None, lifetime=lifetime)
    if len(label) > MAX_LABEL_LENGTH or not label.isprintable():
        raise InvalidCodeRequest(f"A label has at most {MAX_LABEL_LENGTH} printable characters.", field="label")
    _check_email(email)
    common: dict[str, Any] = {
        "organization": organization,
        "profile": profile,
        "model": str(model or ""),
        "mac": str(mac or ""),
        "serial": str(serial or ""),
        "label": label,
        "email": email,
        "batch": uuid.uuid4(),
        "issued_at": at,
        "issued_by": f"{actor.source}:{actor.name}"[:160],
        "expires_at": at + lifetime,
        "mail_due_at": at if email else None,
    }
    for draw in range(1, _DRAWS + 1):
        codes = [ActivationCode.random() for _ in range(count)]
        rows = [IssuedCode(lookup=vault.lookup(code), seal=vault.seal(code), **common) for code in codes]
        try:
            with transaction.atomic():
                IssuedCode.objects.bulk_create(rows, batch_size=_ROWS_A_STATEMENT)
                order = {
                    "count": count, "profile": profile.pk, "expires_at": at + lifetime, "label": label, "email": email,
                    "model": str(model or ""), "mac": str(mac or ""), "serial": str(serial or ""),
                    "batch": common["batch"],
                }  # fmt: skip
                what = f"{count:,} activation codes" if count > 1 else str(rows[0])
                given = {name: value for name, value in order.items() if value != ""}
                auditing.record(
                    actor, organization_id=organization.pk, action="code.issued", subject=what, at=at, after=given,
                    thing=f"codes:{common['batch']}",
                )  # fmt: skip
        except IntegrityError:
            if draw == _DRAWS:
                raise
        else:
            return list(zip(rows, codes, strict=True))
    raise AssertionError("unreachable")


def revoke(*, actor: Actor, code: IssuedCode, at: datetime) -> IssuedCode:
    """Make a code worthless; its phone, if it has one already, gets no second answer. Again changes nothing."""
    with transaction.atomic():
        done = IssuedCode.objects.filter(pk=code.pk, revoked_at=None).update(
            revoked_at=at, revoked_by=f"{actor.source}:{actor.name}"[:160], mail_due_at=None
        )
        if done:
            _record(actor, [code], "code.revoked", at=at)
    code.refresh_from_db()
    return code


@transaction.atomic
def reissue(
    *, actor: Actor, code: IssuedCode, lifetime: timedelta = USUAL_LIFETIME, at: datetime, vault: Vault
) -> tuple[IssuedCode, ActivationCode]:
    """Revoke a code and issue another for the same phone or person. Raises CodeNotUsable if it was redeemed."""
    held = IssuedCode.objects.select_for_update().select_related("organization", "profile").get(pk=code.pk)
    if held.redeemed_at is not None:
        raise CodeNotUsable("The code has been redeemed.", remedy="Issue a new code for another phone.")
    revoke(actor=actor, code=held, at=at)
    made, code_of_it = issue(
        actor=actor,
        organization=held.organization,
        profile=held.profile,
        model=ModelName(held.model) if held.model else None,
        mac=MacAddress.parse(held.mac) if held.mac else None,
        serial=SerialNumber(held.serial) if held.serial else None,
        label=held.label,
        email=held.email,
        lifetime=lifetime,
        at=at,
        vault=vault,
    )[0]
    _record(actor, [held], "code.reissued", at=at, after={"code": made.pk})
    return made, code_of_it


@transaction.atomic
def reveal(
    *, actor: Actor, codes: Sequence[IssuedCode], purpose: str = "reveal", at: datetime, vault: Vault
) -> list[tuple[IssuedCode, ActivationCode]]:
    """Read issued codes again, and write down who did. Raises CodeNotUsable, SealBroken; then nobody has read any."""
    for row in codes:
        present = status(row, at=at)
        if present != CodeStatus.ISSUED:
            raise CodeNotUsable(f"Code {row.pk} is {present}; its digits are not shown any more.")
    opened = [(row, vault.open(bytes(row.seal))) for row in codes]
    AuditedReading.objects.bulk_create(
        [
            AuditedReading(
                organization_id=row.organization_id,
                issued_code_id=row.pk,
                at=at,
                source=actor.source,
                reader=actor.name[:160],
                purpose=purpose,
            )
            for row in codes
        ],
        batch_size=_ROWS_A_STATEMENT,
    )
    for organization_id in sorted({row.organization_id for row in codes}):
        own = [row for row in codes if row.organization_id == organization_id]
        _record(actor, own, {"print": "code.printed", "export": "code.exported"}.get(purpose, "code.revealed"), at=at)
    return opened


# An entry names so many codes; each reading has a row of its own besides (`AuditedReading`).
_MOST_NAMED = 100


def _record(
    actor: Actor, codes: Sequence[IssuedCode], action: str, *, at: datetime, after: Mapping[str, object] | None = None
) -> None:
    """One entry for codes of one organization, however many."""
    single = len(codes) == 1
    named: dict[str, object] = {} if single else {"count": len(codes), "codes": [row.pk for row in codes[:_MOST_NAMED]]}
    auditing.record(
        actor, organization_id=codes[0].organization_id, action=action, at=at, after={**named, **(after or {})},
        subject=str(codes[0]) if single else f"{len(codes):,} activation codes",
        thing=f"code:{codes[0].pk}" if single else f"codes:{codes[0].batch}",
    )  # fmt: skip


def reseal(*, vault: Vault) -> Iterator[tuple[int, int]]:
    """Put every code under the first key; gives (rows seen, rows changed) after each step. Raises SealBroken.

    May be stopped and started anew, and runs beside traffic: each step writes two columns of its rows and no others.
    """
    seen = changed = after = 0
    while rows := list(
        IssuedCode.objects.filter(pk__gt=after).order_by("pk").only("lookup", "seal")[:_ROWS_A_STATEMENT]
    ):
        stale = []
        for row in rows:
            code = vault.open(bytes(row.seal))
            if row.lookup != vault.lookup(code):
                row.lookup, row.seal = vault.lookup(code), vault.seal(code)
                stale.append(row)
        if stale:
            IssuedCode.objects.bulk_update(stale, ["lookup", "seal"])
        seen, changed, after = seen + len(rows), changed + len(stale), rows[-1].pk
        yield seen, changed


def prune(*, before: datetime) -> int:
    """Delete codes that ended before then, the oldest first and a bounded number at once; gives how many.

    Looks at the oldest alone: no code lives for more than a year, so none stands in the way of later ones for longer.
    """
    oldest = IssuedCode.objects.order_by("pk")[:_PRUNED_AT_ONCE]
    ended = Q(expires_at__lt=before) & (Q(redeemed_at=None) | Q(redeemed_at__lt=before))
    return IssuedCode.objects.filter(ended, pk__in=oldest.values("pk")).delete()[0]


def _check(
    organization: Organization, profile: RedirectProfile, *, count: int, single: object, lifetime: timedelta
) -> None:
    if profile.organization_id != organization.pk:
        raise ProfileNotYours("There is no such profile.", field="profile")
    if not 1 <= count <= MOST_AT_ONCE:
        raise InvalidCodeRequest(f"From 1 to {MOST_AT_ONCE:,} codes can be issued at once.", field="count")
    if count > 1 and single is not None:
        raise InvalidCodeRequest("A MAC, a serial number and an address are each for one code.", field="count")
    if not SHORTEST <= lifetime <= LONGEST:
        raise InvalidCodeRequest("A code lives from one minute to 365 days.", field="lifetime")


def _check_email(email: str) -> None:
    try:
        if email:
            validate_email(email)
    except ValidationError as error:
        raise InvalidCodeRequest("This is not an e-mail address.", field="email") from error
    if len(email) > MAX_EMAIL_LENGTH:
        raise InvalidCodeRequest(f"An address has at most {MAX_EMAIL_LENGTH} characters.", field="email")
