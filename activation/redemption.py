"""Redemption: a code typed on a phone becomes that phone's association, once.

The only writer of `IssuedCode.redeemed_*`: one guarded update in one transaction with the device, its history and its
state, so of two phones at once one wins. What the phone is told is decided by `answers.decide`, as for any query. A
code is for one phone, but an answer can get lost: the same phone may ask again for a while and is answered anew.

What refuses a code, only its owner sees (`IssuedCode.refusals`); the phone cannot tell it from a code that nobody
issued. Never log a code.

    Redeemed           the phone's flat-profile
    WrongCode          unknown, expired, used, revoked, not for this phone, or refused by its profile: all alike
    TooManyAttempts    a limit is closed; says when to come back
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from django.db import transaction

from accounts import pacing
from accounts.actors import Actor
from accounts.pacing import Attempt, Closed
from accounts.statements import Statement
from activation import finding, limits
from activation.codes import ActivationCode
from activation.finding import Found
from activation.limits import ClosedLimits
from activation.models import OPEN, IssuedCode
from activation.status import CodeStatus, status
from activation.vault import Vault
from onboarding import adoption, answers, customization, registrations, registry, sources
from onboarding.adoption import Arrival
from onboarding.answers import REDIRECTED, Links
from onboarding.bulkwrites import Guard
from onboarding.customization import Evidence
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress
from onboarding.models import Device
from onboarding.observations import Clock, Observation
from onboarding.registration import PhoneQuery, Registration
from onboarding.registry import ProfileFull
from onboarding.states import Event
from trust.identity import Certified, Proof, proof

ACTIVATION = "activation"

# How long the phone that redeemed a code may ask again.
REPEAT = timedelta(minutes=10)
# Refusals of a code that its owner is shown: the last ones.
MOST_REFUSALS = 10

_ROUNDS = 3

# As the update in `_give`, for the one statement in which a phone that nobody has redeems a code.
_STILL_OPEN = Statement.of(
    """SELECT FROM activation_issuedcode
    WHERE id = %s AND redeemed_at IS NULL AND revoked_at IS NULL AND expires_at > %s FOR UPDATE""",
    ("bigint", "timestamptz"),
)
_REDEEM = Statement.of(
    """UPDATE activation_issuedcode
    SET redeemed_at = %s, redeemed_mac = %s, device_id = device.id FROM device WHERE activation_issuedcode.id = %s""",
    ("timestamptz", "text", "bigint"),
)


class WrongCode(OnboardingError):
    """The code does not work on this phone; why is told to nobody but its owner."""

    code = "invalid_activation_code"
    remedy = "Ask your provider for a new activation code."


class TooManyAttempts(OnboardingError):
    """A limit of wrong codes is closed."""

    code = "too_many_attempts"
    remedy = "Wait, then type the code again."

    def __init__(self, closed: Closed, *, at: float) -> None:
        super().__init__("Too many wrong activation codes were typed.")
        self.closed = closed
        self.retry_after_seconds = max(1, int(closed.opens_at - at) + 1)


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What the phone is answered, and on which device."""

    document: bytes
    device_id: int


class _Refused(Exception):
    """Nothing of this try remains; the owner is told the reason."""


class _LostRace(Exception):
    """The code was redeemed or revoked since it was read."""


