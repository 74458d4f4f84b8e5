"""What can be done with organizations: create, change, suspend, resume. The operator's verbs; each leaves its entry."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from django.db import IntegrityError, transaction

from accounts import auditing
from accounts.actors import Actor
from accounts.models import Organization
from onboarding.errors import OnboardingError

_KINDS = ("provider", "partner")

Written = TypeVar("Written")


class InvalidOrganization(OnboardingError):
    """An organization cannot be like this."""

    code = "invalid_organization"
    remedy = "Correct the field and send it again."


class OrganizationNameTaken(OnboardingError):
    """Another organization has that name."""

    code = "organization_name_taken"
    remedy = "Choose another name."


@transaction.atomic
def create(*, actor: Actor, name: str, kind: str = "provider", at: datetime) -> Organization:
    """Make an organization. Raises InvalidOrganization, OrganizationNameTaken."""
    values = _checked(name=name, kind=kind)
    organization = _written(lambda: Organization.objects.create(**values), str(values["name"]))
    _record(actor, organization, "organization.created", at=at, after=values)
    return organization


@transaction.atomic
def change(
    *, actor: Actor, organization: Organization, name: str, kind: str, requires_second_factor: bool, at: datetime
) -> Organization:
    """Set what is known of an organization. Raises InvalidOrganization, OrganizationNameTaken."""
    held: Organization = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    values = _checked(name=name, kind=kind) | {"requires_second_factor": requires_second_factor}
    before = {field: getattr(held, field) for field in values}
    if before != values:
        _written(lambda: Organization.objects.filter(pk=held.pk).update(**values), str(values["name"]))
        held.refresh_from_db()
        changed = [field for field in values if before[field] != values[field]]
        _record(
            actor, held, "organization.changed", at=at,
            before={field: before[field] for field in changed}, after={field: values[field] for field in changed},
        )  # fmt: skip
    return held


@transaction.atomic
def suspend(*, actor: Actor, organization: Organization, at: datetime) -> bool:
    """Refuse its phones, keys and people from now on; gives whether it was not suspended before."""
    done = bool(Organization.objects.filter(pk=organization.pk, suspended_at=None).update(suspended_at=at))
    if done:
        _record(actor, organization, "organization.suspended", at=at)
    return done


@transaction.atomic
def resume(*, actor: Actor, organization: Organization, at: datetime) -> bool:
    """End a suspension; gives whether there was one."""
    suspended = Organization.objects.filter(pk=organization.pk, suspended_at__isnull=False)
    done = bool(suspended.update(suspended_at=None))
    if done:
        _record(actor, organization, "organization.resumed", at=at)
    return done


def _checked(*, name: str, kind: str) -> dict[str, object]:
    name = name.strip()
    if not 1 <= len(name) <= 120 or not name.isprintable():
        raise InvalidOrganization("An organization's name has 1 to 120 printable characters.", field="name")
    if kind not in _KINDS:
        raise InvalidOrganization(f"The kind is one of {', '.join(_KINDS)}.", field="kind")
    return {"name": name, "kind": kind}


def _written(write: Callable[[], Written], name: str) -> Written:
    try:
        with transaction.atomic():
            return write()
    except IntegrityError as error:
        raise OrganizationNameTaken(f"There is an organization {name!r} already.", field="name") from error


def _record(
    actor: Actor,
    organization: Organization,
    action: str,
    *,
    at: datetime,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    auditing.record(
        actor, organization_id=organization.pk, action=action, subject=f"organization {organization.name}", at=at,
        before=before, after=after, thing=f"organization:{organization.pk}",
    )  # fmt: skip
