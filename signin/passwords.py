"""Passwords: changed by their owner, or chosen anew through a link that an administrator made, good once and for a day.

The link holds Django's token: an HMAC over the account, its password's digest and its last sign-in, so the first use,
a changed password and a sign-in each end it.
"""

from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from accounts import standing
from accounts.actors import Actor
from accounts.models import Membership, User
from accounts.people import WeakPassword
from onboarding.errors import OnboardingError
from signin import factors, recording, sessions


class LinkUsed(OnboardingError):
    """The link was used, or ended by a sign-in, while its form was being sent."""

    code = "link_used"
    remedy = "Ask an administrator of your organization for another link."


class NotYours(OnboardingError):
    """Whoever can choose a person's password or take away the second factor can be that person."""

    code = "not_your_person"
    remedy = "Ask the operator of this service."


@transaction.atomic
def change(person: User, *, password: str, session_key: str, actor: Actor, at: datetime) -> User:
    """Set one's own password, the former one having been checked. Ends the other sessions. Raises WeakPassword."""
    return _set(person, password, action="person.password_changed", keep=session_key, actor=actor, at=at)


@transaction.atomic
def choose(person: User, *, password: str, actor: Actor, at: datetime) -> User:
    """Set the password through a link, of which `person` is as it was checked against. Ends all sessions.

    Raises WeakPassword, LinkUsed.
    """
    held = factors.lock(person)
    if (held.password, held.last_login) != (person.password, person.last_login):
        raise LinkUsed("This link was used already.")
    return _set(held, password, action="person.password_chosen", keep=None, actor=actor, at=at)


def make_link(person: User, *, actor: Actor, at: datetime) -> tuple[str, str]:
    """The two parts of a link's path. On the record."""
    with transaction.atomic():
        recording.record(actor, person, "person.password_link_made", at=at)
    return urlsafe_base64_encode(force_bytes(person.pk)), default_token_generator.make_token(person)


def require_own(person: User, *, by: User) -> None:
    """Refuse unless `by` administers every organization that the person belongs to. Raises NotYours."""
    if by.is_superuser:
        return
    administered = standing.of_user(by).viewer(standing.ADMINS).organization_ids
    belongs = set(Membership.objects.filter(user=person).values_list("organization_id", flat=True)[:1000])
    if person.is_superuser or not belongs or not belongs <= administered:
        raise NotYours(f"{person.get_username()} also belongs to an organization that you do not administer.")


def _set(person: User, password: str, *, action: str, keep: str | None, actor: Actor, at: datetime) -> User:
    person = factors.lock(person)
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise WeakPassword(" ".join(error.messages), field="new_password") from error
    person.set_password(password)
    person.save(update_fields=["password"])
    sessions.end(person, but=keep)
    recording.record(actor, person, action, at=at)
    return person