class BoundPhones:
    """The MACs and serial numbers that open codes are bound to, read every few seconds at most.

    While a limit is closed, whoever is not among them is refused without a query.
    """

    _KEPT_SECONDS = 10.0

    def __init__(self) -> None:
        self._macs: frozenset[str] = frozenset()
        self._serials: frozenset[str] = frozenset()
        self._read_at: float | None = None
        self._lock = Lock()

    def include(self, phone: PhoneQuery, *, at: datetime) -> bool:
        """Whether a code may be bound to this phone."""
        with self._lock:
            if self._read_at is None or not 0 <= at.timestamp() - self._read_at < self._KEPT_SECONDS:
                self._read(at=at)
        return str(phone.mac) in self._macs or (phone.serial != "" and phone.serial in self._serials)

    def _read(self, *, at: datetime) -> None:
        # Noted first: while the database is down, not every guess asks it again.
        self._read_at = at.timestamp()
        codes = IssuedCode.objects.filter(OPEN, expires_at__gt=at)
        self._macs = frozenset(codes.exclude(mac="").values_list("mac", flat=True))
        self._serials = frozenset(codes.exclude(serial="").values_list("serial", flat=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What one phone asks, and when."""

    lookups: Sequence[str]
    phone: PhoneQuery
    source: str
    at: datetime
    links: Callable[[], Links]

    @property
    def seconds(self) -> float:
        return self.at.timestamp()


def redeem(
    *,
    code: ActivationCode,
    mac: MacAddress,
    model: str,
    serial: str,
    firmware: str,
    source: str,
    at: datetime,
    certified: Certified | None = None,
    vault: Vault,
    links: Callable[[], Links],
    closed_limits: ClosedLimits | None = None,
    bound_phones: BoundPhones | None = None,
) -> Redeemed:
    """Redeem `code` for the phone that says this of itself from the address `source`.

    `links` makes the phone's beacon and report URLs; what a process remembers between calls is passed in. Raises
    WrongCode and TooManyAttempts. When the database fails, nothing is spent.
    """
    closed_limits, bound_phones = closed_limits or ClosedLimits(), bound_phones or BoundPhones()
    phone, now = PhoneQuery(mac, model, serial, firmware, certified), at.timestamp()
    network = sources.network_of(source)
    subject = limits.phone(str(mac), network)
    attempts = [Attempt(limits.PHONE, subject), Attempt(limits.NETWORK, network), Attempt(limits.SERVICE, "")]
    closed = closed_limits.find(attempts, at=now)
    if closed is not None and not _may_pass(closed, phone, bound_phones, at=at):
        # The way of a flood: nothing is worked out for it that is not needed.
        raise TooManyAttempts(closed, at=now)
    request = _Request(lookups=vault.lookups(code), phone=phone, source=source, at=at, links=links)
    if closed is None:
        outcome = _try(request, attempts)
        if isinstance(outcome, Redeemed):
            return outcome
        if outcome is None:
            raise WrongCode("The activation code is not valid.")
        closed = outcome
        closed_limits.note(closed, at=now)
    if _may_pass(closed, phone, bound_phones, at=at):
        own = [Attempt(limits.BOUND, subject)]
        outcome = closed_limits.find(own, at=now) or _try(request, own, only_bound=True)
        if isinstance(outcome, Redeemed):
            return outcome
        if outcome is not None:
            closed_limits.note(outcome, at=now)
    # Also for a wrong code: which phones have codes of their own waiting is nobody's business.
    raise TooManyAttempts(closed, at=now)


def _may_pass(closed: Closed, phone: PhoneQuery, bound_phones: BoundPhones, *, at: datetime) -> bool:
    """Whether this phone is let in although a limit is closed that others may have closed."""
    return closed.attempt.limit is not limits.PHONE and bound_phones.include(phone, at=at)


def _try(request: _Request, attempts: Sequence[Attempt], *, only_bound: bool = False) -> Redeemed | Closed | None:
    """One try: Redeemed; the limit that is closed; or None for a code that does not work, with the attempts spent."""
    with transaction.atomic():
        found = finding.take_and_find(attempts, request.lookups, str(request.phone.mac), at=request.seconds)
        reason = "" if found.closed else _refusal(found.code, request, only_bound=only_bound)
        if found.code is None or reason:
            if found.closed:
                transaction.set_rollback(True)
                return found.closed
            _note(found.code, reason, request)
            return None
        # No guess: the attempts were never taken. Rolled back here, so that nobody waits for the rest.
        transaction.set_rollback(True)
    return _give_at_once(found, request) or _give_or_refuse(found.code, request, attempts, only_bound=only_bound)


def _give_at_once(found: Found, request: _Request) -> Redeemed | None:
    """Redeem the code for a phone that nobody has, in one statement; None where it is not that simple."""
    row = found.code
    if row is None or not found.is_new or _is_repeated(row, request):
        return None
    columns = {**_said(row, request), "proven": _is_bound(row)}
    registration = Registration(
        0, row.organization_id, row.organization.suspended_at is not None, str(columns["model"]),
        str(columns["serial"]), "", None, None, registrations.profile(row.profile),
    )  # fmt: skip
    answer = answers.decide(request.phone, registration, request.seconds)
    if answer.outcome != REDIRECTED:
        return None
    arrival = Arrival(
        profile=row.profile,
        mac=request.phone.mac,
        columns=columns,
        sighting=found.sighting,
        observations=_observations(row, answer, request),
    )
    guard = Guard(_STILL_OPEN, (row.pk, request.at), _REDEEM, (request.at, str(request.phone.mac), row.pk))
    try:
        device_id = adoption.adopt_new(arrival, actor=_actor(row), guard=guard, at=request.at)
    except ProfileFull:
        return None
    if device_id is None:
        return None
    return Redeemed(answers.document(answer, request.links), device_id)


@transaction.atomic
def _give_or_refuse(
    row: IssuedCode, request: _Request, attempts: Sequence[Attempt], *, only_bound: bool
) -> Redeemed | None:
    outcome = _give_or_say(row, request, only_bound=only_bound)
    if isinstance(outcome, Redeemed):
        return outcome
    pacing.take(attempts, at=request.seconds)
    _note(row, outcome, request)
    return None


def _give_or_say(row: IssuedCode, request: _Request, *, only_bound: bool) -> Redeemed | str:
    """Redeem the code that was found, or say why not; of a race against another phone, the second look tells."""
    found: IssuedCode | None = row
    reason = ""
    for _ in range(_ROUNDS):
        if found is None or reason:
            break
        try:
            with transaction.atomic():
                return _give(found, request)
        except _LostRace:
            found = finding.find(request.lookups)
            reason = _refusal(found, request, only_bound=only_bound)
        except _Refused as refusal:
            return str(refusal)
        except OnboardingError as refusal:
            # DeviceTaken, ProfileFull.
            return refusal.code
    return reason or "contended"


def _refusal(row: IssuedCode | None, request: _Request, *, only_bound: bool) -> str:
    """Why the code itself does not work on this phone; "" when it does, or did a moment ago."""
    if row is None:
        return "unknown"
    phone = request.phone
    if only_bound and not _is_bound(row):
        return "limits_closed"
    standing = status(row, at=request.at)
    if standing is not CodeStatus.ISSUED and not _is_repeated(row, request):
        return standing.value
    for name, wanted, said in (
        ("another_mac", row.mac, str(phone.mac)),
        ("another_serial", row.serial, phone.serial),
        ("another_model", row.model, phone.model),
    ):
        if wanted and wanted != said:
            return name
    return ""


def _is_bound(row: IssuedCode) -> bool:
    """Whether it was issued for one very phone, and so vouches for it; a code alone does not."""
    return bool(row.mac or row.serial)


def _is_repeated(row: IssuedCode, request: _Request) -> bool:
    return (
        status(row, at=request.at) is CodeStatus.REDEEMED
        and row.redeemed_at is not None
        and row.redeemed_mac == str(request.phone.mac)
        and request.at - row.redeemed_at <= REPEAT
    )


def _give(row: IssuedCode, request: _Request) -> Redeemed:
    """Redeem, or answer again. Raises _Refused, _LostRace, and what `registry.adopt` raises."""
    if _is_repeated(row, request):
        return _give_again(row, request)
    device = registry.adopt(
        actor=_actor(row),
        organization=row.organization,
        mac=request.phone.mac,
        profile=row.profile,
        proven=_is_bound(row),
        at=request.at,
        **_said(row, request),
    )
    redeemed = IssuedCode.objects.filter(OPEN, pk=row.pk, expires_at__gt=request.at).update(
        redeemed_at=request.at, redeemed_mac=str(request.phone.mac), device_id=device.pk
    )
    if not redeemed:
        raise _LostRace
    given, document = _answer(device, row, request)
    _record(device, row, given, request)
    return Redeemed(document, device.pk)


def _actor(row: IssuedCode) -> Actor:
    return Actor(ACTIVATION, f"code {row.pk}")


def _said(row: IssuedCode, request: _Request) -> dict[str, str]:
    """What is known of the phone: what the code's owner wrote down is worth more than what the phone says."""
    phone = request.phone
    return {"model": row.model or phone.model, "serial": row.serial or phone.serial, "label": row.label}


def _give_again(row: IssuedCode, request: _Request) -> Redeemed:
    """The answer to the phone that has redeemed this code, as it would be now. Nothing is written."""
    device = (
        Device.objects.select_related("profile")
        .filter(pk=row.device_id, mac=str(request.phone.mac), organization=row.organization)
        .first()
    )
    if device is None:
        raise _Refused("released")
    _, document = _answer(device, row, request)
    return Redeemed(document, device.pk)


def _answer(device: Device, row: IssuedCode, request: _Request) -> tuple[answers.Answer, bytes]:
    """Decide as for any query of this phone. Raises _Refused with the rule's name."""
    profile = row.profile if device.profile_id == row.profile_id else device.profile
    registration = registrations.from_rows(
        device,
        registrations.profile(profile) if profile else None,
        organization_suspended=row.organization.suspended_at is not None,
    )
    answer = answers.decide(request.phone, registration, request.seconds)
    if answer.outcome != REDIRECTED:
        raise _Refused(answer.outcome)
    return answer, answers.document(answer, request.links)


def _record(device: Device, row: IssuedCode, answer: answers.Answer, request: _Request) -> None:
    owner = (device.pk, device.organization_id)
    evidence = [Evidence(device.mac, observation, *owner) for observation in _observations(row, answer, request)]
    customization.record_all(evidence, at=request.at)


def _observations(row: IssuedCode, answer: answers.Answer, request: _Request) -> tuple[Observation, Observation]:
    """The phone asked, and it was answered."""
    phone, clock = request.phone, Clock(request.at)
    said = {"model": phone.model, "serial": phone.serial, "firmware": phone.firmware, "from": request.source}
    if phone.certified is not None:
        proven = proof(phone.mac, phone.certified)
        said |= {
            "identity": "" if proven is Proof.NONE else proven.value,
            "certificate": phone.certified.fingerprint,
            "certificate_mac": "" if phone.certified.mac == phone.mac else str(phone.certified.mac),
        }
    given = {"outcome": answer.outcome, "target": answer.target, "code": row.pk}
    asked = Observation(Event.ASKED, clock, ACTIVATION, {name: text for name, text in said.items() if text})
    return asked, Observation(Event.ANSWERED, clock, ACTIVATION, given)


def _note(row: IssuedCode | None, reason: str, request: _Request) -> None:
    """Leave the reason with the code for its owner; the same statement where there is none, so that time tells nothing.

    Two refusals at the same moment may leave one note: it is a hint, not a record.
    """
    note = {"at": request.at.isoformat(), "reason": reason, "mac": str(request.phone.mac)}
    refusals = [*(row.refusals if row else []), note][-MOST_REFUSALS:]
    IssuedCode.objects.filter(pk=row.pk if row else 0).update(refusals=refusals)
