"""Guessing passwords and codes is slowed down; nobody can lock another person out."""

from datetime import timedelta

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts import pacing
from accounts.models import AuditEntry, Bucket, Organization, User
from signin import entering, factors, failures, limits
from signin.limits import Source
from signin.models import FailedSignIns
from tests.admin.people import CODE, GIVEN, HOME, SIGN_IN, WRONG, code_of, give_app, is_in, signed_in
from tests.factories import make_user
from tests.races import at_once

CLOSED = "Too many failed attempts"
HERE = Source(address="192.0.2.1", network="192.0.2.1")


@pytest.fixture
def ann(provider: Organization) -> User:
    return make_user(organization=provider, role="admin", username="ann")


def guess(client: Client, times: int, *, address: str = "127.0.0.1", **over: str) -> str:
    """So many wrong passwords; gives the last answer."""
    page = ""
    for _ in range(times):
        page = client.post(SIGN_IN, WRONG | over, REMOTE_ADDR=address).content.decode()
    return page


def test_after_ten_wrong_passwords_the_right_one_waits_too(ann: User, client: Client) -> None:
    assert CLOSED not in guess(client, 10)

    page = client.post(SIGN_IN, GIVEN)

    assert CLOSED in page.content.decode()
    assert "Try again in 5 minutes" in page.content.decode()
    assert not is_in(client)


def test_the_person_gets_in_from_another_network(ann: User, client: Client) -> None:
    guess(client, 11)

    client.post(SIGN_IN, GIVEN, REMOTE_ADDR="192.0.2.7")

    assert is_in(client)


def test_the_person_gets_in_from_a_browser_used_before(ann: User, client: Client) -> None:
    own = signed_in()
    own.post("/admin/logout/")
    guess(client, 60)

    own.post(SIGN_IN, GIVEN)

    assert is_in(own)


def test_a_browser_used_before_has_a_limit_of_its_own(ann: User) -> None:
    own = signed_in()
    own.post("/admin/logout/")

    assert CLOSED not in guess(own, 10)
    assert CLOSED in guess(own, 1)


def test_the_cookie_of_one_person_is_worth_nothing_for_another(
    ann: User, provider: Organization, client: Client
) -> None:
    make_user(organization=provider, username="eve")
    own = signed_in(username="eve")
    own.post("/admin/logout/")

    guess(client, 10)

    assert CLOSED in own.post(SIGN_IN, GIVEN).content.decode()


def test_guessing_from_everywhere_closes_the_name_for_unknown_browsers_only(ann: User, client: Client) -> None:
    own = signed_in()
    own.post("/admin/logout/")
    for host in range(100):
        guess(client, 1, address=f"192.0.2.{host}")

    assert CLOSED in client.post(SIGN_IN, GIVEN, REMOTE_ADDR="198.51.100.1").content.decode()
    own.post(SIGN_IN, GIVEN)
    assert is_in(own)


