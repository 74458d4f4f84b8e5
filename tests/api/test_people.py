"""People by API: added, given another role, removed; an organization keeps an administrator."""

import pytest

from accounts.models import AuditEntry, Membership, User
from tests.factories import make_user
from tests.races import at_once

NORA = {"username": "nora@example.net", "name": "Nora Berg", "role": "reader", "password": "correct-horse-battery"}


@pytest.fixture(autouse=True)
def _cheap_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def test_a_person_is_added_listed_changed_and_removed(partner):
    made = partner("POST", "people/", NORA)

    assert made.status_code == 201
    person = made.json()
    assert (person["username"], person["name"], person["role"]) == ("nora@example.net", "Nora Berg", "reader")
    assert "password" not in made.content.decode()
    assert partner("GET", "people/").json()["results"] == [person]
    path = f"people/{person['id']}/"
    assert made["Location"].endswith(path)
    assert partner("PATCH", path, {"role": "staff"}).json()["role"] == "staff"
    assert partner("GET", path).json()["role"] == "staff"
    assert partner("DELETE", path).status_code == 204
    assert partner("GET", path).status_code == 404
    user = User.objects.get(username="nora@example.net")
    assert user.check_password("correct-horse-battery")
    assert not user.is_superuser
    actions = AuditEntry.objects.filter(organization=partner.organization, thing=f"person:{user.pk}").order_by("pk")
    assert list(actions.values_list("action", "before", "after")) == [
        ("person.added", {}, {"role": "reader", "email": "", "name": "Nora Berg"}),
        ("person.role_changed", {"role": "reader"}, {"role": "staff"}),
        ("person.removed", {"role": "staff"}, {}),
    ]


@pytest.mark.parametrize(
    ("over", "status", "code"),
    [
        ({"password": "123"}, 400, "weak_password"),
        ({"username": "no\nra"}, 400, "invalid_person"),
        ({"username": "n o r a"}, 400, "invalid_person"),
        ({"email": "nowhere"}, 400, "invalid_person"),
        ({"role": "operator"}, 400, "invalid_input"),
        ({"is_superuser": True}, 400, "invalid_input"),
        ({"username": "taken"}, 409, "username_taken"),
    ],
)
def test_a_person_who_cannot_be_added_is_refused_in_words(partner, stranger, over, status, code):
    make_user(organization=stranger.organization, username="taken")

    refused = partner("POST", "people/", NORA | over)

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert refused.json()["remedy"]
    assert not Membership.objects.filter(organization=partner.organization).exists()


def test_the_last_administrator_stays(partner):
    last = make_user(organization=partner.organization, role="admin").memberships.get()
    make_user(organization=partner.organization, role="admin", is_active=False)
    make_user(organization=partner.organization, role="staff")

    for method, body in (("DELETE", None), ("PATCH", {"role": "reader"})):
        refused = partner(method, f"people/{last.pk}/", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "last_administrator")
        assert "Make somebody else an administrator first" in refused.json()["remedy"]
    make_user(organization=partner.organization, role="admin")
    assert partner("DELETE", f"people/{last.pk}/").status_code == 204


def test_conditions_guard_changes(partner):
    row = make_user(organization=partner.organization).memberships.get()
    tag = partner("GET", f"people/{row.pk}/")["ETag"]

    assert partner("PATCH", f"people/{row.pk}/", {"role": "reader"}, If_Match='"old"').status_code == 412
    assert partner("PATCH", f"people/{row.pk}/", {"role": "reader"}, If_Match=tag).status_code == 200
    assert partner("DELETE", f"people/{row.pk}/", If_Match=tag).status_code == 412


def test_foreign_people_answer_as_those_that_do_not_exist(partner, stranger):
    row = make_user(organization=stranger.organization).memberships.get()

    assert partner("GET", "people/").json()["results"] == []
    for method, body in (("GET", None), ("PATCH", {"role": "admin"}), ("DELETE", None)):
        refused, unknown = (partner(method, f"people/{number}/", body) for number in (row.pk, 2**40))
        assert refused.status_code == 404
        assert refused.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}
    row.refresh_from_db()
    assert row.role == "staff"


def test_it_takes_the_scope(keyed, partner):
    weak = keyed(partner.organization, ["devices:read", "audit:read"])

    for method, path in (("GET", "people/"), ("POST", "people/"), ("DELETE", "people/1/")):
        assert weak(method, path, NORA).json()["code"] == "insufficient_scope"


@pytest.mark.django_db(transaction=True)
def test_of_two_administrators_who_remove_each_other_at_once_one_stays(keyed):
    from tests.factories import make_organization

    organization = make_organization()
    rows = [make_user(organization=organization, role="admin").memberships.get() for _ in range(2)]
    partners = [keyed(organization) for _ in rows]

    answers = at_once(
        *(
            lambda partner=partner, row=row: partner("DELETE", f"people/{row.pk}/")
            for partner, row in zip(partners, rows, strict=True)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert Membership.objects.filter(organization=organization, role="admin").count() == 1
