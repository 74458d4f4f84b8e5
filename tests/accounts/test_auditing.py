"""Audit entries: what is kept of them, that they read alike from every database, and that nothing alters them."""

from contextlib import closing
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accounts import appendonly, auditing, chaining
from accounts.actors import Actor
from accounts.models import AuditEntry
from tests.factories import ACTOR, AT, make_organization

pytestmark = pytest.mark.django_db

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def record(organization, **over):
    given = {"action": "thing.changed", "subject": "a thing", "at": AT} | over
    auditing.record(over.pop("actor", ACTOR), organization_id=organization and organization.pk, **given)
    return AuditEntry.objects.latest("pk")


def test_an_entry_tells_who_what_when_from_where_and_for_whom():
    provider, partner = make_organization(), make_organization(kind="partner")
    actor = Actor("api", "k7m2p9qx", organization_id=partner.pk, address="192.0.2.7", request_id="abc")

    auditing.record(
        actor, organization_id=provider.pk, action="key.revoked", subject="API key x", at=AT, before={"a": 1}, after={}
    )

    entry = AuditEntry.objects.get()
    assert (entry.organization, entry.through, entry.at) == (provider, partner, AT)
    assert (entry.source, entry.name, entry.address, entry.request_id) == ("api", "k7m2p9qx", "192.0.2.7", "abc")
    assert (entry.action, entry.subject, entry.before, entry.after) == ("key.revoked", "API key x", {"a": 1}, {})


def test_on_its_own_things_nobody_acts_through_anybody():
    organization = make_organization()
    actor = Actor("admin", "ann", organization_id=organization.pk)

    auditing.record(actor, organization_id=organization.pk, action="x.y", subject="x", at=AT)

    assert AuditEntry.objects.get().through is None


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_recorded_is_read_back_with_its_seal_whole(after):
    auditing.record(ACTOR, organization_id=None, action="x.y", subject="x", at=AT, after=after)

    assert auditing.is_sealed(AuditEntry.objects.latest("pk"))


def test_a_long_value_is_kept_as_its_length_and_digest():
    entry = record(make_organization(), after={"long": "x" * 9000, "short": "y"})

    assert entry.after["short"] == "y"
    assert entry.after["long"].startswith("(9,002 characters, SHA-256 ")


def test_the_entries_of_one_thing_are_found_newest_first_and_no_others():
    organization, other = make_organization(), make_organization()
    for number in range(3):
        record(organization, thing="profile:12", subject=str(number))
    record(organization, thing="profile:1")
    record(other, thing="profile:12")

    found = auditing.of_subject(organization_id=organization.pk, thing="profile:12", most=2)

    assert [entry.subject for entry in found] == ["2", "1"]
    assert auditing.of_subject(organization_id=organization.pk, thing="") == []


def test_the_seal_is_known_by_a_former_secret_key_too(settings):
    entry = record(make_organization())
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another-secret-of-thirty-two-letters"

    assert not auditing.is_sealed(entry)
    settings.SECRET_KEY_FALLBACKS = [former]
    assert auditing.is_sealed(entry)


@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_auditentry SET subject = 'x'",
        "UPDATE accounts_auditentry SET name = 'x', position = 7",
        "UPDATE accounts_auditentry SET at = '2026-01-01 00:00:00+00:00'",
        "UPDATE accounts_auditentry SET organization_id = NULL",
        "UPDATE accounts_auditentry SET seal = ''",
    ],
)
def test_the_database_refuses_to_alter_an_entry(statement, chained):
    entry = record(make_organization())
    if chained:
        chaining.extend(at=AT)

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert AuditEntry.objects.get().subject == entry.subject


def test_the_database_refuses_to_move_or_delete_a_chained_entry():
    appendonly.install()
    record(make_organization())
    chaining.extend(at=AT)

    for statement in ("UPDATE accounts_auditentry SET position = 9", "DELETE FROM accounts_auditentry"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)

    assert AuditEntry.objects.get().position == 1


@pytest.mark.skipif("postgresql" not in settings.DATABASES["default"]["ENGINE"], reason="SQLite has no TRUNCATE")
def test_the_database_refuses_to_empty_the_table():
    record(make_organization())

    with closing(connection.cursor()) as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL onboarding.truncate = 'no'")
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            cursor.execute("TRUNCATE accounts_auditentry")

    assert AuditEntry.objects.count() == 1


def test_only_what_differs_is_recorded_and_nothing_where_nothing_does():
    organization = make_organization()
    told = {"organization_id": organization.pk, "action": "x.y", "subject": "x", "at": AT + timedelta(1)}

    assert not auditing.record_change(ACTOR, before={"a": 1}, after={"a": 1}, **told)
    assert auditing.record_change(ACTOR, before={"a": 1, "b": 2}, after={"a": 1, "b": 3}, **told)

    entry = AuditEntry.objects.get()
    assert (entry.before, entry.after) == ({"b": 2}, {"b": 3})
