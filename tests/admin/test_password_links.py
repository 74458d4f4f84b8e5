"""A link to choose a new password, and the second factor taken away, by administrators for their people."""

from datetime import timedelta

import pytest
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Membership, Organization, User
from signin import passwords
from tests.admin.conftest import browser
from tests.admin.people import SIGN_IN, give_app, is_in, signed_in
from tests.factories import ACTOR, make_user
from tests.races import at_once

CHOSEN = {"new_password1": "correct-horse-battery", "new_password2": "correct-horse-battery"}


@pytest.fixture
def nora(provider: Organization) -> Membership:
    return make_user(organization=provider, role="staff", username="nora").memberships.get()


def link_for(membership: Membership, client: Client) -> str:
    """The path of a link that the person behind `client` makes; "" when it is refused."""
    page = client.post(reverse("admin:password_link", args=(membership.pk,)))
    return page.context["link"].removeprefix("http://127.0.0.1:8000") if page.status_code == 200 else ""


def follow(path: str, client: Client) -> tuple[str, str]:
    """Open a link; gives the address of the form and what the page says."""
    page = client.get(path, follow=True)
    return page.redirect_chain[-1][0] if page.redirect_chain else path, page.content.decode()


@pytest.fixture
def ann(provider: Organization) -> Client:
    make_user(organization=provider, role="admin", username="ann")
    return signed_in()


def test_the_person_chooses_a_password_that_the_administrator_never_knows(
    nora: Membership, ann: Client, client: Client
) -> None:
    old = signed_in(username="nora")

    path = link_for(nora, ann)
    form, page = follow(path, client)
    client.post(form, CHOSEN)
    client.post(SIGN_IN, {"username": "nora", "password": "correct-horse-battery"})

    assert "Choose a new password" in page
    # Not in the address of the form: it could be sent on by the page.
    assert path.rstrip("/").rsplit("/", 1)[1] not in form
    assert is_in(client)
    assert not is_in(old)
    assert {"person.password_link_made", "person.password_chosen"} <= set(
        AuditEntry.objects.values_list("action", flat=True)
    )


def test_a_link_works_once(nora: Membership, ann: Client, client: Client) -> None:
    path = link_for(nora, ann)
    form, _ = follow(path, client)
    client.post(form, CHOSEN)

    assert "used already" in follow(path, Client())[1]


@pytest.mark.django_db(transaction=True)
def test_a_link_that_is_used_twice_at_the_same_moment_works_once(provider: Organization) -> None:
    person = make_user(organization=provider, role="staff", username="nora")
    link = passwords.make_link(person, actor=ACTOR, at=timezone.now())
    clients = [Client() for _ in range(4)]
    forms = [follow(reverse("admin:new_password", args=link), client)[0] for client in clients]

    def use(client: Client, form: str, number: int) -> int:
        chosen = f"correct-horse-battery-{number}"
        return client.post(form, {"new_password1": chosen, "new_password2": chosen}).status_code

    at_once(*[
        lambda client=client, form=form, number=number: use(client, form, number)
        for number, (client, form) in enumerate(zip(clients, forms, strict=True))
    ])  # fmt: skip

    assert AuditEntry.objects.filter(action="person.password_chosen").count() == 1


def test_a_sign_in_ends_a_link(nora: Membership, ann: Client, client: Client) -> None:
    path = link_for(nora, ann)
    signed_in(username="nora")

    assert "used already" in follow(path, client)[1]


def test_a_link_works_for_a_day(nora: Membership) -> None:
    class Elsewhen(PasswordResetTokenGenerator):
        def __init__(self, ago: timedelta) -> None:
            super().__init__()
            self._ago = ago

        def _now(self):  # type: ignore[no-untyped-def]
            return super()._now() - self._ago

    for ago, good in ((timedelta(hours=23), True), (timedelta(hours=25), False)):
        token = Elsewhen(ago).make_token(nora.user)
        assert PasswordResetTokenGenerator().check_token(nora.user, token) is good


def test_a_weak_password_is_refused_in_words(nora: Membership, ann: Client, client: Client) -> None:
    form, _ = follow(link_for(nora, ann), client)

    page = client.post(form, {"new_password1": "12345678", "new_password2": "12345678"})

    assert "too common" in page.content.decode()


def test_the_second_factor_is_still_asked_for(nora: Membership, ann: Client, client: Client) -> None:
    give_app(nora.user)
    form, _ = follow(link_for(nora, ann), client)
    client.post(form, CHOSEN)

    client.post(SIGN_IN, {"username": "nora", "password": "correct-horse-battery"})

    assert not is_in(client)


def test_an_administrator_takes_the_second_factor_of_somebody_who_lost_it(nora: Membership, ann: Client) -> None:
    give_app(nora.user)

    ann.post(reverse("admin:reset_factor", args=(nora.pk,)))

    signed_in(username="nora")
    assert AuditEntry.objects.get(action="factor.reset").name == "ann"


@pytest.mark.parametrize("name", ["password_link", "reset_factor"])
@pytest.mark.parametrize("role", ["reader", "staff"])
def test_nobody_else_may(name: str, role: str, nora: Membership, provider: Organization) -> None:
    make_user(organization=provider, role=role, username="ann")

    assert signed_in().post(reverse(f"admin:{name}", args=(nora.pk,))).status_code == 404


@pytest.mark.parametrize("name", ["password_link", "reset_factor"])
def test_foreign_people_look_like_nobody(name: str, ann: Client, other: Organization) -> None:
    foreign = make_user(organization=other).memberships.get()

    assert ann.post(reverse(f"admin:{name}", args=(foreign.pk,))).status_code == 404


def test_an_administrator_does_not_become_somebody_of_another_organization(
    nora: Membership, ann: Client, other: Organization
) -> None:
    Membership.objects.create(user=nora.user, organization=other, role="admin")
    give_app(nora.user)

    assert link_for(nora, ann) == ""
    ann.post(reverse("admin:reset_factor", args=(nora.pk,)))

    assert not AuditEntry.objects.filter(action__in=["factor.reset", "person.password_link_made"]).exists()


def test_an_administrator_does_not_become_the_operator(provider: Organization, ann: Client) -> None:
    root = make_user(organization=provider, username="root", is_superuser=True).memberships.get()

    assert link_for(root, ann) == ""


def test_the_operator_may_for_everybody(nora: Membership) -> None:
    make_user(username="root", is_superuser=True)

    assert link_for(nora, signed_in(username="root"))


def test_an_unknown_link_says_nothing_about_anybody(client: Client, nora: Membership) -> None:
    for uid in ("MQ", "OTk5OTk5", "%00", "x" * 200):
        answer = client.get(f"/admin/login/new-password/{uid}/c0ffee-0123456789abcdef0123456789abcdef/", follow=True)
        assert "used already" in answer.content.decode()


def test_the_password_that_administrators_give_to_new_people_still_works(ann: Client, provider: Organization) -> None:
    ann.post(
        reverse("admin:accounts_membership_add"),
        {"username": "olaf", "name": "", "email": "", "role": "reader", "password": "correct-horse-battery"},
    )

    assert signed_in(username="olaf", password="correct-horse-battery")
    assert User.objects.get(username="olaf").memberships.get().organization == provider
    assert browser(User.objects.get(username="olaf"))
