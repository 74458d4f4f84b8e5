"""Rounds of the relay under awkward circumstances: each has lost or disordered lines once."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from django.db import connections
from django.utils import timezone

from onboarding.models import Device, Sighting, StateChange
from redirect import changefeed, journal, observing, publishing
from redirect.journal import Journal
from redirect.models import Journal as JournalRow
from redirect.models import RegistryChange
from redirect.publishing import JournalCollector
from tests import factories

pytestmark = pytest.mark.usefixtures("registry")

KEPT = timedelta(hours=24)


@pytest.fixture(autouse=True)
def no_settling(monkeypatch):
    """Lines are taken as soon as they are written: the tests wait for nothing."""
    monkeypatch.setattr(publishing, "SETTLE_NANOSECONDS", 0)


def _members(mac: str, device: Device | None = None) -> str:
    line = {
        "event": "query", "mac": mac, "model": "CP-8841-3PCC", "serial": "", "firmware": "", "from": "192.0.2.1",
        "outcome": "redirected" if device else "unknown_device", "device": device.pk if device else None,
        "organization": device.organization_id if device else None,
        "target": "https://cfg.example.net/" if device else "",
    }  # fmt: skip
    return json.dumps(line)[1:-1]


def _failed(mac: str) -> str:
    line = {
        "event": "report", "what": "resync_failed", "mac": mac, "model": "", "serial": "", "from": "192.0.2.1",
        "answered_at": int(datetime.now(UTC).timestamp()), "said": {},
    }  # fmt: skip
    return json.dumps(line)[1:-1]


def _left_behind(folder: Path, *members: str, boot: str | None = None, tail: bytes = b"") -> Path:
    """A journal whose writer is gone."""
    folder.mkdir(exist_ok=True)
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    lines = [f'{{"seq":{journal.sequence()},"at":"{at}",{text}}}\n'.encode() for text in members]
    started = int(datetime.now(UTC).timestamp() * 1e9)
    path = folder / f"door1,{boot or journal.boot_id()},{started},{len(list(folder.iterdir())):08x}.jsonl"
    path.write_bytes(b"".join(lines) + tail)
    return path


def _apply() -> None:
    observing.apply_waiting(at=timezone.now())


def test_a_worker_sees_a_round_whole_or_not_at_all(tmp_path, monkeypatch):
    device = factories.make_device(profile=factories.make_profile())
    one, two = Journal(tmp_path, "door1"), Journal(tmp_path, "door1")
    one.append(_members("00562B0F0001"))
    two.append(_members(device.mac, device))
    one.append(_failed(device.mac))
    collector = JournalCollector(tmp_path, kept=KEPT)
    send = collector._send

    def send_and_let_a_worker_in(chunk, round_id):
        sent = send(chunk, round_id)

        def work():
            try:
                _apply()
            finally:
                connections.close_all()

        worker = Thread(target=work, daemon=True)
        worker.start()
        worker.join(1)
        return sent

    monkeypatch.setattr(collector, "_send", send_and_let_a_worker_in)
    collector.hand_in()
    _apply()

    device.refresh_from_db()
    assert device.state == "custom_pending"
    assert not StateChange.objects.filter(refused="late").exists()


def test_a_torn_end_is_skipped_once_its_writer_is_gone(tmp_path):
    file = _left_behind(tmp_path, _members("00562B0F0002"), tail=b'{"seq":12345,"at":"2026')
    collector = JournalCollector(tmp_path, kept=timedelta(0))
    for _ in range(3):
        collector.hand_in()
        _apply()

    assert JournalRow.objects.get().torn == 1
    assert collector.delete_done(at=datetime.now(UTC).timestamp() + 99) == 1
    assert not file.exists()


def test_a_registry_restored_under_a_running_relay_is_handed_quiet_journals_too(tmp_path):
    device = factories.make_device(profile=factories.make_profile())
    Journal(tmp_path, "door1").append(_members(device.mac, device))
    collector = JournalCollector(tmp_path, kept=KEPT)
    collector.hand_in()
    _apply()

    JournalRow.objects.all().delete()
    StateChange.objects.all().delete()
    Device.objects.update(state="open", evidence_at=None, evidence_machine="", evidence_sequence=0, last_seen=None)
    collector.hand_in()
    _apply()

    assert Device.objects.get().state == "custom_pending"


def test_a_former_boot_is_not_held_up_by_a_busy_door(tmp_path):
    """Whatever the wall clock said then: it may have been set back over the reboot."""
    device = factories.make_device(profile=factories.make_profile())
    busy = Journal(tmp_path, "door1")
    busy.append(_members("00562B0F0003"))
    _left_behind(tmp_path, _members(device.mac, device), boot="0000beef")
    collector = JournalCollector(tmp_path, kept=KEPT)
    for _ in range(3):
        busy.append(_members("00562B0F0003"))
        collector.hand_in()
        _apply()

    device.refresh_from_db()
    assert device.state == "custom_pending"


def test_two_machines_that_share_a_folder_hold_up_neither(tmp_path):
    device = factories.make_device(profile=factories.make_profile())
    first, second = Journal(tmp_path, "door1"), Journal(tmp_path, "door2")
    second.append(_members(device.mac, device))
    collector = JournalCollector(tmp_path, kept=KEPT)
    for _ in range(3):
        first.append(_members("00562B0F0004"))
        collector.hand_in()
        _apply()

    device.refresh_from_db()
    assert device.state == "custom_pending"


def test_a_line_that_comes_while_a_journal_is_about_to_go_is_kept(tmp_path, monkeypatch):
    file = _left_behind(tmp_path, _members("00562B0F0006"))
    collector = JournalCollector(tmp_path, kept=timedelta(0))
    collector.hand_in()
    _apply()
    asked = publishing._writer_is_gone
    late = _left_behind(tmp_path / "aside", _members("00562B0F0007")).read_bytes()

    def ends_just_now(path):
        with path.open("ab") as writer:
            writer.write(late)
        return asked(path)

    monkeypatch.setattr(publishing, "_writer_is_gone", ends_just_now)
    collector.delete_done(at=datetime.now(UTC).timestamp() + 99)
    monkeypatch.undo()
    monkeypatch.setattr(publishing, "SETTLE_NANOSECONDS", 0)
    assert file.exists()
    collector.hand_in()
    _apply()

    assert Sighting.objects.filter(mac="00562B0F0007").exists()


def _old(**which: object) -> None:
    RegistryChange.objects.filter(**which).update(at=timezone.now() - changefeed.KEPT * 2)


def test_a_directory_built_from_an_empty_feed_notices_what_was_pruned(writer):
    RegistryChange.objects.all().delete()
    publishing.rebuild(writer)
    profile = factories.make_profile()
    for _ in range(3):
        factories.make_device(profile=profile)
    _old()
    changefeed.prune(before=timezone.now() - changefeed.KEPT)

    publishing.publish(writer)

    writer.close()
    assert publishing.differences(writer.folder) == []


def test_a_change_that_was_pruned_before_it_was_followed_is_noticed(writer):
    """As after a jump of the clock: a row is old by the clock, and younger than what was followed."""
    device = factories.make_device(profile=factories.make_profile())
    publishing.publish(writer)
    Device.objects.filter(pk=device.pk).update(model="CP-7841-3PCC")
    _old(pk=RegistryChange.objects.latest("id").pk)
    factories.make_device(profile=device.profile)
    changefeed.prune(before=timezone.now() - changefeed.KEPT)

    publishing.publish(writer)

    writer.close()
    assert publishing.differences(writer.folder) == []


def test_a_rebuild_that_fails_leaves_nothing(writer):
    factories.make_device()
    publishing.rebuild(writer)

    def broken():
        yield b"d000000", b"[]"
        raise RuntimeError("the registry went away")

    for _ in range(3):
        with pytest.raises(RuntimeError):
            writer.rebuild(broken(), {})

    assert len(list(writer.folder.glob("env-*"))) == 1
