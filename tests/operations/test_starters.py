"""An operation goes on only while whoever started it may have it done."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import keys, mandates, organizations, people
from accounts.actors import Actor
from accounts.models import ApiKey, Organization, User
from onboarding.models import Device
from operations import running
from operations.models import Operation
from operations.receiving import ROWS_A_PART
from tests.factories import ACTOR, OWN, make_key, make_organization, make_user
from tests.operations.work import receive

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider() -> Organization:
    return make_organization(name="Alpenphone")


@pytest.fixture
def distributor() -> Organization:
    return make_organization(name="Box Logistics", kind="partner")


def half_done(organization: Organization, actor: Actor) -> Operation:
    """An operation of two parts, of which the first is done."""
    rows = "".join(f"{0x00AA00000000 + number:012X},CP-8841-3PCC\n" for number in range(ROWS_A_PART + 1))
    sheet = receive(organization, f"mac,model\n{rows}")
    operation = running.start(actor=actor, sheet=sheet, kind="import", dry_run=True, at=timezone.now())
    part(operation)
    assert (operation.status, operation.processed) == ("running", ROWS_A_PART)
    return operation


def part(operation: Operation) -> None:
    at = timezone.now() + timedelta(seconds=1)
    assert running.lease_it(operation, "mine", at=at)
    running.do_part(operation.pk, "mine", at=at, own=OWN)
    operation.refresh_from_db()


def mandated(provider: Organization, distributor: Organization, **terms: Any) -> Any:
    return mandates.give(
        actor=ACTOR, provider=provider, partner=distributor, scopes=["devices:write"], at=timezone.now(), **terms
    )


KEYS: dict[str, tuple[Callable[[ApiKey], object], str]] = {
    "revoked": (lambda key: keys.revoke(key, actor=ACTOR, at=timezone.now()), "failed"),
    "suspended": (lambda key: keys.suspend(key, actor=ACTOR, at=timezone.now()), "failed"),
    "replaced": (lambda key: ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now()), "done"),
    "left alone": (lambda key: None, "done"),
}


@pytest.mark.parametrize("what", KEYS)
def test_an_operation_of_a_key_that_was_stopped_is_not_done_further(what: str, provider: Organization) -> None:
    key = make_key(organization=provider)[0]
    operation = half_done(provider, Actor("api", key.prefix))
    happens, status = KEYS[what]

    happens(key)
    part(operation)

    assert operation.status == status
    assert ("was stopped" in operation.reason) is (status == "failed")
    assert (operation.processed == ROWS_A_PART) is (status == "failed")


MANDATES: dict[str, tuple[Callable[[Any], object], str]] = {
    "withdrawn": (lambda mandate: mandates.withdraw(mandate, actor=ACTOR, at=timezone.now()), "failed"),
    "of a suspended partner": (
        lambda mandate: organizations.suspend(actor=ACTOR, organization=mandate.partner, at=timezone.now()), "failed",
    ),
    "in force": (lambda mandate: None, "done"),
}  # fmt: skip


@pytest.mark.parametrize("source", ["api", "admin"])
@pytest.mark.parametrize("what", MANDATES)
def test_an_operation_under_a_mandate_that_ended_is_not_done_further(
    what: str, source: str, provider: Organization, distributor: Organization
) -> None:
    mandate = mandated(provider, distributor)
    make_user(organization=distributor, role="staff", username="dora")
    name = make_key(organization=distributor)[0].prefix if source == "api" else "dora"
    operation = half_done(provider, Actor(source, name, organization_id=distributor.pk))
    happens, status = MANDATES[what]

    happens(mandate)
    part(operation)

    assert operation.status == status


PEOPLE: dict[str, tuple[Callable[[User], object], str]] = {
    "switched off": (lambda person: people.suspend(person, actor=ACTOR, at=timezone.now()), "failed"),
    "removed": (
        lambda person: people.remove(person.memberships.get(), by=None, actor=ACTOR, at=timezone.now()), "failed",
    ),
    "made a reader": (lambda person: person.memberships.update(role="reader"), "failed"),
    "left alone": (lambda person: None, "done"),
}  # fmt: skip


@pytest.mark.parametrize("what", PEOPLE)
def test_an_operation_of_a_person_who_was_stopped_is_not_done_further(what: str, provider: Organization) -> None:
    person = make_user(organization=provider, username="stan")
    operation = half_done(provider, Actor("admin", "stan"))
    happens, status = PEOPLE[what]

    happens(person)
    part(operation)

    assert operation.status == status
    assert not Device.objects.exists()
