"""What can be done with people: add, change their role, remove; lock out and let in again. Each leaves its entry."""

from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts import auditing
from accounts.actors import Actor
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


class InvalidPerson(OnboardingError):
    """A field of the person has a value that it cannot have."""

    code = "invalid_person"
    remedy = "Correct the field and send it again."


class PersonGone(OnboardingError):
    """The person was removed while this was under way."""

    code = "not_found"
    remedy = "Look the person up again."


class OwnMembership(OnboardingError):
    """People cannot take away their own place: an organization could end up without anybody."""

    code = "own_membership"
    remedy = "Ask another administrator of your organization."


class LastAdministrator(OnboardingError):
    """An organization must keep somebody who can manage its people and keys."""

    code = "last_administrator"
    remedy = "Make somebody else an administrator first."


class UnknownRole(OnboardingError):
    """A role that this service does not know."""

    code = "unknown_role"
    remedy = "Roles are: admin, staff, reader."


_ROLES = ("admin", "staff", "reader")


@transaction.atomic
def add(
    *,
    actor: Actor,
    organization: Organization,
    username: str,
    role: str,
    password: str,
    at: datetime,
    email: str = "",
    name: str = "",
) -> Membership:
    """Make a person who may sign in, with a place in the organization.

    Raises UnknownRole, InvalidPerson, UsernameTaken, WeakPassword.
    """
    _check_role(role)
    first, _, last = name.strip().rpartition(" ")
    user = User(
        username=User.normalize_username(username),
        email=email,
        first_name=first or last,
        last_name=last if first else "",
        is_staff=True,
    )
    try:
        user.clean_fields(exclude=["password", "last_login"])
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        known = {"first_name": "name", "last_name": "name"}
        raise InvalidPerson(" ".join(messages), field=known.get(field, field)) from error
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise WeakPassword(" ".join(error.messages), field="password") from error
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            membership = Membership.objects.create(user=user, organization=organization, role=role)
    except IntegrityError as error:
        raise UsernameTaken(f"The user name {username!r} is taken.", field="username") from error
    _record(actor, membership, "person.added", at=at, after={"role": role, "email": email, "name": name.strip()})
    return membership


@transaction.atomic
def change_role(membership: Membership, *, role: str, by: User | None, actor: Actor, at: datetime) -> Membership:
    """Give a person another role. `by` is the person who does it, None for a key.

    Raises UnknownRole, OwnMembership, LastAdministrator, PersonGone.
    """
    _check_role(role)
    if _is_own(membership, by):
        raise OwnMembership("You cannot change your own role.", field="role")
    held = _locked(membership)
    if role != "admin":
        _check_not_last(held, field="role")
    if held.role != role:
        Membership.objects.filter(pk=held.pk).update(role=role)
        _record(actor, held, "person.role_changed", at=at, before={"role": held.role}, after={"role": role})
    membership.role = role
    return membership


@transaction.atomic
def remove(membership: Membership, *, by: User | None, actor: Actor, at: datetime) -> None:
    """Take away a person's place in the organization; the account stays.

    Raises OwnMembership, LastAdministrator, PersonGone.
    """
    if _is_own(membership, by):
        raise OwnMembership("You cannot remove yourself.")
    held = _locked(membership)
    _check_not_last(held)
    Membership.objects.filter(pk=held.pk).delete()
    _record(actor, held, "person.removed", at=at, before={"role": held.role})


@transaction.atomic
def create_operator(*, actor: Actor, username: str, password: str, at: datetime) -> User:
    """Make an account that may everything; the caller has seen to its password."""
    user: User = User.objects.create_superuser(username, password=password)
    auditing.record(
        actor, organization_id=None, action="account.created", subject=f"account {username}", at=at,
        after={"username": username, "is_superuser": True}, thing=f"account:{user.pk}",
    )  # fmt: skip
    return user


@transaction.atomic
def suspend(user: User, *, actor: Actor, at: datetime) -> bool:
    """Lock a person out everywhere, until resumed: the operator's verb. Gives whether they were not locked out before.

    Every organization that the person belongs to reads of it.
    """
    done = bool(User.objects.filter(pk=user.pk, is_active=True).update(is_active=False))
    if done:
        user.is_active = False
        note_standing(user, actor=actor, at=at)
    return done


@transaction.atomic
def resume(user: User, *, actor: Actor, at: datetime) -> bool:
    """Let a suspended person in again; gives whether they were suspended."""
    done = bool(User.objects.filter(pk=user.pk, is_active=False).update(is_active=True))
    if done:
        user.is_active = True
        note_standing(user, actor=actor, at=at)
    return done


def note_standing(user: User, *, actor: Actor, at: datetime) -> None:
    """Tell each organization of a person that they are locked out, or let in again; the caller has written it."""
    _record_everywhere(actor, user, "person.resumed" if user.is_active else "person.suspended", at=at)


@transaction.atomic
def admit(membership: Membership, *, actor: Actor, at: datetime) -> None:
    """Give a person who has an account already a place in an organization."""
    membership.save(force_insert=True)
    _record(actor, membership, "person.added", at=at, after={"role": membership.role})


@transaction.atomic
def delete_account(user: User, *, actor: Actor, at: datetime) -> None:
    """Delete an account with all its places: the operator's verb."""
    _record_everywhere(actor, user, "person.removed", at=at)
    auditing.record(
        actor, organization_id=None, action="account.deleted", subject=f"account {user.get_username()}", at=at,
        before={"email": user.email}, thing=f"account:{user.pk}",
    )  # fmt: skip
    user.delete()


def lock(organization: Organization) -> None:
    """Hold the organization's people: of two who remove each other, the second finds the first one gone."""
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)


def _is_own(membership: Membership, by: User | None) -> bool:
    return by is not None and membership.user_id == by.pk and not by.is_superuser


def _locked(membership: Membership) -> Membership:
    """The membership as it is now, with its organization's people held."""
    lock(membership.organization)
    held: Membership | None = Membership.objects.filter(pk=membership.pk).select_related("user").first()
    if held is None:
        raise PersonGone("The person does not belong to the organization any more.")
    return held


def _check_not_last(held: Membership, *, field: str | None = None) -> None:
    others = Membership.objects.filter(organization_id=held.organization_id, role="admin", user__is_active=True)
    if held.role == "admin" and not others.exclude(pk=held.pk).exists():
        raise LastAdministrator(f"{held.user} is the organization's last administrator.", field=field)


def _check_role(role: str) -> None:
    if role not in _ROLES:
        raise UnknownRole(f"{role!r} is not a role.", field="role")


def _record(
    actor: Actor,
    membership: Membership,
    action: str,
    *,
    at: datetime,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    auditing.record(
        actor, organization_id=membership.organization_id, action=action, at=at, before=before, after=after,
        subject=f"person {membership.user.get_username()}", thing=f"person:{membership.user_id}",
    )  # fmt: skip


def _record_everywhere(actor: Actor, user: User, action: str, *, at: datetime) -> None:
    places = list(Membership.objects.filter(user=user).values_list("organization_id", flat=True))
    for organization_id in places:
        auditing.record(
            actor, organization_id=organization_id, action=action, subject=f"person {user.get_username()}", at=at,
            thing=f"person:{user.pk}",
        )  # fmt: skip
