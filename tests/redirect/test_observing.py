"""Journal to registry: each line is applied once, in order, whatever happens on the way."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from onboarding import observations
from onboarding import registry as registry_verbs
from onboarding.models import Device, Sighting, StateChange
from redirect import journal, observing, publishing
from redirect.journal import Journal
from redirect.models import Batch
from redirect.models import Journal as JournalRow
from redirect.publishing import JournalCollector
from tests import factories
from tests.service import wait_until

pytestmark = pytest.mark.usefixtures("registry")

KEPT = timedelta(hours=24)


@pytest.fixture(autouse=True)
def no_settling(monkeypatch):
    """Lines are taken as soon as they are written: the tests wait for nothing."""
    monkeypatch.setattr(publishing, "SETTLE_NANOSECONDS", 0)


def _query(mac: str, device: Device | None = None, **said: str) -> str:
    line = {
        "event": "query",
        "mac": mac,
        "model": "CP-8841-3PCC",
        "serial": "",
        "firmware": "",
        "from": "192.0.2.1",
        "outcome": "redirected" if device else "unknown_device",
        "device": device.pk if device else None,
        "organization": device.organization_id if device else None,
        "target": "https://cfg.example.net/$MA.xml" if device else "",
    } | said
    return json.dumps(line)[1:-1]


def _report(mac: str, what: str, *, proven: bool = True, event: str = "report", answered_at: int | None = None) -> str:
    if proven and answered_at is None:
        answered_at = int(datetime.now(UTC).timestamp())
    line = {
        "event": event, "what": what, "mac": mac, "model": "", "serial": "", "from": "192.0.2.1",
        "answered_at": answered_at, "said": {},
    }  # fmt: skip
    return json.dumps(line)[1:-1]


def _apply() -> None:
    observing.apply_waiting(at=timezone.now())


def _history(mac: str) -> list[tuple[str, str, str]]:
    return list(
        StateChange.objects.filter(mac=mac)
        .exclude(event="claimed")
        .order_by("id")
        .values_list("event", "after", "refused")
    )


def test_a_query_is_two_rows_and_its_evidence_is_kept(tmp_path):
    device = factories.make_device()
    Journal(tmp_path, "door1").append(_query(device.mac, device, firmware="sip88xx.11-3-2"))

    JournalCollector(tmp_path, kept=KEPT).hand_in()
    _apply()

    assert _history(device.mac) == [("asked", "pending", ""), ("answered", "custom_pending", "")]
    asked, answered = StateChange.objects.filter(mac=device.mac).exclude(event="claimed").order_by("id")
    assert asked.evidence == {"model": "CP-8841-3PCC", "firmware": "sip88xx.11-3-2", "from": "192.0.2.1"}
    assert answered.evidence == {"outcome": "redirected", "target": "https://cfg.example.net/$MA.xml"}
    device.refresh_from_db()
    assert (device.state, device.last_seen) == ("custom_pending", asked.at)


def test_a_whole_life_of_a_phone(tmp_path):
    device = factories.make_device(profile=factories.make_profile())
    log = Journal(tmp_path, "door1")
    log.append(_query(device.mac, device))
    log.append(_report(device.mac, "acquired", event="beacon"))
    log.append(_query(device.mac, device))

    JournalCollector(tmp_path, kept=KEPT).hand_in()
    _apply()

    assert _history(device.mac) == [
        ("asked", "pending", ""),
        ("answered", "custom_pending", ""),
        ("acquired", "acquired", ""),
        ("factory_reset", "open", ""),
        ("asked", "pending", ""),
        ("answered", "custom_pending", ""),
    ]


def test_a_report_without_a_token_is_hearsay(tmp_path):
    recorded, applied = (
        factories.make_device(profile=factories.make_profile(unproven_evidence=choice))
        for choice in ("record", "apply")
    )
    log = Journal(tmp_path, "door1")
    for device in (recorded, applied):
        log.append(_query(device.mac, device))
        log.append(_report(device.mac, "acquired", proven=False))

    JournalCollector(tmp_path, kept=KEPT).hand_in()
    _apply()

    assert _history(recorded.mac)[-1] == ("acquired", "custom_pending", "unproven")
    assert _history(applied.mac)[-1] == ("acquired", "acquired", "")


def test_unknown_phones_become_sightings(tmp_path):
    log = Journal(tmp_path, "door1")
    for _ in range(3):
        log.append(_query("00562B0A0001"))
    log.append(_report("00562B0A0002", "factory_reset"))

    JournalCollector(tmp_path, kept=KEPT).hand_in()
    _apply()

    assert list(Sighting.objects.values_list("mac", "count", "model")) == [("00562B0A0001", 3, "CP-8841-3PCC")]


@pytest.fixture
def all_is_told(monkeypatch):
    """One phone's rows are not limited, so that each line can be looked for."""
    monkeypatch.setattr(observations, "ROWS_AN_HOUR", 10_000)


