"""What can be done with a redirect profile: create, change, delete. Each checks all before it writes anything.

Each leaves an entry in the audit, and has the profile's targets tested.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from accounts import auditing
from accounts.actors import Actor
from accounts.models import Organization
from onboarding import flatprofile, targethealth, targets
from onboarding.errors import OnboardingError
from onboarding.models import RedirectProfile, ShortCode, TargetCheck
from onboarding.registration import Confirm, IdentityDemand, UnprovenEvidence
from onboarding.targets import Addresses


class InvalidProfile(OnboardingError):
    """A field of the profile has a value that it cannot have."""

    code = "invalid_profile"
    remedy = "Correct the field and send it again."


class ProfileNameTaken(OnboardingError):
    """The organization has another profile of that name."""

    code = "profile_name_taken"
    remedy = "Choose another name, or change the profile that has it."


class ProfileInUse(OnboardingError):
    """Devices or codes still refer to the profile."""

    code = "profile_in_use"
    remedy = "Give these devices another profile and disable its short codes, or disable the profile instead."


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFields:
    """Everything that a profile's owner decides."""

    name: str
    targets: list[str]
    parameters: dict[str, str]
    confirm: str = Confirm.CALLBACK
    unproven_evidence: str = UnprovenEvidence.RECORD
    identity: str = IdentityDemand.NONE
    accepts_expired_certificates: bool = False
    match_model: bool = False
    enabled: bool = True
    stalled_after_minutes: int = 30

    def checked(self, *, own: Addresses) -> dict[str, object]:
        """The values in their normal forms. Raises InvalidProfile and what `targets` and `flatprofile` raise."""
        name = self.name.strip()
        if not 1 <= len(name) <= 80 or not name.isprintable():
            raise InvalidProfile("A profile's name has 1 to 80 printable characters.", field="name")
        for field, kinds in (
            ("confirm", Confirm),
            ("unproven_evidence", UnprovenEvidence),
            ("identity", IdentityDemand),
        ):
            if getattr(self, field) not in list(kinds):
                raise InvalidProfile(f"{field} is one of {', '.join(kinds)}.", field=field)
        if not 1 <= self.stalled_after_minutes <= 525_600:
            raise InvalidProfile("stalled_after_minutes is from 1 to 525600.", field="stalled_after_minutes")
        parameters = flatprofile.check_parameters(self.parameters)
        if self.confirm == Confirm.BEACON and "Profile_Rule_B" in parameters:
            raise InvalidProfile(
                "The beacon needs Profile_Rule_B, which the parameters set too.",
                field="parameters",
                remedy="Use Profile_Rule_C for your own rule, or confirm by callback.",
            )
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "name": name,
            "targets": targets.parse_list(self.targets, own=own),
            "parameters": parameters,
        }


def create(
    *, actor: Actor, organization: Organization, values: ProfileFields, own: Addresses, at: datetime
) -> RedirectProfile:
    """Create a profile. Raises InvalidProfile, ProfileNameTaken, and what `targets` and `flatprofile` raise."""
    checked = values.checked(own=own)
    try:
        with transaction.atomic():
            profile = RedirectProfile.objects.create(organization=organization, **checked)
            targethealth.plan(profile, at=at)
            _record(actor, profile, "profile.created", at=at, after=checked)
            return profile
    except IntegrityError as error:
        raise _name_taken(checked["name"]) from error


def change(
    profile: RedirectProfile, *, actor: Actor, values: ProfileFields, own: Addresses, at: datetime
) -> RedirectProfile:
    """Set all fields of a profile. Its phones are answered accordingly as soon as the door hears of it."""
    checked = values.checked(own=own)
    try:
        with transaction.atomic():
            # Locked and read anew: the audit tells before and after, which must be of one moment.
            present = RedirectProfile.objects.select_for_update().filter(pk=profile.pk).values(*checked).first() or {}
            changed = {name: value for name, value in checked.items() if present.get(name) != value}
            for name, value in checked.items():
                setattr(profile, name, value)
            if changed:
                profile.save(update_fields=[*checked, "updated_at"])
                before = {name: present.get(name) for name in changed}
                _record(actor, profile, "profile.changed", at=at, before=before, after=changed)
            targethealth.plan(profile, at=at)
    except IntegrityError as error:
        raise _name_taken(checked["name"]) from error
    return profile


def delete(profile: RedirectProfile, *, actor: Actor, at: datetime) -> None:
    """Delete a profile that no device and no code uses. Raises ProfileInUse."""
    # Asked first: deleting would read every device or code of the profile, perhaps a million, only to refuse.
    if any(_users(profile)) or profile.short_codes.filter(disabled_at=None).exists():
        raise _in_use(profile)
    try:
        with transaction.atomic():
            before = {field.name: getattr(profile, field.name) for field in fields(ProfileFields)}
            _record(actor, profile, "profile.deleted", at=at, before=before)
            # What is left of disabled short codes keeps their digits from others.
            profile.short_codes.exclude(disabled_at=None).update(profile=None)
            profile.delete()
    except (ProtectedError, IntegrityError) as error:
        # A device was given the profile at the same moment.
        raise _in_use(profile) from error


def _record(
    actor: Actor,
    profile: RedirectProfile,
    action: str,
    *,
    at: datetime,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    auditing.record(
        actor, organization_id=profile.organization_id, action=action, subject=f"Profile {profile.name}", at=at,
        before=_told(before or {}), after=_told(after or {}), thing=f"profile:{profile.pk}",
    )  # fmt: skip


def _told(values: Mapping[str, object]) -> dict[str, object]:
    """Values as the audit may keep them: keys and passwords stand in rules, and anything in parameters."""
    told = dict(values)
    if isinstance(rules := told.get("targets"), list):
        told["targets"] = [targets.masked(text) for text in rules]
    if isinstance(parameters := told.get("parameters"), dict):
        told["parameters"] = sorted(parameters)
    return told


def _users(profile: RedirectProfile) -> Iterator[bool]:
    """Whether rows of each table that refers to profiles use this one; short codes that are disabled do not count."""
    for relation in RedirectProfile._meta.related_objects:
        if relation.related_model not in {ShortCode, TargetCheck}:
            yield relation.related_model._default_manager.filter(**{relation.field.name: profile}).exists()


def _in_use(profile: RedirectProfile) -> ProfileInUse:
    return ProfileInUse(f"The profile {profile.name!r} is in use by devices or codes.")


def _name_taken(name: object) -> ProfileNameTaken:
    return ProfileNameTaken(f"There is a profile {name!r} already.", field="name")
