"""What can be done with short codes: enable, disable, and make devices of the phones that used one.

Digits are unique in the service while they are enabled. Once disabled they rest: nobody but their last owner can have
them for RESTING, since phones' users still type them from old leaflets.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Case, F, Q, Value, When

from accounts import auditing
from accounts.actors import Actor
from accounts.models import Organization
from onboarding import registry
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ShortCode
from onboarding.models import CodeGuessing, Device, RedirectProfile, ShortCodeUse
from onboarding.models import ShortCode as ShortCodeRow
from onboarding.registry import ProfileNotYours

RESTING = timedelta(days=30)
MOST_DEVICES = 1_000_000_000
# One organization's codes at a time; nobody needs more, and names are scarce.
MOST_ENABLED = 1000

SOURCE = "short_code"


class ShortCodeTaken(OnboardingError):
    """Another organization has the digits, or had them until lately. Which one is told to nobody."""

    code = "short_code_taken"
    remedy = "Choose other digits. Longer ones are more likely to be free, and harder to guess."


class InvalidShortCodeTerms(OnboardingError):
    """The end or the number of phones is none that a short code can have."""

    code = "invalid_short_code_terms"
    remedy = "Correct the field and send it again."


class TooManyShortCodes(OnboardingError):
    """The organization has as many short codes as one may have."""

    code = "too_many_short_codes"
    remedy = "Disable one that is no longer used."


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a short code gives, until when, and to how many phones. `profile` must be the owner's own."""

    profile: RedirectProfile
    valid_until: datetime | None = None
    max_devices: int | None = None


def enable(
    *, actor: Actor, organization: Organization, code: ShortCode, terms: Terms, at: datetime
) -> tuple[ShortCodeRow, bool]:
    """Enable the code, or change the terms of one's own; gives it and whether it was enabled. Idempotent.

    Raises ShortCodeTaken, InvalidShortCodeTerms, ProfileNotYours, TooManyShortCodes.
    """
    _check(organization, terms)
    taken = ShortCodeTaken(f"{code} cannot be had.", field="code")
    try:
        with transaction.atomic():
            own = ShortCodeRow.objects.select_for_update().filter(
                organization=organization, code=code.digits, disabled_at=None
            )
            present: ShortCodeRow | None = own.first()
            if present is not None:
                return _changed(present, terms, actor, at=at), False
            # Also those enabled now: one that is disabled at this moment rests already.
            others = ShortCodeRow.objects.filter(code=code.digits).exclude(organization=organization)
            if others.filter(Q(disabled_at=None) | Q(disabled_at__gt=at - RESTING)).exists():
                raise taken
            enabled = ShortCodeRow.objects.filter(organization=organization, disabled_at=None)
            if enabled[: MOST_ENABLED + 1].count() >= MOST_ENABLED:
                raise TooManyShortCodes(f"At most {MOST_ENABLED} short codes can be enabled.")
            row: ShortCodeRow = ShortCodeRow.objects.create(
                organization=organization,
                code=code.digits,
                enabled_at=at,
                enabled_by=f"{actor.source} {actor.name}"[:160],
                profile=terms.profile,
                valid_until=terms.valid_until,
                max_devices=terms.max_devices,
            )
            _record(actor, row, "short_code.enabled", at=at, after=_told(row))
            return row, True
    except IntegrityError:
        if not RedirectProfile.objects.filter(pk=terms.profile.pk).exists():
            raise ProfileNotYours("There is no such profile.", field="profile") from None
        # Somebody enabled it at the same moment: perhaps this organization itself, by a repeated request.
        own_now = ShortCodeRow.objects.filter(organization=organization, code=code.digits, disabled_at=None).first()
        if own_now is None:
            raise taken from None
        return _changed(own_now, terms, actor, at=at), False


def disable(*, actor: Actor, row: ShortCodeRow, at: datetime) -> bool:
    """Disable the code at once; gives whether it was enabled."""
    enabled = ShortCodeRow.objects.filter(pk=row.pk, disabled_at=None)
    with transaction.atomic():
        done = bool(enabled.update(disabled_at=at, disabled_by=f"{actor.source} {actor.name}"[:160]))
        if done:
            _record(actor, row, "short_code.disabled", at=at, before=_told(row))
    return done


def _check(organization: Organization, terms: Terms) -> None:
    if terms.profile.organization_id != organization.pk:
        raise ProfileNotYours("There is no such profile.", field="profile")
    if terms.max_devices is not None and not 1 <= terms.max_devices <= MOST_DEVICES:
        raise InvalidShortCodeTerms(f"max_devices is from 1 to {MOST_DEVICES}.", field="max_devices")


@transaction.atomic
def _changed(row: ShortCodeRow, terms: Terms, actor: Actor, *, at: datetime) -> ShortCodeRow:
    before = _told(row)
    values = {"profile": terms.profile, "valid_until": terms.valid_until, "max_devices": terms.max_devices}
    full = Case(When(devices__gte=terms.max_devices, then=Value(True)), default=Value(False))
    ShortCodeRow.objects.filter(pk=row.pk).update(
        **values, is_full=full if terms.max_devices is not None else Value(False)
    )
    row.refresh_from_db()
    after = _told(row)
    if changed := [name for name in after if before[name] != after[name]]:
        _record(
            actor, row, "short_code.changed", at=at,
            before={name: before[name] for name in changed}, after={name: after[name] for name in changed},
        )  # fmt: skip
    return row


