"""Prepared statements and writes that travel together, on the database itself."""

import pytest
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts import statements
from accounts.models import Bucket
from accounts.statements import Statement

pytestmark = pytest.mark.django_db

ADD = Statement.of("INSERT INTO accounts_bucket (key, arrival) VALUES (%s, %s)", ("text", "double precision"))
FIND = Statement.of("SELECT arrival FROM accounts_bucket WHERE key = %s", ("text",))
postgresql_only = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite prepares nothing here")


def test_a_statement_reads_what_it_wrote() -> None:
    statements.write(ADD, ["one", 1.5])
    assert statements.read(FIND, ["one"]) == [(1.5,)]
    assert statements.read(FIND, ["two"]) == []


def test_each_value_has_its_type() -> None:
    with pytest.raises(ValueError, match="2 values, 1 types"):
        Statement.of("SELECT %s, %s", ("text",))


def test_writes_travel_together_in_their_order() -> None:
    move = Statement.of("UPDATE accounts_bucket SET arrival = %s WHERE key = %s", ("double precision", "text"))
    with CaptureQueriesContext(connection) as captured, statements.together():
        statements.write(ADD, ["one", 1.0])
        statements.write(move, [2.0, "one"])
        statements.write(move, [3.0, "one"])
    assert Bucket.objects.get(key="one").arrival == 3.0
    if connection.vendor == "postgresql":
        assert len([query for query in captured if "PREPARE" not in query["sql"]]) == 1


@postgresql_only
def test_nothing_is_sent_after_an_exception() -> None:
    def write_and_fail() -> None:
        with statements.together():
            statements.write(ADD, ["one", 1.0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert not Bucket.objects.exists()


@postgresql_only
def test_a_statement_is_prepared_once_for_a_connection() -> None:
    with CaptureQueriesContext(connection) as captured:
        for number in range(3):
            statements.write(Statement.of(f"{ADD.text} ", ADD.kinds), [f"bucket {number}", 1.0])
    assert ["PREPARE" in query["sql"] for query in captured] == [True, False, False, False]


@postgresql_only
def test_it_is_still_prepared_after_a_rollback() -> None:
    ours = Statement.of(f"{ADD.text}  ", ADD.kinds)
    with pytest.raises(DataError), transaction.atomic():
        statements.write(ours, ["one", "no number"])
    statements.write(ours, ["one", 1.0])
    assert statements.read(FIND, ["one"]) == [(1.0,)]


@postgresql_only
def test_a_connection_keeps_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_MOST_PREPARED", 5)
    for number in range(20):
        assert statements.read(Statement.of(f"SELECT {number} + %s", ("int",)), [1]) == [(number + 1,)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        assert cursor.fetchone()[0] <= 5


@postgresql_only
def test_making_room_forgets_nothing_of_what_is_sent_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_MOST_PREPARED", 2)
    with statements.together():
        for number in range(4):
            statements.write(Statement.of(f"{ADD.text} -- {number}", ADD.kinds), [f"bucket {number}", 1.0])
    assert Bucket.objects.count() == 4


@postgresql_only
def test_a_new_connection_prepares_anew() -> None:
    assert statements.read(FIND, ["one"]) == []
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    statements._prepared.pop(connection.connection)
    assert statements.read(FIND, ["one"]) == []


@postgresql_only
def test_behind_a_pooler_nothing_is_prepared(settings: object) -> None:
    settings.PREPARED_STATEMENTS = False  # type: ignore[attr-defined]
    with CaptureQueriesContext(connection) as captured, statements.together():
        statements.write(ADD, ["one", 1.0])
        statements.write(ADD, ["two", 2.0])
    assert not [query for query in captured if "PREPARE" in query["sql"] or "EXECUTE" in query["sql"]]
    assert Bucket.objects.count() == 2
