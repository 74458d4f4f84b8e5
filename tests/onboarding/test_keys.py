"""API keys: shown once, kept as a digest, and of no use once revoked, expired or suspended."""

import hashlib
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import keys
from accounts.keys import UnknownScope, WeakKey
from accounts.models import ApiKey, Organization
from tests.factories import ACTOR, AT, make_key, make_organization

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


@pytest.fixture
def organization():
    return make_organization()


def test_a_key_that_was_made_is_found(organization):
    row, text = make_key(organization=organization, scopes=["devices:write", "devices:read", "devices:read"])

    found = keys.find(text, at=AT)

    assert found == row
    assert found is not None
    assert found.organization == organization
    assert found.scopes == ["devices:read", "devices:write"]


def test_the_table_holds_a_digest_and_nothing_of_the_secret(organization):
    row, text = make_key(organization=organization)
    _, prefix, secret = text.split("_", 2)

    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_apikey")
        stored = str(cursor.fetchall())

    assert row.prefix == prefix
    assert prefix in stored
    assert row.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert not [secret[n : n + 8] for n in range(len(secret) - 8) if secret[n : n + 8] in stored]
    assert secret not in str(row)


def test_no_two_keys_are_alike(organization):
    texts = {make_key(organization=organization)[1] for _ in range(50)}

    assert len(texts) == 50
    assert len({text.split("_", 2)[2] for text in texts}) == 50


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text + "a",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.upper(),
        lambda text: text.replace("zt_", "ZT_"),
        lambda text: text[:12] + ("b" if text[12] == "a" else "a") + text[13:],
        lambda text: text[:12] + "A" * 43,
        lambda text: "zt_" + "a" * 8 + text[11:],
        lambda text: text[:12] + "é" * 43,
        lambda text: text + "\0",
        lambda text: text * 100_000,
    ],
)
def test_another_text_finds_no_key(organization, spoil):
    _, text = make_key(organization=organization)

    assert keys.find(spoil(text), at=AT) is None
    assert ApiKey.objects.get().last_used_at is None


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_text_finds_no_key_and_breaks_nothing(text):
    assert keys.find(text, at=AT) is None


def test_one_keys_secret_does_not_open_another_key(organization):
    (_, first), (_, second) = make_key(organization=organization), make_key(organization=make_organization())

    assert keys.find(first[:12] + second[12:], at=AT) is None


def test_an_expired_key_is_of_no_use(organization):
    _, text = make_key(organization=organization, expires_at=AT)

    assert keys.find(text, at=AT - SECOND) is not None
    assert keys.find(text, at=AT) is None
    assert keys.find(text, at=AT + SECOND) is None


def test_a_revoked_key_is_of_no_use_and_stays_revoked(organization):
    row, text = make_key(organization=organization)

    keys.revoke(row, actor=ACTOR, at=AT)
    keys.revoke(row, actor=ACTOR, at=AT + SECOND)

    assert keys.find(text, at=AT) is None
    assert ApiKey.objects.get().revoked_at == AT


def test_a_suspended_organizations_keys_are_of_no_use_until_it_is_back(organization):
    _, text = make_key(organization=organization)

    Organization.objects.update(suspended_at=AT)
    assert keys.find(text, at=AT) is None
    Organization.objects.update(suspended_at=None)
    assert keys.find(text, at=AT) is not None


def test_use_is_noted_every_five_minutes_at_most(organization):
    _, text = make_key(organization=organization)
    noted = []
    for seconds in (0, 1, 300, 301, 302):
        with CaptureQueriesContext(connection) as queries:
            keys.find(text, at=AT + seconds * SECOND)
        noted.append(any(q["sql"].startswith("UPDATE") for q in queries))

    assert noted == [True, False, False, True, False]
    assert ApiKey.objects.get().last_used_at == AT + 301 * SECOND


@pytest.mark.parametrize(
    ("scopes", "detail"),
    [
        ([], "An empty list is not a scope."),
        (["devices:read", "devices:admin"], "'devices:admin' is not a scope."),
        (["DEVICES:READ", "*"], "'DEVICES:READ', '*' is not a scope."),
    ],
)
def test_only_known_scopes_are_given(organization, scopes, detail):
    with pytest.raises(UnknownScope) as caught:
        make_key(organization=organization, scopes=scopes)

    assert (str(caught.value), caught.value.field) == (detail, "scopes")
    assert not ApiKey.objects.exists()


def test_a_key_made_elsewhere_is_taken_if_it_has_the_form(organization):
    text = "zt_demodemo_" + "Ab3-_" * 8 + "xyz"

    assert make_key(organization=organization, key=text)[1] == text
    assert keys.find(text, at=AT) is not None


@pytest.mark.parametrize("text", ["", "secret", "with a blank inside", "x" * 129, "geh\u00e4im-geheim"])
def test_a_key_that_cannot_be_used_is_refused_without_being_shown(organization, text):
    with pytest.raises(WeakKey) as caught:
        make_key(organization=organization, key=text)

    assert not text or text not in f"{caught.value} {caught.value.remedy}"


def test_a_prefix_that_another_key_has_is_refused_as_such(organization):
    make_key(organization=organization, key="zt_demodemo_" + "a" * 43)

    with pytest.raises(WeakKey):
        make_key(organization=organization, key="zt_demodemo_" + "b" * 43)

    assert ApiKey.objects.count() == 1


def test_a_key_that_was_made_elsewhere_works_and_is_not_kept(organization):
    row, key = make_key(organization=organization, name="scripted", scopes=["devices:read"], key="a-key-of-my-own")

    assert key == "a-key-of-my-own"
    assert keys.find("a-key-of-my-own", at=AT) == row
    assert keys.find("a-key-of-my-owN", at=AT) is None
    assert "a-key" not in f"{row.prefix} {row.digest}"
