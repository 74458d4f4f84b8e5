"""A key, a person, an organization that was stopped: refused by every operation and every page within a second."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import keys, mandates, organizations, people, views
from accounts.models import ApiKey, Membership, Organization, User
from tests.admin.conftest import browser
from tests.factories import ACTOR, make_key, make_organization, make_user
from tests.walks import estate
from tests.walks.estate import Estate
from tests.walks.test_tenants_in_the_admin import FORM, PLAIN, pages, path_values
from tests.walks.test_tenants_in_the_api import Ask, operations, partner

# What anybody may open.
OPEN = frozenset({"login", "logout", "jsi18n", "passkey", "passkey_options", "new_password", "second_factor", ""})


def _suspend(organization: Organization) -> None:
    organizations.suspend(actor=ACTOR, organization=organization, at=timezone.now())


def _expire(row: ApiKey) -> None:
    ApiKey.objects.filter(pk=row.pk).update(expires_at=timezone.now())


STOPPED: dict[str, Callable[[ApiKey], object]] = {
    "revoked": lambda row: keys.revoke(row, actor=ACTOR, at=timezone.now()),
    "suspended": lambda row: keys.suspend(row, actor=ACTOR, at=timezone.now()),
    "expired": _expire,
    "deleted": lambda row: ApiKey.objects.filter(pk=row.pk).delete(),
    "of a suspended organization": lambda row: _suspend(row.organization),
}


def answers(ask: Ask, own: Estate) -> dict[str, Any]:
    """What every operation answers, to be asked for what there is."""
    values = {name: pair[0] for name, pair in own.named().items()}
    found = {}
    for operation in operations():
        # Refusals are limited for each network, and here they are all that there is.
        views.counts().forget()
        found[operation.label] = ask(operation, values, {}, operation.example)
    return found


@pytest.mark.parametrize("how", STOPPED)
def test_a_stopped_key_is_refused_by_every_operation_within_a_second(how: str, own: Estate) -> None:
    row, text = make_key(organization=own.organization)
    ask = partner(text)
    assert ask(next(one for one in operations() if one.path.endswith("/me/")), {}, {}, None).status_code == 200
    before = estate.state_of(own.organization)

    STOPPED[how](row)
    before |= {name: rows for name, rows in estate.state_of(own.organization).items() if name in _STOPPING}
    time.sleep(0.9)
    found = answers(ask, own)

    assert {label: answer.status_code for label, answer in found.items() if answer.status_code != 401} == {}
    assert estate.state_of(own.organization) == before


# Where stopping itself leaves its mark.
_STOPPING = frozenset({"ApiKey", "AuditEntry", "Organization", "WebhookEndpoint", "WebhookDelivery"})


@pytest.mark.parametrize("side", ["provider", "partner", "mandate"])
def test_a_partner_whose_mandate_ended_is_refused_by_every_operation_within_a_second(side: str, own: Estate) -> None:
    distributor = make_organization(name="Box Logistics", kind="partner")
    mandate = mandates.give(
        actor=ACTOR, provider=own.organization, partner=distributor, scopes=list(mandates.SCOPES), at=timezone.now()
    )
    ask = partner(make_key(organization=distributor)[1], **{"On-Behalf-Of": str(own.organization.pk)})
    assert ask(next(one for one in operations() if one.path.endswith("/me/")), {}, {}, None).status_code == 200

    if side == "mandate":
        mandates.withdraw(mandate, actor=ACTOR, at=timezone.now())
    else:
        _suspend(own.organization if side == "provider" else distributor)
    before = estate.state_of(own.organization)
    time.sleep(0.9)
    found = answers(ask, own)

    assert {answer.status_code for answer in found.values()} <= {401, 403}, found
    assert estate.state_of(own.organization) == before


def _switch_off(person: User) -> None:
    people.suspend(person, actor=ACTOR, at=timezone.now())


def _remove(person: User) -> None:
    people.remove(person.memberships.get(), by=None, actor=ACTOR, at=timezone.now())


PUT_OUT: dict[str, Callable[[User], object]] = {
    "suspended": _switch_off,
    "of a suspended organization": lambda person: _suspend(person.memberships.get().organization),
    "removed from the organization": _remove,
    "whose account is gone": lambda person: person.delete(),
}


@pytest.mark.parametrize("how", PUT_OUT)
def test_a_stopped_person_is_refused_by_every_page_at_once(how: str, own: Estate) -> None:
    person = make_user(organization=own.organization, role="admin", username="walker")
    client = browser(person)
    client.raise_request_exception = False
    assert client.get("/admin/onboarding/device/").status_code == 200

    PUT_OUT[how](person)
    before = estate.state_of(own.organization)
    seen = _opened(client, own)

    # Who is in no organization any more is somebody still: with an account of their own, and nothing else.
    own_pages = PLAIN | {"onboarding_device_find", "search"} if "removed" in how else OPEN
    assert sorted(set(seen) - own_pages) == []
    assert estate.state_of(own.organization) == before
    assert not Membership.objects.filter(user__username="walker", organization__suspended_at=None, user__is_active=True)


def _opened(client: Client, own: Estate) -> list[str]:
    """The names of the pages that are not refused."""
    seen = []
    for page in pages():
        values = path_values(page, own)
        if values is None:
            continue
        for method in (client.get, client.post):
            response = method(page.address(values[0]), FORM)
            to_login = response.status_code == 302 and response["Location"].startswith("/admin/login/")
            gone = response.status_code == 302 and page.names and own.mark not in str(response.headers)
            if not (to_login or gone or response.status_code in (403, 404, 405, 410)):
                seen.append(page.name)
            assert own.device.label not in response.content.decode() if not response.streaming else True
    return seen
