"""One provider's people never reach another's rows, on any page of the admin site."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import auditing, mandates
from accounts.models import ApiKey, AuditEntry, Mandate, Membership, Organization, User
from activation.models import AuditedReading, IssuedCode
from events.models import Event, WebhookEndpoint
from onboarding.models import CodeGuessing, Device, RedirectProfile, ShortCode, Sighting, StateChange
from operations import receiving, running
from operations.models import Operation
from tests.activation.factories import make_code
from tests.admin.conftest import browser
from tests.factories import (
    ACTOR,
    make_device,
    make_key,
    make_mac,
    make_organization,
    make_profile,
    make_short_code,
    make_user,
)
from tests.walks.estate import operators_rows
from trust.models import Authority, RevocationList

# What stands in a foreign row and nowhere else.
MARK = "Zanzibar"


def _sighting(organization: Organization) -> Sighting:
    now = timezone.now()
    return Sighting.objects.create(mac=str(make_mac()), first_at=now, last_at=now, model=MARK.upper())


def _reading(organization: Organization) -> AuditedReading:
    values = {"issued_code_id": 1, "at": timezone.now(), "source": "admin", "reader": MARK, "purpose": "reveal"}
    return AuditedReading.objects.create(organization=organization, **values)


def _entry(organization: Organization) -> AuditEntry:
    auditing.record(ACTOR, organization_id=organization.pk, action="x.y", subject=MARK, at=timezone.now())
    return AuditEntry.objects.get(subject=MARK)


def _mandate(organization: Organization) -> Mandate:
    return mandates.give(
        actor=ACTOR, provider=organization, partner=make_organization(kind="partner"), scopes=["devices:read"],
        note=MARK, at=timezone.now(),
    )  # fmt: skip


def _webhook(organization: Organization) -> WebhookEndpoint:
    return WebhookEndpoint.objects.create(
        organization=organization, url=f"https://{MARK}.example/", secret=b"x", created_at=timezone.now(),
        created_by=MARK,
    )  # fmt: skip


def _event(organization: Organization) -> Event:
    now = timezone.now()
    return Event.objects.create(
        position=1, organization=organization, type="device.claimed", at=now, recorded_at=now, data={"label": MARK}
    )


def _operation(organization: Organization) -> Operation:
    at = timezone.now()
    stream = BytesIO(b"mac,model\n00562BFFFFFF,CP-8841-3PCC\n")
    sheet = receiving.receive_csv(organization=organization, stream=stream, file_name=MARK, at=at)
    return running.start(actor=ACTOR, sheet=sheet, kind="import", dry_run=True, at=at)


FOREIGN: dict[type[Model], Callable[[Organization], Model]] = {
    Organization: lambda organization: organization,
    User: lambda organization: make_user(organization=organization, username=MARK),
    Membership: lambda organization: make_user(organization=organization, username=MARK).memberships.get(),
    ApiKey: lambda organization: make_key(organization=organization, name=MARK)[0],
    RedirectProfile: lambda organization: make_profile(organization=organization, name=MARK),
    Device: lambda organization: make_device(organization=organization, label=MARK),
    StateChange: lambda organization: make_device(organization=organization, label=MARK).changes.get(),
    Sighting: _sighting,
    ShortCode: lambda organization: make_short_code(profile=make_profile(organization=organization, name=MARK)),
    CodeGuessing: lambda organization: CodeGuessing.objects.create(
        organization=organization, network=MARK, first_at=timezone.now(), last_at=timezone.now()
    ),
    AuditEntry: _entry,
    Mandate: _mandate,
    Operation: _operation,
    WebhookEndpoint: _webhook,
    Event: _event,
    IssuedCode: lambda organization: make_code(profile=make_profile(organization=organization), label=MARK)[0],
    AuditedReading: _reading,
    Authority: lambda organization: operators_rows(MARK)[0],
    RevocationList: lambda organization: operators_rows(MARK)[1],
}


def address(row: Any, page: str, *args: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=args)


@pytest.fixture
def foreign(request: pytest.FixtureRequest, other: Organization) -> Model:
    Organization.objects.filter(pk=other.pk).update(name=f"{MARK} Telecom")
    other.refresh_from_db()
    return FOREIGN[request.param](other)


every_model = pytest.mark.parametrize("foreign", FOREIGN, indirect=True, ids=lambda model: model.__name__)


def test_every_registered_page_is_tried_here() -> None:
    assert set(admin.site._registry) == set(FOREIGN)


@every_model
def test_a_foreign_row_is_in_no_list(foreign: Model, administrator: Client) -> None:
    response = administrator.get(address(foreign, "changelist"))

    assert response.status_code in (200, 403)
    assert MARK.lower() not in response.content.decode().lower()


@every_model
def test_a_foreign_row_is_found_by_no_search(foreign: Model, administrator: Client) -> None:
    term = getattr(foreign, "mac", None) or getattr(foreign, "prefix", None) or MARK

    response = administrator.get(address(foreign, "changelist"), {"q": term})

    assert response.status_code in (200, 403)
    if response.status_code == 200:
        assert not list(response.context["cl"].result_list)


@every_model
@pytest.mark.parametrize("page", ["change", "delete", "history"])
def test_a_foreign_row_has_no_page(foreign: Model, page: str, administrator: Client) -> None:
    own = administrator.get(address(foreign, page, 987654321))

    for method in (administrator.get, administrator.post):
        response = method(address(foreign, page, foreign.pk))

        assert response.status_code in (302, 403)
        assert response.status_code == own.status_code or response.status_code == 403
        assert MARK.lower() not in response.content.decode().lower()
    assert type(foreign)._default_manager.filter(pk=foreign.pk).exists()


@every_model
def test_no_action_reaches_a_foreign_row(foreign: Model, administrator: Client) -> None:
    for action in ("release_selected", "revoke_selected", "remove_selected", "delete_selected"):
        for select_across in ("0", "1"):
            administrator.post(
                address(foreign, "changelist"),
                {"action": action, "_selected_action": [foreign.pk], "post": "yes", "select_across": select_across},
            )

    row = type(foreign)._default_manager.get(pk=foreign.pk)
    assert getattr(row, "revoked_at", None) is None


@pytest.mark.parametrize(
    ("app", "model", "field"),
    [
        ("onboarding", "device", "profile"),
        ("onboarding", "device", "organization"),
        ("onboarding", "statechange", "device"),
        ("activation", "issuedcode", "profile"),
        ("activation", "issuedcode", "organization"),
        ("accounts", "membership", "user"),
        ("accounts", "membership", "organization"),
    ],
)
def test_autocompletion_offers_nothing_foreign(
    app: str, model: str, field: str, other: Organization, administrator: Client
) -> None:
    Organization.objects.filter(pk=other.pk).update(name=MARK)
    make_user(organization=other, username=MARK)
    device = make_device(profile=make_profile(organization=other, name=MARK))

    for term in ("", MARK, device.mac):
        response = administrator.get(
            reverse("admin:autocomplete"), {"app_label": app, "model_name": model, "field_name": field, "term": term}
        )

        assert response.status_code in (200, 403)
        assert MARK not in response.content.decode()
        assert device.mac not in response.content.decode()


def test_a_foreign_device_is_not_explained(other: Organization, administrator: Client) -> None:
    device = make_device(organization=other, model="CP-8865-3PCC")

    response = administrator.get(address(device, "explain", device.pk))

    assert response.status_code == 302
    assert "8865" not in response.content.decode()


def test_a_foreign_history_is_not_shown_through_the_link_of_a_device_page(
    other: Organization, administrator: Client
) -> None:
    device = make_device(organization=other)

    response = administrator.get(reverse("admin:onboarding_statechange_changelist"), {"device__exact": device.pk})

    assert not list(response.context["cl"].result_list)


@pytest.mark.parametrize("filtered", ["organization", "profile"])
def test_filters_neither_offer_nor_reach_what_is_foreign(
    filtered: str, other: Organization, administrator: Client
) -> None:
    device = make_device(profile=make_profile(organization=other, name=MARK))
    value = getattr(device, f"{filtered}_id")

    response = administrator.get(reverse("admin:onboarding_device_changelist"), {filtered: value})

    assert not list(response.context["cl"].result_list)
    assert MARK not in response.content.decode()


def test_a_device_cannot_be_given_a_foreign_profile(
    provider: Organization, other: Organization, administrator: Client
) -> None:
    device, profile = make_device(organization=provider), make_profile(organization=other)

    response = administrator.post(address(device, "change", device.pk), {"model": device.model, "profile": profile.pk})

    assert response.status_code == 200
    assert "not one of the available choices" in response.content.decode()
    device.refresh_from_db()
    assert device.profile is None


def test_a_row_cannot_be_made_for_a_foreign_organization(other: Organization, administrator: Client) -> None:
    administrator.post(
        reverse("admin:onboarding_device_add"),
        {"mac": "00562B043615", "model": "CP-8841-3PCC", "organization": other.pk},
    )
    administrator.post(
        reverse("admin:accounts_apikey_add"),
        {"name": "x", "scopes": ["devices:read"], "lifetime": "", "organization": other.pk},
    )

    assert not Device.objects.filter(organization=other).exists()
    assert not ApiKey.objects.filter(organization=other).exists()


def test_columns_that_the_page_does_not_offer_cannot_be_searched(provider: Organization, administrator: Client) -> None:
    key, _ = make_key(organization=provider)

    response = administrator.get(reverse("admin:accounts_apikey_changelist"), {"digest__startswith": key.digest[:2]})

    assert response.status_code == 400


def test_the_dashboard_counts_only_ones_own(provider: Organization, other: Organization, administrator: Client) -> None:
    make_device(organization=provider)
    for _ in range(3):
        make_device(organization=other)

    response = administrator.get(reverse("admin:index"))

    assert [bar.shown for bar in response.context["path_bars"]] == ["1", "0", "0", "0"]


def test_a_person_of_two_organizations_acts_in_each_by_the_role_there(
    provider: Organization, other: Organization
) -> None:
    user = make_user(organization=provider, role="admin")
    Membership.objects.create(user=user, organization=other, role="reader")
    both = browser(user)
    theirs, key = make_device(organization=other), make_key(organization=other, name=MARK)[0]

    assert both.get(address(theirs, "change", theirs.pk)).status_code == 200
    assert both.post(address(theirs, "change", theirs.pk), {"model": "CP-1"}).status_code == 403
    assert both.post(address(theirs, "delete", theirs.pk), {"post": "yes"}).status_code == 403
    both.post(
        address(theirs, "changelist"), {"action": "release_selected", "_selected_action": [theirs.pk], "post": "yes"}
    )
    assert Device.objects.filter(pk=theirs.pk).exists()
    assert both.get(address(key, "change", key.pk)).status_code == 302
    assert MARK not in both.get(address(key, "changelist")).content.decode()