def _told(row: ShortCodeRow) -> dict[str, object]:
    """A short code's terms, as the audit keeps them."""
    return {"profile": row.profile_id, "valid_until": row.valid_until, "max_devices": row.max_devices}


def _record(
    actor: Actor,
    row: ShortCodeRow,
    action: str,
    *,
    at: datetime,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    auditing.record(
        actor, organization_id=row.organization_id, action=action, subject=f"short code {row}", at=at,
        before=before, after=after, thing=f"short_code:{row.code}",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arrival:
    """A phone that a door answered by a short code: whose code it was, and what the phone said of itself."""

    mac: str
    model: str
    serial: str
    digits: str
    organization_id: int
    profile_id: int
    at: datetime


@transaction.atomic
def welcome(arrivals: Sequence[Arrival], *, at: datetime) -> list[int | None]:
    """Make devices of these phones, in order; gives the id of each one's device, None where it became none.

    It becomes none if another organization has proven it, if the profile has no room or is gone. A device that its
    owner has proven stays exactly as it is: anybody can type the code and any MAC. Costs a search for all that are
    known, and a registration for each that is new.
    """
    devices = {row.mac: row for row in Device.objects.filter(mac__in={arrival.mac for arrival in arrivals})}
    profiles = {
        row.pk: row
        for row in RedirectProfile.objects.select_related("organization").filter(
            pk__in={arrival.profile_id for arrival in arrivals}
        )
    }
    found: list[int | None] = []
    uses: dict[tuple[int, str, date], list[int]] = defaultdict(lambda: [0, 0])
    for arrival in arrivals:
        device = devices.get(arrival.mac)
        own = device is not None and device.organization_id == arrival.organization_id
        profile = profiles.get(arrival.profile_id)
        use = uses[arrival.organization_id, arrival.digits, arrival.at.date()]
        use[0] += 1
        settled = own and device is not None and (device.proven or device.profile_id == arrival.profile_id)
        if not settled and profile is not None and profile.organization_id == arrival.organization_id:
            adopted = _adopt(arrival, profile, at=at)
            if adopted is not None:
                use[1] += not own
                device, own = adopted, True
                devices[arrival.mac] = adopted
        found.append(device.pk if own and device is not None else None)
    for (organization_id, digits, day), (answers, new) in sorted(uses.items()):
        _count(organization_id, digits, day, answers=answers, new=new, at=at)
    return found


def _adopt(arrival: Arrival, profile: RedirectProfile, *, at: datetime) -> Device | None:
    try:
        return registry.adopt(
            actor=Actor(SOURCE, f"#{arrival.digits}"),
            organization=profile.organization,
            mac=MacAddress.parse(arrival.mac),
            model=arrival.model,
            serial=arrival.serial,
            profile=profile,
            proven=False,
            # Not later than now, whatever the door's clock said.
            at=min(arrival.at, at),
        )
    except (registry.DeviceTaken, registry.ProfileFull, registry.ProfileNotYours, registry.DeviceGone):
        return None


def _count(organization_id: int, digits: str, day: date, *, answers: int, new: int, at: datetime) -> None:
    row = ShortCodeRow.objects.filter(organization_id=organization_id, code=digits).order_by("-id").first()
    if row is None:
        return
    use, _ = ShortCodeUse.objects.get_or_create(short_code=row, day=day)
    ShortCodeUse.objects.filter(pk=use.pk).update(answers=F("answers") + answers, devices=F("devices") + new)
    ShortCodeRow.objects.filter(pk=row.pk).update(devices=F("devices") + new, last_used_at=at)
    # Further phones are refused by the doors as soon as they hear of it.
    ShortCodeRow.objects.filter(pk=row.pk, is_full=False, devices__gte=F("max_devices")).update(is_full=True)


def note_guessing(*, network: str, organization_ids: Sequence[int], at: datetime) -> None:
    """Keep that a network tried many codes: once for the operator, once for each organization whose code it found."""
    present = Organization.objects.filter(pk__in=organization_ids).values_list("pk", flat=True)
    for organization_id in (None, *sorted(present)):
        row, new = CodeGuessing.objects.get_or_create(
            network=network, organization_id=organization_id, defaults={"first_at": at, "last_at": at}
        )
        if not new:
            CodeGuessing.objects.filter(pk=row.pk).update(last_at=at, times=F("times") + 1)


def prune_guessing(*, before: datetime, most: int = 10_000) -> int:
    """Delete what was last reported before `before`; gives how many rows."""
    old = CodeGuessing.objects.filter(last_at__lt=before).order_by("last_at").values_list("pk", flat=True)[:most]
    return CodeGuessing.objects.filter(pk__in=list(old)).delete()[0]