def test_a_link_lets_somebody_in_whose_name_others_closed(
    ann: User, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    for host in range(100):
        guess(client, 1, address=f"192.0.2.{host}")

    call_command("create_password_link", "ann")
    path = capsys.readouterr().out.strip().removeprefix("http://127.0.0.1:8000")
    form = client.get(path, follow=True)
    chosen = {"new_password1": "correct-horse-battery", "new_password2": "correct-horse-battery"}
    client.post(form.redirect_chain[-1][0], chosen, REMOTE_ADDR="198.51.100.1")
    client.post(SIGN_IN, GIVEN | {"password": "correct-horse-battery"}, REMOTE_ADDR="198.51.100.1")

    assert is_in(client)


def test_names_that_do_not_exist_are_counted_alike(db: None, client: Client) -> None:
    guess(client, 10, username="nobody")

    assert CLOSED in guess(client, 1, username="nobody")
    # However it is written.
    assert CLOSED in guess(client, 1, username="NOBODY")


def test_one_network_tries_no_more_than_fifty_names(db: None, client: Client) -> None:
    for number in range(50):
        assert CLOSED not in guess(client, 1, username=f"user-{number}")

    assert CLOSED in guess(client, 1, username="another")
    # What is closed leaves no further rows.
    before = Bucket.objects.count()
    guess(client, 1, username="yet another")
    assert Bucket.objects.count() == before


def test_right_passwords_do_not_count(ann: User, client: Client) -> None:
    for _ in range(15):
        client.cookies.clear()
        client.post(SIGN_IN, GIVEN)
        assert is_in(client)


def test_ten_wrong_codes_close_the_second_factor_but_not_for_a_browser_used_before(ann: User, client: Client) -> None:
    own = signed_in()
    own.post("/admin/logout/")
    secret, _ = give_app(ann)
    client.post(SIGN_IN, GIVEN)
    for _ in range(10):
        client.post(CODE, {"code": "000000"})

    assert CLOSED in client.post(CODE, {"code": code_of(secret)}).content.decode()
    # From another network neither: what matters is the person.
    assert CLOSED in client.post(CODE, {"code": code_of(secret)}, REMOTE_ADDR="192.0.2.9").content.decode()
    own.post(SIGN_IN, GIVEN)
    own.post(CODE, {"code": code_of(secret)})
    assert is_in(own)


class CountingHasher(MD5PasswordHasher):
    """The cost of a sign-in is the number of times that this is asked."""

    asked = 0

    def encode(self, password: str, salt: str) -> str:
        type(self).asked += 1
        return super().encode(password, salt)


@pytest.mark.parametrize("over", [{"username": "nobody"}, {"username": "stopped"}, {}])
def test_whoever_exists_or_not_costs_the_same(
    over: dict[str, str], ann: User, client: Client, settings: Settings
) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    make_user(username="stopped", is_active=False)
    ann.set_password("test-password")
    ann.save()
    guess(client, 1, username="warm")
    CountingHasher.asked = 0

    with CaptureQueriesContext(connection) as queries:
        guess(client, 1, **over)

    assert CountingHasher.asked == 1
    statements = [query["sql"].split()[0] for query in queries.captured_queries if "SAVEPOINT" not in query["sql"]]
    # The attempts are taken first: on PostgreSQL by a prepared statement.
    assert statements[0] in {"INSERT", "EXECUTE"}
    statements[0] = "INSERT"
    assert statements in (["INSERT", "SELECT", "SELECT", "UPDATE"], ["INSERT", "SELECT", "SELECT", "UPDATE", "INSERT"])


@pytest.mark.django_db(transaction=True)
def test_attempts_at_the_same_moment_do_not_slip_through(provider: Organization) -> None:
    make_user(organization=provider, username="ann")
    at = timezone.now()

    def attempt() -> str:
        try:
            entering.check_password("ann", "wrong-password", source=HERE, at=at)
        except entering.SignInRefused:
            return "looked at"
        except entering.TooManyAttempts:
            return "closed"
        return "in"

    outcomes = at_once(*[attempt] * 16)

    assert sorted(outcomes) == ["closed"] * 6 + ["looked at"] * 10


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["totp", "recovery_codes"])
def test_a_code_that_is_used_twice_at_the_same_moment_is_good_once(kind: str) -> None:
    ann = make_user(username="ann")
    secret, codes = give_app(ann)
    at = timezone.now()
    code = code_of(secret, at=at) if kind == "totp" else codes[0]

    outcomes = at_once(*[lambda: factors.prove_code(ann, code, at=at)] * 6)

    assert [outcome for outcome in outcomes if not isinstance(outcome, factors.WrongCode)] == [kind]


def test_an_attempt_comes_back_with_time(ann: User) -> None:
    at = timezone.now()
    attempts = limits.for_password("ann", HERE)
    for _ in range(10):
        assert pacing.take(attempts, at=at.timestamp()) is None

    closed = pacing.take(attempts, at=at.timestamp())

    assert closed is not None
    assert closed.attempt.limit is limits.PLACE
    assert closed.opens_at == pytest.approx(at.timestamp() + 300)
    assert pacing.take(attempts, at=at.timestamp() + 301) is None


def test_buckets_that_are_full_again_are_pruned(ann: User) -> None:
    at = timezone.now().timestamp()
    pacing.take(limits.for_password("ann", HERE), at=at)

    assert pacing.prune(at=at) == 0
    assert pacing.prune(at=at + 1000) == 3
    assert not Bucket.objects.exists()


def test_failed_attempts_are_counted_in_one_row_and_told_at_the_next_sign_in(ann: User, client: Client) -> None:
    guess(client, 3)

    client.post(SIGN_IN, GIVEN)

    assert "3 failed attempts to sign in as you, the last from 127.0.0.1" in client.get(HOME).content.decode()
    entry = AuditEntry.objects.get(action="person.sign_ins_failed")
    assert (entry.subject, entry.after["passwords"], entry.address) == ("user ann", 3, "127.0.0.1")
    assert not FailedSignIns.objects.exists()


def test_failed_attempts_without_a_success_become_one_entry_an_hour(ann: User, client: Client) -> None:
    guess(client, 4)
    guess(client, 5, username="nobody")
    guess(client, 1, username="nobody else")

    assert failures.settle_all(at=timezone.now()) == 0
    assert failures.settle_all(at=timezone.now() + timedelta(hours=1)) == 2
    assert failures.settle_all(at=timezone.now() + timedelta(hours=1)) == 0

    entries = AuditEntry.objects.filter(action="person.sign_ins_failed")
    assert sorted((entry.subject, entry.after["passwords"], entry.organization is None) for entry in entries) == [
        ("unknown user names", 6, True), ("user ann", 4, False),
    ]  # fmt: skip
