"""The service under faults, with real processes: the door answers, and every observation is in the history once."""

import http.client
import random
import threading
import time
from collections import Counter

import pytest
from django.db import connection, connections
from django.utils import timezone

from onboarding import registry as verbs
from onboarding.models import Device, Sighting, StateChange, UnsettledObservation
from tests import factories, postgresql
from tests.service import Service, all_applied, running, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

_URL = b"https://cfg.example.net/$MA.xml"


def _asked() -> Counter[str]:
    """How often each phone's query stands in the history, or was counted as a sighting."""
    counts = Counter(StateChange.objects.filter(event="asked").values_list("mac", flat=True))
    counts.update(dict(Sighting.objects.values_list("mac", "count")))
    return counts


class _Phones:
    """Threads that ask without pause, each its own MACs, and count what they were answered."""

    def __init__(self, service: Service, macs: list[str], *, known: set[str], queries: int, threads: int = 4) -> None:
        self._service, self._macs, self._known = service, macs, known
        self._left = queries
        self._lock = threading.Lock()
        self.answered: Counter[str] = Counter()
        self.unsure: Counter[str] = Counter()
        self.wrong: list[tuple[str, int, bytes]] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> "_Phones":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    @property
    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _run(self, number: int) -> None:
        rng = random.Random(number)
        while True:
            with self._lock:
                if self._left <= 0:
                    return
                self._left -= 1
            mac = rng.choice(self._macs[number :: len(self._threads)])
            try:
                status, body = self._service.ask(mac)
            except (OSError, http.client.HTTPException):
                # The door was killed under the query: it may or may not have been written down.
                self.unsure[mac] += 1
                time.sleep(0.02)
                continue
            self.answered[mac] += 1
            if status != 200 or (_URL in body) != (mac in self._known):
                self.wrong.append((mac, status, body))


def _register(count: int) -> tuple[list[str], set[str]]:
    """Some phones that are registered, and as many that are not."""
    profile = factories.make_profile(targets=[_URL.decode()])
    known = [factories.make_device(profile=profile).mac for _ in range(count)]
    unknown = [f"00563A{number:06X}" for number in range(count)]
    macs = [mac for pair in zip(known, unknown, strict=True) for mac in pair]
    return macs, set(known)


def test_processes_killed_at_random_lose_and_double_nothing(data_dir):
    # So many that none asks more often in an hour than is written down of one.
    macs, known = _register(500)
    rng = random.Random(7)
    with running(data_dir, "relay", "worker", "door") as service:
        kills: Counter[str] = Counter()
        with _Phones(service, macs, known=known, queries=10_000) as phones:
            while phones.busy:
                time.sleep(rng.uniform(0.3, 1.2))
                name = rng.choice(["relay", "worker", "door"])
                service.kill(name)
                kills[name] += 1
                if name == "door":
                    # What every machine does at boot: nobody answers for a moment.
                    time.sleep(0.1)
                service.start(name)
        assert phones.wrong == []
        assert min(kills.values()) >= 1, kills
        wait_until(lambda: all_applied(service), seconds=90, what="applying everything")

    asked = _asked()
    for mac in macs:
        assert phones.answered[mac] <= asked[mac] <= phones.answered[mac] + phones.unsure[mac], mac
    assert sum(phones.answered.values()) + sum(phones.unsure.values()) == 10_000
    _check_history(known)


def _check_history(known: set[str]) -> None:
    """Each phone's rows follow from each other, one query's two rows stand together, and end at its state."""
    for device in Device.objects.filter(mac__in=known):
        rows = list(StateChange.objects.filter(device=device).exclude(event="claimed").order_by("id"))
        state = "open"
        for row in rows:
            assert row.before == state, (device.mac, row.pk)
            state = row.after
        assert state == device.state
        applied = [row for row in rows if not row.refused]
        assert [row.at for row in applied] == sorted(row.at for row in applied)


def test_two_relays_and_two_workers_are_as_good_as_one(data_dir):
    macs, known = _register(50)
    with running(data_dir, "relay", "relay2", "worker", "worker2", "door") as service:
        with _Phones(service, macs, known=known, queries=1_500) as phones:
            time.sleep(0.5)
            # The one that stood by takes over.
            service.kill("relay")
        wait_until(lambda: all_applied(service), seconds=60, what="applying everything")
        released = Device.objects.get(mac=min(known))
        verbs.release(actor=factories.ACTOR, device=released, at=timezone.now())
        wait_until(lambda: service.ask(released.mac)[1] == b"", seconds=20, what="the release at the door")

    assert phones.wrong == []
    asked = _asked()
    # The released phone was asked about beyond what the threads counted.
    others = phones.answered.keys() - {released.mac}
    assert {mac: asked[mac] for mac in others} == {mac: phones.answered[mac] for mac in others}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a database that can be stopped")
