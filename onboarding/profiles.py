"""What can be done with a redirect profile: create, change, delete. Each checks all before it writes anything."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from accounts.models import Organization
from onboarding import flatprofile, targets
from onboarding.errors import OnboardingError
from onboarding.models import RedirectProfile, ShortCode
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


def create(*, organization: Organization, values: ProfileFields, own: Addresses) -> RedirectProfile:
    """Create a profile. Raises InvalidProfile, ProfileNameTaken, and what `targets` and `flatprofile` raise."""
    checked = values.checked(own=own)
    try:
        with transaction.atomic():
            return RedirectProfile.objects.create(organization=organization, **checked)
    except IntegrityError as error:
        raise _name_taken(checked["name"]) from error


def change(profile: RedirectProfile, *, values: ProfileFields, own: Addresses) -> RedirectProfile:
    """Set all fields of a profile. Its phones are answered accordingly as soon as the door hears of it."""
    checked = values.checked(own=own)
    for name, value in checked.items():
        setattr(profile, name, value)
    try:
        with transaction.atomic():
            profile.save(update_fields=[*checked, "updated_at"])
    except IntegrityError as error:
        raise _name_taken(checked["name"]) from error
    return profile


def delete(profile: RedirectProfile) -> None:
    """Delete a profile that no device and no code uses. Raises ProfileInUse."""
    # Asked first: deleting would read every device or code of the profile, perhaps a million, only to refuse.
    if any(_users(profile)) or profile.short_codes.filter(disabled_at=None).exists():
        raise _in_use(profile)
    try:
        with transaction.atomic():
            # What is left of disabled short codes keeps their digits from others.
            profile.short_codes.exclude(disabled_at=None).update(profile=None)
            profile.delete()
    except (ProtectedError, IntegrityError) as error:
        # A device was given the profile at the same moment.
        raise _in_use(profile) from error


def _users(profile: RedirectProfile) -> Iterator[bool]:
    """Whether rows of each table that refers to profiles use this one; short codes that are disabled do not count."""
    for relation in RedirectProfile._meta.related_objects:
        if relation.related_model is not ShortCode:
            yield relation.related_model._default_manager.filter(**{relation.field.name: profile}).exists()


def _in_use(profile: RedirectProfile) -> ProfileInUse:
    return ProfileInUse(f"The profile {profile.name!r} is in use by devices or codes.")


def _name_taken(name: object) -> ProfileNameTaken:
    return ProfileNameTaken(f"There is a profile {name!r} already.", field="name")