@pytest.mark.usefixtures("all_is_told")
def test_lines_of_several_processes_are_merged_by_their_sequence(tmp_path):
    device = factories.make_device(profile=factories.make_profile())
    logs = [Journal(tmp_path, "door1") for _ in range(4)]
    rng = random.Random(1)
    for _ in range(60):
        rng.choice(logs).append(_query(device.mac, device))

    JournalCollector(tmp_path, kept=KEPT).hand_in()
    _apply()

    sequence = _history(device.mac)
    assert sequence == [("asked", "pending", ""), ("answered", "custom_pending", "")] * 60


@pytest.mark.usefixtures("all_is_told")
def test_what_exceeds_one_round_still_goes_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "CHUNK_OCTETS", 2000)
    device = factories.make_device(profile=factories.make_profile())
    logs = [Journal(tmp_path, "door1") for _ in range(3)]
    # One journal has far more than the others: nothing of theirs may overtake its lines.
    for number in range(90):
        logs[0 if number % 9 else number % 3].append(_query(device.mac, device))
    collector = JournalCollector(tmp_path, kept=KEPT)

    rounds = 0
    while collector.hand_in():
        rounds += 1
    _apply()

    assert rounds > 5
    assert _history(device.mac) == [("asked", "pending", ""), ("answered", "custom_pending", "")] * 90


def test_torn_lines_are_skipped_and_counted(tmp_path):
    log = Journal(tmp_path, "door1")
    log.append(_query("00562B0A0001"))
    file = next(tmp_path.glob("*.jsonl"))
    with file.open("ab") as torn:
        torn.write(b'{"seq":12,"at":"20\n')
        torn.write(b"\xff\xfe not json\n\n[]\n")
        torn.write(
            b'{"seq":13,"at":"2026-11-22T09:30:00.1Z","event":"query"}\n{"seq":13,"at":"soon","event":"query","mac":"0"}\n'
        )
    log.append(_query("00562B0A0001"))

    JournalCollector(tmp_path, kept=KEPT).hand_in()
    _apply()

    assert Sighting.objects.get().count == 2
    row = JournalRow.objects.get()
    assert (row.lines, row.torn) == (2, 5)
    assert row.applied == row.received == file.stat().st_size