@pytest.mark.any_database
def test_the_door_answers_while_the_database_is_stopped(data_dir):
    from django.core.management import call_command

    with postgresql.running(options=("synchronous_commit=on",)) as server:
        original = connections["default"].settings_dict.copy()
        connections["default"].close()
        connections["default"].settings_dict |= {
            "HOST": "127.0.0.1", "PORT": str(server.port), "USER": "onboarding", "NAME": "postgres", "PASSWORD": "",
        }  # fmt: skip
        try:
            call_command("migrate", verbosity=0)
            macs, known = _register(60)
            with running(data_dir, "relay", "worker", "door", database_url=server.url()) as service:
                with _Phones(service, macs, known=known, queries=300, threads=2) as before:
                    pass
                connections["default"].close()
                server.stop("immediate")
                with _Phones(service, macs, known=known, queries=600, threads=2) as during:
                    pass
                assert not during.unsure
                server.start()
                with _Phones(service, macs, known=known, queries=300, threads=2) as after:
                    pass
                wait_until(lambda: all_applied(service), seconds=60, what="applying everything")
            assert before.wrong + during.wrong + after.wrong == []
            assert dict(_asked()) == dict(before.answered + during.answered + after.answered)
            _check_history(known)
        finally:
            connections["default"].close()
            connections["default"].settings_dict.update(original)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="restoring is tested with PostgreSQL's own copies")
def test_an_older_backup_restored_under_a_running_door_makes_the_directory_right(data_dir):
    """The backup is a copy of the whole database; the restored one takes the place of the present one."""
    name = connection.settings_dict["NAME"]
    profile = factories.make_profile(targets=[_URL.decode()])
    early = factories.make_device(profile=profile).mac
    with running(data_dir, "relay", "worker", "door") as service:
        assert _URL in wait_until(lambda: service.ask(early)[1], what="the first phone's answer")
        wait_until(lambda: all_applied(service), what="applying")
        service.kill("relay")
        service.kill("worker")
        queries_before = len(service.journal_lines())
        _as_superuser(f'CREATE DATABASE backup TEMPLATE "{name}"', close=True)
        late = factories.make_device(profile=profile).mac
        service.start("relay")
        service.start("worker")
        wait_until(lambda: _URL in service.ask(late)[1], what="the later phone's answer")
        for _ in range(5):
            service.ask(early)
        wait_until(lambda: all_applied(service), what="applying")
        for running_name in ("relay", "worker"):
            service.kill(running_name)
        _as_superuser(f'ALTER DATABASE "{name}" RENAME TO lost', close=True)
        _as_superuser(f'ALTER DATABASE backup RENAME TO "{name}"')
        _as_superuser("DROP DATABASE lost WITH (FORCE)")
        assert _URL in service.ask(late)[1]

        service.start("relay")
        service.start("worker")
        wait_until(lambda: service.ask(late)[1] == b"", what="forgetting the later phone")
        wait_until(lambda: all_applied(service), what="applying again")

        assert _URL in service.ask(early)[1]
        wait_until(lambda: all_applied(service), what="applying")
        assert service.manage("verify_directory").returncode == 0
        lines = Counter(line["mac"] for line in service.journal_lines() if line["event"] == "query")
        assert queries_before < sum(lines.values())
        # The later phone is nobody's now, but what was seen of it came back with the journals.
        assert StateChange.objects.filter(mac=early, event="asked").count() == lines[early]
        assert _asked()[late] == lines[late]


def _as_superuser(statement: str, *, close: bool = False) -> None:
    if close:
        connection.close()
    other = connection.copy()
    other.settings_dict = {**other.settings_dict, "NAME": "template1"}
    with other.cursor() as cursor:
        if close:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname NOT IN ('template1') "
                "AND datname IS NOT NULL"
            )
        cursor.execute(statement)
    other.close()


def test_a_damaged_directory_is_answered_with_503_and_rebuilt(data_dir):
    _macs, known = _register(300)
    mac = min(known)
    with running(data_dir, "relay", "door") as service:
        wait_until(lambda: service.ask(mac)[1], what="the answer")
        service.kill("relay")
        data = (data_dir / "directory" / "current" / "data.mdb").resolve()
        with data.open("r+b") as file:
            file.truncate(8192)

        statuses = {status for status in (_status(service, mac) for _ in range(20)) if status}
        assert statuses <= {503}
        wait_until(lambda: _status(service, mac) == 503, what="the refusal")

        service.start("relay")
        wait_until(lambda: _status(service, mac) == 200, what="the rebuilt directory")
        assert _URL in service.ask(mac)[1]


def _status(service: Service, mac: str) -> int:
    try:
        return service.ask(mac)[0]
    except (OSError, http.client.HTTPException):
        return 0


def test_rebuilding_under_running_doors_gives_no_wrong_answer(data_dir):
    macs, known = _register(100)
    with running(data_dir, "relay", "door") as service:
        wait_until(lambda: service.ask(min(known))[1], what="the answer")
        with _Phones(service, macs, known=known, queries=2_000) as phones:
            while phones.busy:
                done = service.manage("rebuild_directory")
                assert done.returncode == 0, done.stderr
        assert phones.wrong == []
        assert not phones.unsure
        assert service.manage("verify_directory").returncode == 0


def test_nothing_waits_to_settle_for_ever(data_dir):
    """An illegal event that stays illegal ends in the history as refused."""
    device = factories.make_device(profile=factories.make_profile())
    from datetime import timedelta

    from onboarding import customization
    from onboarding.observations import Clock, Observation
    from onboarding.states import SETTLING_TIME, Event

    at = timezone.now() + timedelta(seconds=1)
    observation = Observation(Event.ACQUIRED, Clock(at), "callback")
    customization.record(customization.Evidence(device.mac, observation), at=at)
    assert UnsettledObservation.objects.count() == 1

    customization.settle(at=at + SETTLING_TIME)

    assert not UnsettledObservation.objects.exists()
    assert StateChange.objects.filter(device=device, event="acquired", refused="illegal").count() == 1
