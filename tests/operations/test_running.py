"""Operations as they are done: dry runs, slices, killed and competing workers, fairness, cancelling, limits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from accounts.actors import Actor
from accounts.models import AuditEntry, Organization
from onboarding.models import Device, StateChange
from operations import receiving, reporting, running
from operations.models import Operation, OperationPart, Sheet, SheetPart
from operations.receiving import ROWS_A_PART, TooManyOperations
from operations.running import LEASE, OperationOver, TooManyTaken
from tests.factories import ACTOR, AT, OWN, make_device, make_mac, make_organization, make_profile, make_user
from tests.operations.work import all_results, do, done, later, receive, run_all, short, start
from tests.service import Service, wait_until

pytestmark = pytest.mark.django_db


def _file(count: int, *, first: int = 0x00AA00000000) -> str:
    return "mac,model\n" + "".join(f"{first + number:012X},CP-8841-3PCC\n" for number in range(count))


def _one_part(operation: Operation, *, lease: str = "mine", at=AT) -> None:
    assert running.lease_it(operation, lease, at=at)
    running.do_part(operation.pk, lease, at=at, own=OWN)
    operation.refresh_from_db()


def test_a_dry_run_tells_exactly_what_the_run_then_does() -> None:
    organization = make_organization()
    profile = make_profile(organization=organization)
    mine, same, unproven = (make_device(organization=organization, label=name) for name in ("a", "b", "c"))
    Device.objects.filter(pk=unproven.pk).update(proven=False)
    theirs, theirs_unproven = make_device(), make_device(columns={"proven": False})
    macs = [mine.mac, same.mac, unproven.mac, theirs.mac, theirs_unproven.mac, str(make_mac()), "nonsense", mine.mac]
    text = "mac,model,profile,label\n" + "".join(
        f"{mac},CP-8841-3PCC,{profile.pk if mac == mine.mac else ''},{'b' if mac == same.mac else ''}\n" for mac in macs
    )
    before = list(Device.objects.order_by("pk").values())

    dry = done(start(organization, text, dry_run=True))
    assert list(Device.objects.order_by("pk").values()) == before
    assert not StateChange.objects.filter(recorded_at__gt=AT).exists()
    real = done(running.run_for_real(actor=ACTOR, operation=dry, at=later(5)), at=later(5))

    assert all_results(real) == all_results(dry)
    assert [result.code or result.status for result in all_results(real)] == [
        "changed", "unchanged", "changed", "device_taken", "created", "created", "invalid_mac", "duplicate",
    ]  # fmt: skip
    assert (real.created, real.changed, real.unchanged, real.failed, real.succeeded) == (2, 2, 1, 3, 5)
    assert (real.status, dry.status, real.processed) == ("done", "done", 8)


@pytest.mark.parametrize("kind", ["assign", "release"])
def test_a_dry_run_of_other_kinds_changes_nothing_either(kind: str) -> None:
    profile = make_profile()
    device = make_device(organization=profile.organization)

    results = do(profile.organization, f"mac,profile\n{device.mac},{profile.pk}\n", kind=kind, dry_run=True)

    assert [result.status for result in results] == ["changed" if kind == "assign" else "released"]
    device.refresh_from_db()
    assert device.profile_id is None


def test_parts_are_done_one_after_another_and_duplicates_are_found_across_them() -> None:
    organization = make_organization()
    text = _file(ROWS_A_PART + 10) + _file(3).removeprefix("mac,model\n")
    operation = start(organization, text)

    _one_part(operation)
    progress = reporting.progress(operation, at=later(2))
    assert (operation.status, operation.processed, operation.created) == ("running", ROWS_A_PART, ROWS_A_PART)
    assert progress.share == pytest.approx(ROWS_A_PART / (ROWS_A_PART + 13))
    assert progress.seconds_left == 1
    done(operation)

    results = all_results(operation)
    assert [result.row for result in results] == list(range(2, ROWS_A_PART + 15))
    assert [result.code for result in results[-4:]] == ["", "duplicate", "duplicate", "duplicate"]
    assert reporting.results(operation, after=ROWS_A_PART, most=3, status="failed") == results[-3:]
    assert reporting.results(operation, after=ROWS_A_PART, most=2) == results[ROWS_A_PART - 1 : ROWS_A_PART + 1]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM operations_metmac")
        assert cursor.fetchone() == (0,)


def test_a_worker_without_the_lease_does_nothing() -> None:
    operation = start(make_organization(), _file(3))

    assert running.lease_it(operation, "first", at=AT)
    assert not running.lease_it(operation, "second", at=later(5))
    running.do_part(operation.pk, "second", at=later(5), own=OWN)
    assert not Device.objects.exists()

    late = AT + LEASE
    assert running.lease_it(operation, "second", at=late)
    running.do_part(operation.pk, "first", at=late, own=OWN)
    assert not Device.objects.exists()
    running.do_part(operation.pk, "second", at=late, own=OWN)
    operation.refresh_from_db()
    assert (operation.status, Device.objects.count()) == ("done", 3)


def test_each_organizations_oldest_operation_has_its_turn_part_by_part() -> None:
    large, small = make_organization(), make_organization()
    first = start(large, _file(2 * ROWS_A_PART + 5))
    queued = start(large, _file(5, first=0x00BB00000000))
    other = start(small, _file(5, first=0x00CC00000000))
    done_in_order = []

    for step in range(1, 6):
        seconds = iter([0.0, 9.0])
        running.run_slice(at=later(step), own=OWN, seconds=lambda: next(seconds), rest=lambda _: None)  # noqa: B023
        for operation in (first, queued, other):
            operation.refresh_from_db()
        done_in_order.append((first.processed, other.processed, queued.processed))

    total = 2 * ROWS_A_PART + 5
    assert done_in_order == [
        (ROWS_A_PART, 0, 0), (ROWS_A_PART, 5, 0), (2 * ROWS_A_PART, 5, 0), (total, 5, 0), (total, 5, 5),
    ]  # fmt: skip


def test_a_cancelled_operation_keeps_what_was_done_and_does_no_more() -> None:
    organization = make_organization()
    operation = start(organization, _file(ROWS_A_PART + 5))
    _one_part(operation)

    running.cancel(actor=ACTOR, operation=operation, at=AT)
    run_all()
    operation.refresh_from_db()

    assert (operation.status, operation.processed, Device.objects.count()) == ("cancelled", ROWS_A_PART, ROWS_A_PART)
    running.cancel(actor=ACTOR, operation=operation, at=AT)
    assert AuditEntry.objects.filter(action="operation.cancelled").count() == 1


def test_cancelling_while_a_worker_is_at_it_ends_it_with_the_next_part() -> None:
    operation = start(make_organization(), _file(5))
    assert running.lease_it(operation, "mine", at=AT)

    assert running.cancel(actor=ACTOR, operation=operation, at=AT).status == "queued"
    running.do_part(operation.pk, "mine", at=AT, own=OWN)

    operation.refresh_from_db()
    assert (operation.status, Device.objects.exists()) == ("cancelled", False)


def test_what_is_over_cannot_be_cancelled() -> None:
    operation = done(start(make_organization(), _file(1)))

    with pytest.raises(OperationOver):
        running.cancel(actor=ACTOR, operation=operation, at=AT)


def test_a_start_leaves_one_audit_entry_with_who_and_where_from() -> None:
    organization = make_organization()
    make_user(organization=organization, username="ann")
    actor = Actor("admin", "ann", address="192.0.2.7", request_id="r-12345678")

    operation = running.start(actor=actor, sheet=receive(organization, _file(3)), kind="import", dry_run=False, at=AT)
    done(operation)

    entry = AuditEntry.objects.get(organization=organization)
    assert (entry.action, entry.name, entry.address, entry.request_id) == (
        "operation.started", "ann", "192.0.2.7", "r-12345678",
    )  # fmt: skip
    assert (entry.subject, entry.after["rows"]) == (f"Import {operation.pk}", 3)
    row = StateChange.objects.first()
    assert row is not None
    assert (row.source, row.evidence["by"], row.evidence["operation"]) == ("admin", "ann", operation.pk)


def test_an_organization_has_a_limited_number_of_operations_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "MOST_UNFINISHED", 2)
    organization = make_organization()
    for number in range(2):
        start(organization, _file(1, first=0x00AA00000000 + number))

    with pytest.raises(TooManyOperations):
        receive(organization, _file(1))
    start(make_organization(), _file(1))
    run_all()
    start(organization, _file(1))


def test_files_that_are_being_received_are_limited_too_until_they_are_given_up() -> None:
    organization = make_organization()
    for _ in range(3):
        Sheet.objects.create(organization=organization, begun_at=AT)

    with pytest.raises(TooManyOperations):
        receive(organization, _file(1))
    assert receive(organization, _file(1), at=later(3601)).total == 1


def test_an_import_ends_when_it_was_told_of_too_many_devices_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "MOST_TAKEN", 3)
    foreign = [make_device().mac for _ in range(3)]
    organization = make_organization()
    text = "mac,model\n" + "".join(f"{mac},CP-8841-3PCC\n" for mac in foreign)

    operation = start(organization, text)
    done(operation)

    assert operation.status == "failed"
    assert "other organizations" in operation.reason
    assert AuditEntry.objects.filter(organization=organization, action="device.taken_refused").count() == 1
    with pytest.raises(TooManyTaken):
        start(organization, _file(1), at=later(60))
    assert start(organization, _file(1), at=later(3700)).status == "queued"


def test_an_operation_of_a_suspended_organization_fails() -> None:
    organization = make_organization()
    operation = start(organization, _file(1))
    Organization.objects.filter(pk=organization.pk).update(suspended_at=AT)

    done(operation)

    assert (operation.status, Device.objects.exists()) == ("failed", False)


def test_a_part_that_keeps_going_wrong_ends_the_operation_with_a_reason() -> None:
    operation = start(make_organization(), _file(1))
    SheetPart.objects.update(content=b"not packed")

    for second in range(5):
        run_all(at=later(second))

    operation.refresh_from_db()
    assert (operation.status, operation.failures) == ("failed", 5)
    assert operation.reason


def test_rows_that_name_a_profile_deleted_meanwhile_fail() -> None:
    profile = make_profile()
    operation = start(profile.organization, _file(2), profile=profile)
    other = start(
        profile.organization,
        f"mac,profile\n{make_device(organization=profile.organization).mac},\n",
        kind="assign",
        profile=profile,
    )
    profile.delete()

    assert [result.status for result in all_results(done(operation))] == ["created", "created"]
    other.refresh_from_db()
    assert [result.code for result in all_results(other)] == ["unknown_profile"]


def test_results_and_sheets_are_deleted_when_their_time_is_over() -> None:
    organization = make_organization()
    old = done(start(organization, _file(3)))
    running.start(actor=ACTOR, sheet=old.sheet, kind="release", dry_run=True, at=later(5))  # type: ignore[arg-type]
    run_all(at=later(100))
    abandoned = receive(organization, _file(2))
    waiting = start(organization, _file(1), at=later(90))

    assert running.prune(before=later(50), abandoned_before=later(-1)) == 1
    assert not Operation.objects.filter(pk=old.pk).exists()
    assert Sheet.objects.filter(pk__in=[old.sheet_id, abandoned.pk]).count() == 2
    assert running.prune(before=later(200), abandoned_before=later(80)) == 3

    assert list(Operation.objects.all()) == [waiting]
    assert list(Sheet.objects.values_list("pk", flat=True)) == [waiting.sheet_id]
    assert not OperationPart.objects.exists()


def test_one_bell_is_out_at_a_time_and_older_ones_are_void() -> None:
    assert running.ring(at=AT) is None
    start(make_organization(), _file(1))

    bell = running.ring(at=AT)
    assert bell is not None
    assert running.ring(at=later(5)) is None
    assert running.answer(bell, at=later(9))
    assert running.ring(at=later(15)) is None
    again = running.ring(at=later(30))
    assert again == bell + 1
    assert not running.answer(bell, at=later(31))
    running.hush(again)
    assert running.ring(at=later(31)) == again + 1


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_workers_that_are_killed_again_and_again_do_every_row_once(tmp_path: Path) -> None:
    organization = make_organization()
    count = 4 * ROWS_A_PART
    with Service(tmp_path) as service:
        operation = start(organization, _file(count) + _file(1).removeprefix("mac,model\n"))
        for name in ("worker", "worker2"):
            service.start(name)
        for reached in (1, 2 * ROWS_A_PART):
            wait_until(lambda reached=reached: _processed(operation) >= reached, what=f"row {reached}", seconds=90)
            service.kill("worker")
            service.start("worker")
        wait_until(lambda: Operation.objects.get(pk=operation.pk).is_over, what="the end", seconds=120)
    operation.refresh_from_db()

    assert (operation.status, operation.created, operation.failed) == ("done", count, 1)
    assert Device.objects.count() == count
    assert StateChange.objects.filter(event="claimed").count() == count
    assert [result.row for result in all_results(operation)] == list(range(2, count + 3))


def _processed(operation: Operation) -> int:
    return Operation.objects.values_list("processed", flat=True).get(pk=operation.pk)


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_what_a_killed_command_began_is_taken_up_where_it_stood(tmp_path: Path) -> None:
    organization = make_organization(name="Alpenphone")
    count = 3 * ROWS_A_PART
    file = tmp_path / "list.csv"
    file.write_text(_file(count))
    with Service(tmp_path / "data") as service:
        command = [sys.executable, "manage.py", "import_devices", str(file), "--organization", organization.name]
        process = subprocess.Popen(
            command, env=service._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: Device.objects.exists(), what="the first part")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    operation = Operation.objects.get()
    assert 0 < operation.processed < count

    at = operation.served_at + 2 * LEASE
    done(operation, at=at)

    assert (operation.status, operation.created, Device.objects.count()) == ("done", count, count)
    assert short(all_results(operation))[0] == (2, "created", "")
