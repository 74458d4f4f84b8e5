"""What can be done with an organization's people: add, change their role, remove."""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import Membership, Organization, User
from onboarding.errors import OnboardingError


class UsernameTaken(OnboardingError):
    """Somebody has that user name already."""

    code = "username_taken"
    remedy = "Choose another user name, for example the e-mail address."


class WeakPassword(OnboardingError):
    """The password is too easy to guess."""

    code = "weak_password"
    remedy = "Choose a longer one."


class OwnMembership(OnboardingError):
    """People cannot take away their own place: an organization could end up without anybody."""

    code = "own_membership"
    remedy = "Ask another administrator of your organization."


def add(
    *, organization: Organization, username: str, role: str, password: str, email: str = "", name: str = ""
) -> Membership:
    """Make a person who may sign in, with a place in the organization. Raises UsernameTaken, WeakPassword."""
    first, _, last = name.strip().rpartition(" ")
    user = User(
        username=username, email=email, first_name=first or last, last_name=last if first else "", is_staff=True
    )
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise WeakPassword(" ".join(error.messages), field="password") from error
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            return Membership.objects.create(user=user, organization=organization, role=role)
    except IntegrityError as error:
        raise UsernameTaken(f"The user name {username!r} is taken.", field="username") from error


def change_role(membership: Membership, *, role: str, by: User) -> Membership:
    """Give a person another role. Raises OwnMembership."""
    if membership.user_id == by.pk and not by.is_superuser:
        raise OwnMembership("You cannot change your own role.", field="role")
    Membership.objects.filter(pk=membership.pk).update(role=role)
    membership.role = role
    return membership


def remove(membership: Membership, *, by: User) -> None:
    """Take away a person's place in the organization; the account stays. Raises OwnMembership."""
    if membership.user_id == by.pk and not by.is_superuser:
        raise OwnMembership("You cannot remove yourself.")
    Membership.objects.filter(pk=membership.pk).delete()
