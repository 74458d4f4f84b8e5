"""What each role may open and change; who may not enter at all."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Membership, Organization, User
from onboarding.models import Device
from tests.admin.conftest import browser
from tests.factories import make_device, make_key, make_user

LISTS = {
    "reader": {"onboarding_device", "onboarding_redirectprofile", "onboarding_statechange", "accounts_organization"},
    "staff": {"onboarding_device", "onboarding_redirectprofile", "onboarding_statechange", "accounts_organization"},
}
LISTS["administrator"] = LISTS["staff"] | {
    "accounts_membership", "accounts_apikey", "accounts_auditentry", "accounts_mandate",
}  # fmt: skip
LISTS["operator"] = LISTS["administrator"] | {"onboarding_sighting", "accounts_user"}
ADDS = {
    "reader": set(),
    "staff": {"onboarding_device", "onboarding_redirectprofile"},
    "administrator": {
        "onboarding_device",
        "onboarding_redirectprofile",
        "accounts_membership",
        "accounts_apikey",
        "accounts_mandate",
    },
}
ADDS["operator"] = ADDS["administrator"] | {"accounts_organization", "accounts_user"}
everybody = pytest.mark.parametrize("role", LISTS)


@everybody
def test_each_role_opens_its_lists_and_no_others(
    role: str, provider: Organization, request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue(role)

    opened = {name for name in LISTS["operator"] if client.get(reverse(f"admin:{name}_changelist")).status_code == 200}

    assert opened == LISTS[role]


@everybody
def test_each_role_adds_what_it_may_and_nothing_else(
    role: str, provider: Organization, request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue(role)

    opened = {name for name in LISTS["operator"] if client.get(reverse(f"admin:{name}_add")).status_code == 200}

    assert opened == ADDS[role]


@everybody
def test_the_sidebar_offers_what_the_role_may_open(
    role: str, provider: Organization, request: pytest.FixtureRequest
) -> None:
    page = request.getfixturevalue(role).get(reverse("admin:index")).content.decode()

    offered = {name for name in LISTS["operator"] if f'href="{reverse(f"admin:{name}_changelist")}"' in page}

    assert offered == LISTS[role]


def test_a_reader_sees_a_device_and_cannot_change_or_release_it(provider: Organization, reader: Client) -> None:
    device = make_device(organization=provider)
    page = reverse("admin:onboarding_device_change", args=(device.pk,))

    shown = reader.get(page).content.decode()

    assert device.model in shown
    assert 'name="_save"' not in shown
    assert "Release" not in shown
    assert reader.post(page, {"model": "CP-1"}).status_code == 403
    assert reader.post(reverse("admin:onboarding_device_delete", args=(device.pk,)), {"post": "yes"}).status_code == 403
    assert Device.objects.get(pk=device.pk).model == device.model


@pytest.mark.parametrize("method", ["get", "post"])
def test_the_history_cannot_be_changed_even_by_the_operator(
    method: str, provider: Organization, operator: Client
) -> None:
    row = make_device(organization=provider).changes.get()

    deleted = getattr(operator, method)(reverse("admin:onboarding_statechange_delete", args=(row.pk,)))
    added = getattr(operator, method)(reverse("admin:onboarding_statechange_add"))

    assert (deleted.status_code, added.status_code) == (403, 403)
    assert operator.post(reverse("admin:onboarding_statechange_change", args=(row.pk,)), {}).status_code == 403


def test_the_state_is_no_field_of_the_form(provider: Organization, operator: Client) -> None:
    device = make_device(organization=provider)

    operator.post(
        reverse("admin:onboarding_device_change", args=(device.pk,)), {"model": "CP-8841-3PCC", "state": "acquired"}
    )

    device.refresh_from_db()
    assert device.state == "open"


def test_people_without_an_organization_see_nothing_and_are_told_whom_to_ask(db: None) -> None:
    device = make_device()
    lonely = browser(make_user())

    page = lonely.get(reverse("admin:index"))

    assert "You belong to no organization yet" in page.content.decode()
    assert lonely.get(reverse("admin:onboarding_device_changelist")).status_code == 403
    assert lonely.get(reverse("admin:onboarding_device_change", args=(device.pk,))).status_code == 403


def test_people_of_a_suspended_organization_are_locked_out_at_once(
    provider: Organization, administrator: Client
) -> None:
    assert administrator.get(reverse("admin:index")).status_code == 200

    Organization.objects.filter(pk=provider.pk).update(suspended_at=timezone.now())

    assert administrator.get(reverse("admin:index")).status_code == 302
    assert administrator.get(reverse("admin:onboarding_device_changelist")).status_code == 302


def test_people_of_a_suspended_organization_are_told_why_they_cannot_sign_in(
    provider: Organization, client: Client
) -> None:
    make_user(organization=provider, username="ann")
    Organization.objects.filter(pk=provider.pk).update(suspended_at=timezone.now())

    page = client.post(reverse("admin:login"), {"username": "ann", "password": "test-password"})

    assert page.status_code == 200
    assert "Your organization is suspended" in page.content.decode()


def test_a_suspended_organization_hides_its_rows_from_people_who_have_another(
    provider: Organization, other: Organization
) -> None:
    user = make_user(organization=provider)
    Membership.objects.create(user=user, organization=other, role="admin")
    hidden, shown = make_device(organization=other), make_device(organization=provider)
    Organization.objects.filter(pk=other.pk).update(suspended_at=timezone.now())

    rows = browser(user).get(reverse("admin:onboarding_device_changelist")).context["cl"].result_list

    assert [row.mac for row in rows] == [shown.mac]
    assert hidden.mac != shown.mac


def test_an_administrator_adds_a_person_who_can_then_sign_in(
    provider: Organization, administrator: Client, client: Client
) -> None:
    administrator.post(
        reverse("admin:accounts_membership_add"),
        {"username": "nora", "name": "Nora Berg", "email": "", "role": "reader", "password": "correct-horse-battery"},
    )

    client.post(reverse("admin:login"), {"username": "nora", "password": "correct-horse-battery"})

    membership = Membership.objects.get(user__username="nora")
    assert (membership.organization, membership.role, membership.user.last_name) == (provider, "reader", "Berg")
    assert not membership.user.is_superuser
    assert client.get(reverse("admin:onboarding_device_changelist")).status_code == 200


@pytest.mark.parametrize(
    ("over", "said"),
    [({"username": "rita"}, "is taken"), ({"password": "123"}, "too short"), ({"role": "operator"}, "not one of the")],
)
def test_a_person_who_cannot_be_added_is_refused_in_words(
    over: dict[str, str], said: str, provider: Organization, reader: Client, administrator: Client
) -> None:
    before = User.objects.count()
    values = {"username": "nora", "role": "reader", "password": "correct-horse-battery"} | over

    page = administrator.post(reverse("admin:accounts_membership_add"), values)

    assert page.status_code == 200
    assert said in page.content.decode()
    assert User.objects.count() == before


def test_an_administrator_cannot_take_away_their_own_place(provider: Organization, administrator: Client) -> None:
    own = Membership.objects.get(user__username="ann")

    administrator.post(reverse("admin:accounts_membership_delete", args=(own.pk,)), {"post": "yes"})
    page = administrator.post(reverse("admin:accounts_membership_change", args=(own.pk,)), {"role": "reader"})

    assert "You cannot change your own role" in page.content.decode()
    assert Membership.objects.get(pk=own.pk).role == "admin"


def test_a_new_key_is_shown_once_and_works(provider: Organization, administrator: Client, client: Client) -> None:
    made = administrator.post(
        reverse("admin:accounts_apikey_add"), {"name": "Orders", "scopes": ["devices:read"], "lifetime": "90"}
    )

    text = made.context["key"]
    row = provider.api_keys.get()
    assert text in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    assert client.get("/api/v1/devices/", headers={"Authorization": f"Bearer {text}"}).status_code == 200
    secret = text.split("_", 2)[2]
    for page in (
        reverse("admin:accounts_apikey_changelist"),
        reverse("admin:accounts_apikey_change", args=(row.pk,)),
        reverse("admin:accounts_apikey_history", args=(row.pk,)),
        reverse("admin:index"),
    ):
        shown = administrator.get(page).content.decode()
        assert secret not in shown
        assert row.digest not in shown


def test_a_revoked_key_is_refused(provider: Organization, administrator: Client, client: Client) -> None:
    row, text = make_key(organization=provider)

    administrator.post(reverse("admin:accounts_apikey_delete", args=(row.pk,)), {"post": "yes"})

    row.refresh_from_db()
    assert row.revoked_at is not None
    assert client.get("/api/v1/devices/", headers={"Authorization": f"Bearer {text}"}).status_code == 401


def test_several_keys_are_revoked_after_one_question(provider: Organization, administrator: Client) -> None:
    rows = [make_key(organization=provider)[0] for _ in range(2)]
    chosen = {"action": "revoke_selected", "_selected_action": [row.pk for row in rows]}
    address = reverse("admin:accounts_apikey_changelist")

    asked = administrator.post(address, chosen)
    assert not provider.api_keys.exclude(revoked_at=None).exists()
    administrator.post(address, chosen | {"post": "yes"})

    assert "Revoke 2" in asked.content.decode()
    assert provider.api_keys.exclude(revoked_at=None).count() == 2
