"""Sessions: listed for their owner, ended one by one or all at once, bounded and pruned."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Bucket, Organization, User
from signin import sessions, tasks
from signin.models import FailedSignIns, Session
from tests.admin.people import ACCOUNT, GIVEN, SIGN_IN, code_of, give_app, is_in, signed_in
from tests.factories import make_user

END = "/admin/account/sessions/end/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def ann(provider: Organization) -> User:
    return make_user(organization=provider, role="admin", username="ann")


def handle_of(client: Client) -> str:
    return sessions.handle(client.cookies["sessionid"].value)


def test_people_see_where_they_are_signed_in(ann: User, client: Client) -> None:
    client.post(SIGN_IN, GIVEN, headers={"User-Agent": FIREFOX}, REMOTE_ADDR="192.0.2.7")
    other = signed_in()

    shown = other.get(ACCOUNT).context["sessions"]

    assert [(row["browser"], row["address"], row["is_this"]) for row in shown] == [
        ("An unknown program", "127.0.0.1", True), ("Firefox on Linux", "192.0.2.7", False),
    ]  # fmt: skip
    assert all(timezone.now() - row["since"] < timedelta(minutes=1) for row in shown)


def test_no_page_shows_a_key_that_opens_a_session(ann: User) -> None:
    own, other = signed_in(), signed_in()

    page = own.get(ACCOUNT).content.decode()

    assert handle_of(other) in page
    assert own.cookies["sessionid"].value not in page
    assert other.cookies["sessionid"].value not in page


def test_one_session_is_ended(ann: User) -> None:
    own, lost, third = signed_in(), signed_in(), signed_in()

    own.post(END, {"handle": handle_of(lost)})

    assert [is_in(client) for client in (own, lost, third)] == [True, False, True]
    assert AuditEntry.objects.get(action="session.revoked").after == {"sessions": 1}


def test_all_others_are_ended(ann: User) -> None:
    own, *others = [signed_in() for _ in range(3)]

    own.post(END)

    assert is_in(own)
    assert not any(is_in(client) for client in others)


def test_nobody_ends_the_session_of_another_person(ann: User, provider: Organization) -> None:
    make_user(organization=provider, username="eve")
    own, eve = signed_in(), signed_in(username="eve")

    eve.post(END, {"handle": handle_of(own)})
    eve.post(END)

    assert is_in(own)


def test_a_changed_password_ends_the_other_sessions(ann: User) -> None:
    own, other = signed_in(), signed_in()
    given = {"password": "test-password", "new_password": "correct-horse-battery", "again": "correct-horse-battery"}

    own.post(reverse("admin:password_change"), given)

    assert is_in(own)
    assert not is_in(other)
    assert Session.objects.filter(user=ann).count() == 1
    assert AuditEntry.objects.filter(action="person.password_changed").count() == 1


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"password": "wrong"}, "The password is wrong"),
        ({"new_password": "12345678", "again": "12345678"}, "too common"),
        ({"again": "something-else"}, "differ"),
    ],
)
def test_a_password_that_cannot_be_changed_is_refused_in_words(over: dict[str, str], said: str, ann: User) -> None:
    own = signed_in()
    given = {"password": "test-password", "new_password": "correct-horse-battery", "again": "correct-horse-battery"}

    page = own.post(reverse("admin:password_change"), given | over)

    assert said in page.content.decode()
    ann.refresh_from_db()
    assert ann.check_password("test-password")


def test_the_first_second_factor_ends_the_sessions_that_were_made_without(ann: User) -> None:
    own, other = signed_in(), signed_in()
    secret = own.get(reverse("admin:app")).context["secret"].replace(" ", "")

    own.post(reverse("admin:app"), {"code": code_of(secret)})

    assert is_in(own)
    assert not is_in(other)


def test_factors_are_changed_only_by_who_gave_the_password_a_short_while_ago(ann: User) -> None:
    own = signed_in()
    store = own.session
    store[sessions.ENTERED] |= {"confirmed_at": timezone.now().timestamp() - 3600}
    store.save()

    asked = own.get(reverse("admin:app"))
    assert asked["Location"] == f"{reverse('admin:confirm')}?next={reverse('admin:app')}"
    assert "The password is wrong" in own.post(asked["Location"], {"password": "wrong"}).content.decode()
    assert own.get(reverse("admin:app")).status_code == 302
    confirmed = own.post(asked["Location"], {"password": "test-password"})

    assert confirmed["Location"] == reverse("admin:app")
    assert own.get(reverse("admin:app")).status_code == 200


def test_the_last_factor_stays_where_one_is_required(ann: User, provider: Organization, client: Client) -> None:
    secret, _ = give_app(ann)
    client.post(SIGN_IN, GIVEN)
    client.post("/admin/login/code/", {"code": code_of(secret)})
    Organization.objects.filter(pk=provider.pk).update(requires_second_factor=True)

    page = client.post(reverse("admin:remove_app"), follow=True)

    assert "requires a second factor" in page.content.decode()
    assert client.get(ACCOUNT).context["has"].any


def test_the_recovery_codes_go_with_the_last_factor(ann: User, client: Client) -> None:
    secret, _ = give_app(ann)
    client.post(SIGN_IN, GIVEN)
    client.post("/admin/login/code/", {"code": code_of(secret)})

    client.post(reverse("admin:remove_app"))

    assert client.get(ACCOUNT).context["has"].recovery_codes_left == 0
    assert AuditEntry.objects.filter(action="factor.removed").count() == 1


def test_a_session_that_showed_a_factor_since_removed_counts_as_without(
    ann: User, provider: Organization, client: Client
) -> None:
    secret, _ = give_app(ann)
    client.post(SIGN_IN, GIVEN)
    client.post("/admin/login/code/", {"code": code_of(secret)})
    client.post(reverse("admin:remove_app"))

    Organization.objects.filter(pk=provider.pk).update(requires_second_factor=True)

    assert not is_in(client)


def test_new_recovery_codes_end_the_former_ones(ann: User, client: Client) -> None:
    secret, former = give_app(ann)
    client.post(SIGN_IN, GIVEN)
    client.post("/admin/login/code/", {"code": code_of(secret)})

    page = client.post(reverse("admin:recovery_codes"))

    codes = [code.replace(" ", "") for code in page.context["codes"]]
    assert len(set(codes)) == 10
    assert "no-store" in page["Cache-Control"]
    another = Client()
    another.post(SIGN_IN, GIVEN)
    another.post("/admin/login/code/", {"code": former[0]})
    assert not is_in(another)
    another.post("/admin/login/code/", {"code": codes[0]})
    assert is_in(another)


def test_a_person_has_twenty_sessions_at_most(ann: User) -> None:
    first = signed_in()
    for _ in range(sessions.MOST_SESSIONS):
        signed_in()

    assert not is_in(first)
    assert Session.objects.filter(user=ann).count() == sessions.MOST_SESSIONS


def test_a_session_was_last_seen_at_its_last_request_within_minutes(ann: User) -> None:
    own = signed_in()
    Session.objects.update(last_seen_at=timezone.now() - timedelta(hours=2))

    is_in(own)

    assert timezone.now() - Session.objects.get().last_seen_at < timedelta(minutes=1)


def test_sessions_that_are_over_are_pruned(ann: User) -> None:
    own = signed_in()

    assert sessions.prune(at=timezone.now() + timedelta(days=13)) == 0
    assert sessions.prune(at=timezone.now() + timedelta(days=15)) == 1
    assert not is_in(own)


def test_the_job_takes_away_whatever_is_over(ann: User) -> None:
    signed_in()
    Session.objects.update(expire_date=timezone.now() - timedelta(minutes=1))
    Bucket.objects.update(arrival=0)
    FailedSignIns.objects.create(user_id=ann.pk, passwords=2, first_at=timezone.now() - timedelta(hours=2),
                                 last_at=timezone.now())  # fmt: skip

    tasks.settle()

    assert not Session.objects.exists()
    assert not Bucket.objects.exists()
    assert AuditEntry.objects.get(action="person.sign_ins_failed").after["passwords"] == 2


def test_an_administrator_finds_what_helps_on_the_persons_page(ann: User, provider: Organization) -> None:
    place = make_user(organization=provider, username="nora").memberships.get()

    page = signed_in().get(reverse("admin:accounts_membership_change", args=(place.pk,))).content.decode()

    assert reverse("admin:password_link", args=(place.pk,)) in page
    assert reverse("admin:reset_factor", args=(place.pk,)) in page
