"""Mandates: a provider lets a partner act for it, within scopes and profiles, until it withdraws that.

Given and withdrawn by the provider alone, seen by both, audited in both organizations. A mandate is looked at with
every request that uses it, so a withdrawal holds from the next request on.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import IntegrityError, transaction

from accounts import auditing, keys
from accounts.actors import Actor
from accounts.models import Mandate, Organization
from onboarding.errors import OnboardingError

# People, keys and mandates stay the provider's own: with them a partner could give itself everything.
SCOPES = tuple(scope for scope in keys.SCOPES if scope != "organization:admin")

MOST_PROFILES = 1000
# Of one provider, or of one partner that lists what it holds.
MOST_IN_FORCE = 1000
_LONGEST_NOTE = 200


class NoMandate(OnboardingError):
    """The caller may not act for that organization: the same for every reason there is."""

    code = "no_mandate"
    remedy = "Ask that organization to give yours a mandate. `mandates` of /api/v1/me/ lists those that you hold."


class OutsideMandate(OnboardingError):
    """The mandate is limited to some profiles, and this goes beyond them."""

    code = "outside_mandate"
    remedy = "Stay within the mandate's profiles, or ask the provider to widen it."


class NotTheProvider(OnboardingError):
    """Somebody else than the provider would withdraw a mandate."""

    code = "not_the_provider"
    remedy = "Ask the provider to withdraw it, or just do not use it."


class InvalidMandate(OnboardingError):
    """A mandate cannot be given like this."""

    code = "invalid_mandate"
    remedy = "Correct the field and send it again."


class UnknownPartner(OnboardingError):
    """There is no such partner organization."""

    code = "unknown_partner"
    remedy = "Ask the partner for the id that /api/v1/me/ tells its keys."


class MandateExists(OnboardingError):
    """The partner holds a mandate of this provider already."""

    code = "mandate_exists"
    remedy = "Withdraw the one that there is first."


def partner(*, partner_id: int | None = None, name: str = "") -> Organization:
    """The partner with this id or exact name. Raises UnknownPartner."""
    partners = Organization.objects.filter(kind="partner")
    found = partners.filter(pk=partner_id) if partner_id is not None else partners.filter(name=name.strip())
    organization: Organization | None = found.first()
    if organization is None:
        raise UnknownPartner("There is no such partner.", field="partner")
    return organization


@transaction.atomic
def give(
    *,
    actor: Actor,
    provider: Organization,
    partner: Organization,
    scopes: Sequence[str],
    profile_ids: Collection[int] = (),
    note: str = "",
    at: datetime,
    held: Collection[str] | None = None,
) -> Mandate:
    """Give a mandate; no profiles: all of them, also those to come. `held`: the scopes that the giver may give on.

    Raises InvalidMandate, MandateExists, UnknownPartner, and what `keys.check_scopes` raises.
    """
    scopes, note = keys.check_scopes(scopes, held=held), note.strip()
    if not set(scopes) <= set(SCOPES):
        raise InvalidMandate("organization:admin cannot be given to another organization.", field="scopes")
    if partner.kind != "partner":
        raise UnknownPartner("There is no such partner.", field="partner")
    if partner.pk == provider.pk:
        raise InvalidMandate("An organization needs no mandate to act for itself.", field="partner")
    if len(note) > _LONGEST_NOTE or not note.isprintable():
        raise InvalidMandate(f"A note has at most {_LONGEST_NOTE} printable characters.", field="note")
    profiles = _checked_profiles(provider, profile_ids)
    in_force = Mandate.objects.filter(provider=provider, withdrawn_at=None)
    if in_force[:MOST_IN_FORCE].count() >= MOST_IN_FORCE:
        raise InvalidMandate(f"At most {MOST_IN_FORCE} mandates can be in force.", remedy="Withdraw one first.")
    try:
        with transaction.atomic():
            mandate: Mandate = Mandate.objects.create(
                provider=provider,
                partner=partner,
                scopes=scopes,
                profile_ids=profiles,
                note=note,
                given_at=at,
                given_by=f"{actor.source} {actor.name}"[:160],
            )
    except IntegrityError as error:
        raise MandateExists(f"{partner} holds a mandate already.", field="partner") from error
    terms: dict[str, object] = {"scopes": scopes, "profiles": profiles or "all", "note": note}
    _record(actor, mandate, "mandate.given", at=at, after=terms)
    return mandate


@transaction.atomic
def withdraw(mandate: Mandate, *, actor: Actor, at: datetime) -> bool:
    """End a mandate, from the next request on. Again changes nothing; gives whether it was in force."""
    done = bool(
        Mandate.objects.filter(pk=mandate.pk, withdrawn_at=None).update(
            withdrawn_at=at, withdrawn_by=f"{actor.source} {actor.name}"[:160]
        )
    )
    if done:
        terms: dict[str, object] = {"scopes": mandate.scopes, "profiles": mandate.profile_ids or "all"}
        _record(actor, mandate, "mandate.withdrawn", at=at, before=terms)
    return done


def find(*, partner_id: int, provider_id: int) -> Mandate | None:
    """The mandate under which the partner may act for the provider now."""
    rows = Mandate.objects.in_force().filter(partner_id=partner_id, provider_id=provider_id)
    found: Mandate | None = rows.select_related("provider").first()
    return found


def held_by(partner_ids: Collection[int]) -> list[Mandate]:
    """The mandates that these organizations may use now, by the provider's name."""
    rows = Mandate.objects.in_force().filter(partner_id__in=partner_ids)
    return list(rows.select_related("provider").order_by("provider__name", "pk")[:MOST_IN_FORCE])


def _checked_profiles(provider: Organization, profile_ids: Collection[int]) -> list[int]:
    wanted = sorted(set(profile_ids))
    if len(wanted) > MOST_PROFILES:
        raise InvalidMandate(f"At most {MOST_PROFILES} profiles can be named.", field="profiles")
    # Profiles are of a floor above; the organization knows those that refer to it.
    own = set(provider.profiles.filter(pk__in=wanted).values_list("pk", flat=True))
    if missing := [number for number in wanted if number not in own]:
        raise InvalidMandate(f"There is no profile {missing[0]}.", field="profiles")
    return wanted


def _record(
    actor: Actor,
    mandate: Mandate,
    action: str,
    *,
    at: datetime,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    thing = f"mandate:{mandate.pk}"
    auditing.record(
        actor, organization_id=mandate.provider_id, action=action, subject=f"mandate of {mandate.partner}", at=at,
        before=before, after=after, thing=thing,
    )  # fmt: skip
    # Who at the provider did it, and from where, is not the partner's to know.
    stranger = Actor(actor.source, str(mandate.provider), organization_id=mandate.provider_id)
    auditing.record(
        stranger, organization_id=mandate.partner_id, action=action, subject=f"mandate for {mandate.provider}", at=at,
        before=before, after=after, thing=thing,
    )  # fmt: skip