def test_a_line_that_is_not_finished_is_left_until_it_is(tmp_path):
    log = Journal(tmp_path, "door1")
    log.append(_query("00562B0A0001"))
    file = next(tmp_path.glob("*.jsonl"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    collector = JournalCollector(tmp_path, kept=KEPT)
    assert collector.hand_in() == 0

    file.write_bytes(whole)

    assert collector.hand_in() == 1


@pytest.mark.parametrize("seed", range(5))
def test_relays_and_workers_that_come_and_go_apply_each_line_once(tmp_path, seed, monkeypatch):
    monkeypatch.setattr(publishing, "CHUNK_OCTETS", 1500)
    rng = random.Random(seed)
    log = Journal(tmp_path, "door1")
    collectors = [JournalCollector(tmp_path, kept=KEPT) for _ in range(2)]
    written = 0
    for _ in range(80):
        match rng.randrange(5):
            case 0 | 1:
                log.append(_query("00562B0A0001"))
                written += 1
            case 2:
                rng.choice(collectors).hand_in()
            case 3:
                collectors[rng.randrange(2)] = JournalCollector(tmp_path, kept=KEPT)
            case 4:
                _apply()
    while collectors[0].hand_in():
        pass
    _apply()

    assert Sighting.objects.get().count == written
    assert not Batch.objects.exists()


def test_a_worker_that_dies_before_its_commit_leaves_everything_to_the_next(tmp_path, monkeypatch):
    log = Journal(tmp_path, "door1")
    for _ in range(5):
        log.append(_query("00562B0A0001"))
    JournalCollector(tmp_path, kept=KEPT).hand_in()
    with monkeypatch.context() as patched:
        patched.setattr(
            observing.customization, "record_all", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            _apply()
    assert Batch.objects.exists()

    _apply()

    assert Sighting.objects.get().count == 5


def test_an_older_registry_is_handed_what_it_lacks(tmp_path):
    """As after a restore: the journals' positions are the registry's own, so they went back with it."""
    log = Journal(tmp_path, "door1")
    for _ in range(4):
        log.append(_query("00562B0A0001"))
    collector = JournalCollector(tmp_path, kept=KEPT)
    collector.hand_in()
    _apply()
    early = list(JournalRow.objects.values()), list(Sighting.objects.values())
    for _ in range(3):
        log.append(_query("00562B0A0001"))
    collector.hand_in()
    _apply()
    assert Sighting.objects.get().count == 7

    for model, rows in zip((JournalRow, Sighting), early, strict=True):
        model.objects.all().delete()
        model.objects.bulk_create([model(**row) for row in rows])
    log.append(_query("00562B0A0001"))
    while collector.hand_in() or collector.hand_in():
        pass
    _apply()

    assert Sighting.objects.get().count == 8


def test_a_batch_that_does_not_continue_its_journal_is_refused(tmp_path):
    log = Journal(tmp_path, "door1")
    log.append(_query("00562B0A0001"))
    collector = JournalCollector(tmp_path, kept=KEPT)
    collector.hand_in()
    _apply()
    row = JournalRow.objects.get()
    repeated = next(tmp_path.glob("*.jsonl")).read_bytes()
    Batch.objects.create(
        journal=row, start=0, end=len(repeated), round="00000000-0000-0000-0000-000000000001", content=repeated
    )

    _apply()

    assert Sighting.objects.get().count == 1
    assert not Batch.objects.exists()


def test_evidence_from_two_machines_in_the_wrong_order_is_late(tmp_path):
    device = factories.make_device(profile=factories.make_profile())
    first, second = tmp_path / "one", tmp_path / "two"
    Journal(first, "door1").append(_query(device.mac, device))
    Journal(second, "door2").append(_report(device.mac, "factory_reset"))
    Journal(second, "door2").append(_query(device.mac, device))
    for folder in (second, first):
        JournalCollector(folder, kept=KEPT).hand_in()
        _apply()

    assert _history(device.mac)[-2:] == [("asked", "custom_pending", "late"), ("answered", "custom_pending", "late")]
    device.refresh_from_db()
    assert device.state == "custom_pending"


def test_a_call_back_that_overtakes_the_journal_waits_for_it(tmp_path):
    from onboarding import customization
    from onboarding.observations import Clock, Observation
    from onboarding.states import Event

    device = factories.make_device(profile=factories.make_profile(), at=timezone.now() - timedelta(minutes=1))
    log = Journal(tmp_path, "door1")
    log.append(_query(device.mac, device))
    called_back = Observation(Event.ACQUIRED, Clock(timezone.now()), "callback")
    customization.record(customization.Evidence(device.mac, called_back), at=timezone.now())
    assert _history(device.mac) == []

    JournalCollector(tmp_path, kept=KEPT).hand_in()
    _apply()

    assert _history(device.mac)[-1] == ("acquired", "acquired", "")


def test_a_beacon_for_a_former_owner_s_answer_says_nothing_to_the_next(tmp_path):
    former = factories.make_device(profile=factories.make_profile(), at=timezone.now() - timedelta(hours=2))
    log = Journal(tmp_path, "door1")
    token_of = int((timezone.now() - timedelta(hours=1)).timestamp())
    registry_verbs.release(actor=factories.ACTOR, device=former, at=timezone.now() - timedelta(minutes=30))
    present = factories.make_device(mac=former.mac, profile=factories.make_profile(), at=timezone.now())
    log.append(_query(present.mac, present))
    log.append(_report(present.mac, "acquired", event="beacon", answered_at=token_of))

    JournalCollector(tmp_path, kept=KEPT).hand_in()
    _apply()

    assert _history(present.mac)[-1] == ("acquired", "custom_pending", "late")


def test_journals_of_an_earlier_boot_go_first(tmp_path):
    device = factories.make_device(profile=factories.make_profile())
    log = Journal(tmp_path, "door1")
    log.append(_query(device.mac, device))
    present = next(tmp_path.glob("*.jsonl"))
    name = journal.parse_name(present.name)
    # The machine's clock of the earlier boot had gone further than the present one has.
    earlier = present.with_name(f"{name.machine},0000dead,{name.started_at - 10**9},00000000.jsonl")
    line = json.loads(present.read_bytes())
    early_at = datetime.now(UTC) - timedelta(minutes=2)
    line |= {"seq": line["seq"] * 2, "at": early_at.isoformat().replace("+00:00", "Z")}
    earlier.write_bytes((json.dumps(line, separators=(",", ":")) + "\n").encode())
    collector = JournalCollector(tmp_path, kept=KEPT)

    while collector.hand_in():
        pass
    _apply()

    assert [refused for _, _, refused in _history(device.mac)] == ["", "", "", ""]


class TestKeeping:
    """When a journal may go."""

    def _done(self, folder: Path) -> tuple[JournalCollector, Path, float]:
        log = Journal(folder, "door1")
        log.append(_query("00562B0A0001"))
        file = next(folder.glob("*.jsonl"))
        log._close()
        collector = JournalCollector(folder, kept=KEPT)
        collector.hand_in()
        return collector, file, file.stat().st_mtime + KEPT.total_seconds() + 1

    def test_an_applied_journal_goes_after_its_keeping_time(self, tmp_path):
        collector, file, later = self._done(tmp_path)
        _apply()

        assert collector.delete_done(at=file.stat().st_mtime + 10) == 0
        # The writer lets go of a closed file once it is synced.
        wait_until(lambda: collector.delete_done(at=later), seconds=5)
        assert not file.exists()

    def test_a_journal_that_is_not_applied_stays(self, tmp_path):
        collector, file, later = self._done(tmp_path)

        assert collector.delete_done(at=later) == 0
        assert file.exists()

    def test_a_journal_whose_writer_lives_stays(self, tmp_path):
        log = Journal(tmp_path, "door1")
        log.append(_query("00562B0A0001"))
        file = next(tmp_path.glob("*.jsonl"))
        collector = JournalCollector(tmp_path, kept=KEPT)
        collector.hand_in()
        _apply()

        assert collector.delete_done(at=file.stat().st_mtime + KEPT.total_seconds() + 1) == 0
        log.append(_query("00562B0A0001"))
        collector.hand_in()
        _apply()
        assert Sighting.objects.get().count == 2

    def test_too_much_is_deleted_before_its_time(self, tmp_path, monkeypatch):
        collector, file, _later = self._done(tmp_path)
        _apply()
        monkeypatch.setattr(publishing, "MOST_KEPT_OCTETS", 10)

        wait_until(lambda: collector.delete_done(at=file.stat().st_mtime + 10), seconds=5)


def test_the_inbox_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "MOST_WAITING_BATCHES", 2)
    collector = JournalCollector(tmp_path, kept=KEPT)
    log = Journal(tmp_path, "door1")
    handed_in = 0
    for _ in range(5):
        log.append(_query("00562B0A0001"))
        handed_in += collector.hand_in()

    assert handed_in == 2
    _apply()
    assert collector.hand_in() == 1
    _apply()
    assert Sighting.objects.get().count == 5


def test_a_flood_of_one_mac_moves_the_state_and_fills_no_history(tmp_path):
    device = factories.make_device()
    log = Journal(tmp_path, "door1")
    for _ in range(200):
        log.append(_query(device.mac, device))

    JournalCollector(tmp_path, kept=KEPT).hand_in()
    _apply()

    device.refresh_from_db()
    assert device.state == "custom_pending"
    assert len(_history(device.mac)) == device.told == 60
    assert device.untold == 400 - 60


def test_where_only_certified_phones_are_believed_others_move_nothing(tmp_path):
    device = factories.make_device(profile=factories.make_profile(unproven_evidence="record_all"))
    log = Journal(tmp_path, "door1")
    log.append(_query(device.mac, device))
    log.append(_query(device.mac, device, identity="certificate"))

    JournalCollector(tmp_path, kept=KEPT).hand_in()
    _apply()

    assert _history(device.mac) == [
        ("asked", "open", "unproven"),
        ("answered", "open", "unproven"),
        ("asked", "pending", ""),
        ("answered", "custom_pending", ""),
    ]
