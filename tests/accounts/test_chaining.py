"""The audit's chains: every kind of tampering is found and named, pruning excepted; jobs at once do no harm."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts import auditing, chaining
from accounts.models import AuditCheckpoint, AuditEntry, AuditHead
from tests.factories import ACTOR, AT, make_organization
from tests.races import at_once

DAY = timedelta(days=1)
database = pytest.mark.django_db


def write(organization, count=1, *, at=AT):
    for number in range(count):
        auditing.record(
            ACTOR, organization_id=organization and organization.pk, action="thing.changed", subject=f"{number}", at=at,
            after={"number": number},
        )  # fmt: skip


def chained(count=6, *, at=AT):
    organization = make_organization()
    write(organization, count, at=at)
    chaining.extend(at=at)
    return organization


def flaws(organization):
    return [(flaw.position, flaw.what) for flaw in chaining.verify(organization.pk)]


def tamper(statement, *values):
    """As somebody who may do anything to the database, and does not have the key."""
    with connection.cursor() as cursor:
        for event in ("update", "delete"):
            place = "" if connection.vendor == "sqlite" else " ON accounts_auditentry"
            cursor.execute(f"DROP TRIGGER IF EXISTS append_only_{event}{place}")
        cursor.execute(statement, values)
        assert cursor.rowcount


def verify(*arguments):
    out = StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=out, stderr=StringIO())
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), ""


@database
def test_entries_get_their_places_in_the_order_in_which_they_are_found_each_organization_its_own():
    first, second = make_organization(), make_organization()
    for organization in (first, second, first, None, first):
        write(organization)

    assert chaining.extend(at=AT) == 5
    assert chaining.extend(at=AT) == 0

    places = AuditEntry.objects.order_by("pk").values_list("organization_id", "position")
    assert list(places) == [(first.pk, 1), (second.pk, 1), (first.pk, 2), (None, 1), (first.pk, 3)]
    assert chaining.chains() == [0, first.pk, second.pk]
    assert not [flaw for chain in chaining.chains() for flaw in chaining.verify(chain)]
    assert verify() == ("3 chains, each as it was written.\n", "")


@database
def test_more_entries_than_one_step_takes_are_placed_all_the_same(monkeypatch):
    monkeypatch.setattr(chaining, "_READ_AT_ONCE", 3)

    organization = chained(8)

    assert AuditEntry.objects.filter(position=None).count() == 0
    assert flaws(organization) == []


TAMPERINGS = {
    "altered": ("UPDATE accounts_auditentry SET subject = 'x' WHERE position = 3", 3, "altered"),
    "somebody else named": ("UPDATE accounts_auditentry SET name = 'x' WHERE position = 3", 3, "altered"),
    "its time moved": ("UPDATE accounts_auditentry SET at = '2026-01-01 00:00:00+00:00' WHERE position = 3", 3, "alt"),
    "removed": ("DELETE FROM accounts_auditentry WHERE position = 3", 3, "the entry 3 is missing"),
    "several removed": (
        "DELETE FROM accounts_auditentry WHERE position IN (2, 3)",
        2,
        "the entries 2 to 3 are missing",
    ),
    "the first removed": ("DELETE FROM accounts_auditentry WHERE position = 1", 1, "the entry 1 is missing"),
    "the newest removed": ("DELETE FROM accounts_auditentry WHERE position = 6", 6, "the entry 6 is missing"),
    "the newest altered": ("UPDATE accounts_auditentry SET action = 'x.y' WHERE position = 6", 6, "altered"),
    "all removed": ("DELETE FROM accounts_auditentry", 1, "the entries 1 to 6 are missing"),
    "the head removed": ("DELETE FROM accounts_audithead", 6, "the chain's head is missing"),
    "the head moved": ("UPDATE accounts_audithead SET position = 4", 4, "head is not sealed"),
    "a checkpoint altered": ("UPDATE accounts_auditcheckpoint SET position = 5", 5, "checkpoint is not sealed"),
    "a digest altered": ("UPDATE accounts_auditentry SET digest = 'x' WHERE position = 2", 2, "does not follow"),
}


@database
@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found_and_its_place_is_named(name):
    statement, position, what = TAMPERINGS[name]
    organization, untouched = chained(), make_organization()
    assert flaws(organization) == []

    tamper(statement)
    found = flaws(organization)
    lines, error = verify()

    assert [place for place, said in found if what in said] == [position]
    assert f"{organization}, entry {position}: " in lines
    assert str(untouched) not in lines
    assert "1 of 1 chains" in error


@database
def test_two_entries_that_changed_places_are_both_named():
    organization = chained()

    tamper("UPDATE accounts_auditentry SET position = 100 WHERE position = 2")
    tamper("UPDATE accounts_auditentry SET position = 2 WHERE position = 4")
    tamper("UPDATE accounts_auditentry SET position = 4 WHERE position = 100")

    assert {2, 4} <= {place for place, said in flaws(organization) if "does not follow" in said}


@database
@pytest.mark.parametrize("position", [None, 7])
def test_an_entry_that_this_service_did_not_write_is_found(position):
    organization = chained()
    values = AuditEntry.objects.filter(position=6).values().get()

    AuditEntry.objects.create(**(values | {"id": None, "subject": "forged", "position": position}))

    if position is None:
        assert [said for _, said in flaws(organization) if "without a place yet" in said]
        chaining.extend(at=AT)
    assert any("altered, or not written by this service" in said for place, said in flaws(organization) if place == 7)


@database
def test_a_tail_cut_off_together_with_its_head_is_found_by_the_checkpoint(monkeypatch):
    organization = chained(3)
    head = AuditHead.objects.values().get()
    write(organization, 3, at=AT + 2 * DAY)
    chaining.extend(at=AT + 2 * DAY)

    # Put back as it was then, head and seal and all; the checkpoint at 6 is overlooked.
    tamper("DELETE FROM accounts_auditentry WHERE position > 3")
    AuditHead.objects.filter(pk=head["chain"]).update(**head)

    assert flaws(organization) == [(4, "the entries 4 to 6 are missing")]


@database
def test_a_chain_put_back_whole_is_found_by_the_checkpoints_in_the_log(tmp_path, caplog):
    caplog.set_level("INFO")
    organization = chained(3)
    head, mark = AuditHead.objects.values().get(), AuditCheckpoint.objects.get().pk
    write(organization, 3, at=AT + 2 * DAY)
    chaining.extend(at=AT + 2 * DAY)
    log = tmp_path / "log"
    log.write_text("\n".join(f"2026-11-24 09:30:00 INFO {line}" for line in caplog.messages))
    assert verify("--against", str(log))[1] == ""

    tamper("DELETE FROM accounts_auditentry WHERE position > 3")
    AuditCheckpoint.objects.exclude(pk=mark).delete()
    AuditHead.objects.filter(pk=head["chain"]).update(**head)

    assert verify()[1] == ""
    lines, error = verify("--against", str(log))
    assert lines == f"{organization}, entry 6: the log has a checkpoint here, the database nothing.\n"
    assert error


@database
def test_old_entries_are_pruned_up_to_a_checkpoint_and_the_rest_is_still_proven():
    organization = chained(4, at=AT)
    write(organization, 4, at=AT + 40 * DAY)
    chaining.extend(at=AT + 40 * DAY)

    assert chaining.prune(before=AT + 10 * DAY, at=AT + 50 * DAY) == 4
    assert chaining.prune(before=AT + 10 * DAY, at=AT + 50 * DAY) == 0

    assert list(AuditEntry.objects.order_by("position").values_list("position", flat=True)) == [5, 6, 7, 8]
    assert flaws(organization) == []
    tamper("DELETE FROM accounts_auditentry WHERE position = 5")
    assert flaws(organization) == [(5, "the entry 5 is missing")]


@database
def test_everything_may_be_pruned_and_the_chain_goes_on():
    organization = chained(4)
    chaining.prune(before=AT + DAY, at=AT + 2 * DAY)
    assert (AuditEntry.objects.count(), flaws(organization)) == (0, [])

    write(organization, 2, at=AT + 3 * DAY)
    chaining.extend(at=AT + 3 * DAY)

    assert list(AuditEntry.objects.order_by("pk").values_list("position", flat=True)) == [5, 6]
    assert flaws(organization) == []


@database
def test_a_stopped_pruning_is_finished_by_the_next_and_hides_nothing(monkeypatch):
    monkeypatch.setattr(chaining, "_PRUNED_AT_ONCE", 2)
    organization = chained(5)

    assert chaining.prune(before=AT + DAY, at=AT + DAY, most=2) == 2
    assert flaws(organization) == []
    assert chaining.prune(before=AT + DAY, at=AT + DAY) == 3
    assert flaws(organization) == []


@database
def test_entries_removed_without_pruning_are_missed_although_a_checkpoint_stands_there():
    organization = chained(4, at=AT)
    write(organization, 2, at=AT + 2 * DAY)
    chaining.extend(at=AT + 2 * DAY)

    tamper("DELETE FROM accounts_auditentry WHERE position <= 4")

    assert flaws(organization)[0] == (1, "the entries 1 to 4 are missing")
    AuditCheckpoint.objects.filter(position=4).update(pruned_at=AT)
    assert (4, "the checkpoint that pruning left is not sealed by this service") in flaws(organization)


@database
def test_a_chain_grows_a_checkpoint_a_day_and_not_one_a_round():
    organization = make_organization()
    for hours in (0, 1, 2, 25, 26):
        write(organization, 2, at=AT)
        chaining.extend(at=AT + timedelta(hours=hours))

    assert list(AuditCheckpoint.objects.order_by("position").values_list("position", flat=True)) == [2, 8]


@database
def test_a_damaged_chain_does_not_hold_up_the_others():
    damaged = chained(3)
    tamper("UPDATE accounts_audithead SET position = 1")
    other = make_organization()
    write(damaged)
    write(other, 2)

    chaining.extend(at=AT)

    assert AuditEntry.objects.filter(organization=other, position=None).count() == 0


@database
def test_only_the_named_organization_is_verified():
    chained(3)
    tamper("DELETE FROM accounts_auditentry WHERE position = 2")
    whole = make_organization()
    write(whole)
    chaining.extend(at=AT)

    assert verify("--organization", whole.name) == ("1 chains, each as it was written.\n", "")
    assert "There is no organization" in verify("--organization", "Nobody")[1]
    assert "has no audit checkpoint" in verify("--against", "/dev/null")[1]
    assert "cannot be read" in verify("--against", "/nowhere/log")[1]


@pytest.fixture
def kept(transactional_db):
    """A database that others see. Its chained entries are cleared away as if they were pruned."""
    yield
    for chain in chaining.chains():
        AuditCheckpoint.objects.create(chain=chain, position=10**9, at=AT, pruned_at=AT)
    AuditEntry.objects.exclude(position=None).delete()


@pytest.mark.usefixtures("kept")
def test_two_jobs_and_writers_at_once_leave_one_whole_chain():
    organizations = [make_organization(), make_organization()]
    for organization in organizations:
        write(organization, 30)

    outcomes = at_once(
        *(lambda: chaining.extend(at=AT) for _ in range(3)),
        *(lambda organization=organization: write(organization, 20) for organization in organizations),
    )
    chaining.extend(at=AT)

    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert sum(outcomes[:3]) <= 100
    for organization in organizations:
        places = AuditEntry.objects.filter(organization=organization).order_by("position")
        assert list(places.values_list("position", flat=True)) == list(range(1, 51))
        assert flaws(organization) == []


@pytest.mark.usefixtures("kept")
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer at a time anyway")
def test_a_chain_that_is_being_extended_holds_up_no_writer():
    from django.db import transaction

    organization = make_organization()
    write(organization)
    with transaction.atomic():
        chaining.extend(at=AT)

        (outcome,) = at_once(lambda: write(organization, 3))

        assert outcome is None
    assert AuditEntry.objects.filter(organization=organization).count() == 4
