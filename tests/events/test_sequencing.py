"""The sequencer: every change becomes its events once, however late or oddly its transaction ends."""

import random
from datetime import timedelta

import pytest
from django.db import connection, transaction

from accounts.models import Organization
from activation import redemption
from events import kinds, sequencing
from events.kinds import HIDDEN, Change
from events.models import Event, Sequencer
from onboarding import customization, registry
from onboarding.answers import Links
from onboarding.customization import Evidence
from onboarding.models import StateChange
from onboarding.observations import Clock, Observation
from onboarding.states import Event as Seen
from tests.activation.factories import VAULT, make_code
from tests.factories import ACTOR, AT, OWN, make_device, make_fields, make_mac, make_organization, make_profile
from tests.races import at_once

SECOND = timedelta(seconds=1)
postgresql_only = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="SQLite has one writer at a time: nothing is committed late"
)


def told(organization: Organization) -> list[tuple[str, str]]:
    rows = Event.objects.filter(organization=organization).order_by("position")
    return [(row.type, row.data["mac"]) for row in rows]


def see(device, *events):
    for number, event in enumerate(events):
        observation = Observation(Seen(event), Clock(AT + number * SECOND, "a", number), "door", {"model": "X"})
        customization.record(Evidence(device.mac, observation, device.pk, device.organization_id), at=AT)


# What makes an event


@pytest.mark.django_db
def test_a_phones_life_is_told_in_order():
    organization = make_organization()
    device = make_device(organization=organization)
    registry.change(actor=ACTOR, device=device, values=make_fields(label="Hall"), own=OWN, at=AT)
    see(device, "asked", "answered", "acquired")
    registry.release(actor=ACTOR, device=device, at=AT)

    assert sequencing.run(at=AT) == 6
    assert [type_ for type_, _ in told(organization)] == [
        "device.claimed", "device.changed", "device.state_changed", "device.state_changed", "device.state_changed",
        "device.released",
    ]  # fmt: skip
    moves = [row.data for row in Event.objects.filter(type="device.state_changed").order_by("position")]
    assert [(data["before"], data["after"]) for data in moves] == [
        ("open", "pending"),
        ("pending", "custom_pending"),
        ("custom_pending", "acquired"),
    ]
    assert sequencing.run(at=AT) == 0


@pytest.mark.django_db
def test_what_moved_nothing_or_was_refused_is_no_event():
    device = make_device()
    see(device, "asked", "asked", "resync_failed")
    StateChange.objects.create(
        device_id=device.pk, organization=device.organization, mac=device.mac, at=AT, recorded_at=AT, event="released",
        before="open", after="open", refused="late", source="door",
    )  # fmt: skip
    assert sequencing.run(at=AT) == 2
    assert [type_ for type_, _ in told(device.organization)] == ["device.claimed", "device.state_changed"]


@pytest.mark.django_db
def test_an_event_says_which_phone_and_what_is_known_of_it():
    profile = make_profile()
    device = make_device(profile=profile)
    sequencing.run(at=AT)
    data = Event.objects.get().data
    assert (data["mac"], data["model"], data["profile"]) == (device.mac, "CP-8841-3PCC", profile.pk)
    assert (data["source"], data["evidence"]["by"]) == ("api", ACTOR.name)


@pytest.mark.parametrize(
    "target",
    [
        "[--uid phone --pwd s3cret] https://cfg.example.net/$MA.xml",
        "https://cfg.example.net/$MA.xml?token=s3cret",
        "https://phone:s3cret@cfg.example.net/$MA.xml",
    ],
)
def test_no_password_of_a_rule_leaves_with_an_event(target):
    evidence = {"by": "Anna", "target": target, "before": {"target": target}, "after": {"target": "https://a.example/"}}
    change = Change(1, 1, 1, "00562B043615", AT, "changed", "open", "open", False, "", "api", evidence)
    (event,) = kinds.happenings(change, {})
    assert "s3cret" not in str(event.data)
    assert event.data["evidence"]["before"] == {"target": HIDDEN}
    assert event.data["evidence"]["after"] == {"target": "https://a.example/"}


def test_a_redeemed_code_is_told_beside_the_move():
    row = (1, 1, 1, "00562B043615", AT, "answered", "pending", "custom_pending", False, "", "activation")
    moved, redeemed = kinds.happenings(Change(*row, {"code": 7}), {})
    assert (moved.type, redeemed.type) == ("device.state_changed", "code.redeemed")
    assert redeemed.data == {"code": 7, "mac": "00562B043615"}


@pytest.mark.django_db
def test_a_code_typed_on_a_phone_is_told_once_also_when_the_phone_asks_again():
    row, code = make_code()
    mac = make_mac()
    for _ in range(2):
        redemption.redeem(
            code=code, mac=mac, model="CP-8841-3PCC", serial="", firmware="12.0.1", source="192.0.2.7", at=AT,
            vault=VAULT, links=lambda: Links("", ""),
        )  # fmt: skip
    sequencing.run(at=AT)
    (redeemed,) = Event.objects.filter(type="code.redeemed")
    assert (redeemed.data["code"], redeemed.data["mac"]) == (row.pk, str(mac))


# Nothing twice, nothing lost


@pytest.mark.django_db
def test_a_sequencer_that_dies_before_it_commits_has_done_nothing():
    device = make_device()
    with transaction.atomic():
        assert sequencing.sequence(at=AT) == (1, 1)
        transaction.set_rollback(True)
    assert not Event.objects.exists()
    assert sequencing.sequence(at=AT) == (1, 1)
    assert told(device.organization) == [("device.claimed", device.mac)]


@pytest.mark.django_db
def test_batches_of_any_size_give_the_same_events():
    organization = make_organization()
    macs = [make_device(organization=organization).mac for _ in range(7)]
    while sequencing.sequence(at=AT, limit=3)[0]:
        pass
    assert told(organization) == [("device.claimed", mac) for mac in macs]
    assert list(Event.objects.order_by("position").values_list("position", flat=True)) == list(range(1, 8))


@pytest.mark.django_db(transaction=True)
def test_many_sequencers_at_once_give_each_event_once():
    organization = make_organization()
    for _ in range(30):
        make_device(organization=organization)
    outcomes = at_once(*[lambda: sequencing.run(at=AT)] * 4)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    sequencing.run(at=AT)
    assert Event.objects.count() == 30


# Ids that are committed late: PostgreSQL


_INSERT = """
    INSERT INTO onboarding_statechange
        (device_id, organization_id, mac, at, recorded_at, event, before, after, inferred, refused, source, evidence)
    VALUES (0, %s, %s, now(), now(), 'asked', 'open', 'pending', false, '', 'door', '{}')
"""


class Writer:
    """A connection of its own, whose transaction ends when it is told to."""

    def __init__(self, organization):
        self.organization = organization
        self.macs: list[str] = []
        self._wrapper = connection.copy()
        self._wrapper.set_autocommit(False)

    def run(self, statement, *values):
        with self._wrapper.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone()[0] if cursor.description else None

    def insert(self) -> str:
        mac = str(make_mac())
        self.run(_INSERT, self.organization.pk, mac)
        self.macs.append(mac)
        return mac

    def commit(self):
        self._wrapper.commit()

    def rollback(self):
        self._wrapper.rollback()

    def close(self):
        self._wrapper.close()


@pytest.fixture
def writers():
    made: list[Writer] = []

    def make(organization):
        made.append(Writer(organization))
        return made[-1]

    yield make
    for writer in made:
        writer.close()


def macs_told(organization):
    return [mac for _, mac in told(organization)]


@postgresql_only
@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_committed_late_is_told_late_and_holds_up_nobody(writers):
    organization = make_organization()
    slow, quick = writers(organization), writers(organization)
    first, second = slow.insert(), quick.insert()
    quick.commit()
    sequencing.run(at=AT)
    assert macs_told(organization) == [second]
    for _ in range(3):
        sequencing.run(at=AT)
    slow.commit()
    sequencing.run(at=AT)
    assert macs_told(organization) == [second, first]
    assert Sequencer.objects.get().gaps == []


@postgresql_only
@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_rolled_back_is_waited_for_no_longer_than_its_transaction(writers):
    organization = make_organization()
    doomed, quick = writers(organization), writers(organization)
    doomed.insert()
    quick.insert()
    quick.commit()
    sequencing.run(at=AT)
    assert len(Sequencer.objects.get().gaps) == 1
    doomed.rollback()
    sequencing.run(at=AT)
    assert Sequencer.objects.get().gaps == []
    assert macs_told(organization) == quick.macs


@postgresql_only
@pytest.mark.django_db(transaction=True)
def test_an_id_taken_before_its_transaction_has_a_number_is_waited_for(writers):
    """COPY takes ids for a thousand rows before it writes one, and only a write gives a transaction its number."""
    organization = make_organization()
    early, quick = writers(organization), writers(organization)
    for _ in range(40):
        # The sequence writes itself down for 32 numbers at once: take one that costs no write.
        quick.insert()
        early.run("LOCK TABLE onboarding_statechange IN ROW EXCLUSIVE MODE")
        number = early.run("SELECT nextval(pg_get_serial_sequence('onboarding_statechange', 'id'))")
        if early.run("SELECT pg_current_xact_id_if_assigned()::text") is None:
            break
        early.rollback()
    else:
        pytest.fail("the sequence gave no number without a write")
    quick.insert()
    quick.commit()
    sequencing.run(at=AT)
    assert macs_told(organization) == quick.macs
    for _ in range(3):
        # Transactions come and go meanwhile: by their numbers, nobody older is left.
        quick.insert()
        quick.commit()
        sequencing.run(at=AT)
    mac = str(make_mac())
    early.run(_INSERT.replace("(device_id", "(id, device_id").replace("(0,", f"({number}, 0,"), organization.pk, mac)
    early.commit()
    sequencing.run(at=AT)
    assert macs_told(organization) == [*quick.macs, mac]


@postgresql_only
@pytest.mark.django_db(transaction=True)
def test_a_large_late_transaction_is_read_in_bounded_batches(writers):
    organization = make_organization()
    slow, quick = writers(organization), writers(organization)
    late = [slow.insert() for _ in range(25)]
    second = quick.insert()
    quick.commit()
    sequencing.sequence(at=AT, limit=10)
    slow.commit()
    read = [sequencing.sequence(at=AT, limit=10)[0] for _ in range(4)]
    assert read == [10, 10, 5, 0]
    assert macs_told(organization) == [second, *late]
    assert Sequencer.objects.get().gaps == []


@postgresql_only
@pytest.mark.django_db(transaction=True)
def test_gaps_noted_in_another_cluster_do_not_stall_a_restored_registry(writers):
    organization = make_organization()
    doomed, quick = writers(organization), writers(organization)
    doomed.insert()
    quick.insert()
    quick.commit()
    doomed.rollback()
    sequencing.run(at=AT)
    place = Sequencer.objects.get()
    Sequencer.objects.update(gaps=[[1, place.read_to - 1, ["31/4711", "77/123456789"]]])
    quick.insert()
    quick.commit()
    sequencing.run(at=AT)
    assert Sequencer.objects.get().gaps == []
    assert macs_told(organization) == quick.macs


@postgresql_only
@pytest.mark.django_db(transaction=True)
def test_no_more_gaps_are_remembered_than_there_is_room_for(writers, monkeypatch):
    monkeypatch.setattr(sequencing, "MOST_GAPS", 3)
    organization = make_organization()
    slow, quick = writers(organization), writers(organization)
    late = []
    for _ in range(10):
        late.append(slow.insert())
        quick.insert()
        quick.commit()
    for _ in range(5):
        sequencing.run(at=AT)
        assert len(Sequencer.objects.get().gaps) <= 3
    slow.commit()
    while sequencing.run(at=AT):
        pass
    assert sorted(macs_told(organization)) == sorted(late + quick.macs)


@postgresql_only
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(3))
def test_whatever_order_transactions_end_in_every_committed_row_is_told_once(writers, seed):
    chance = random.Random(seed)
    organization = make_organization()
    open_writers = [writers(organization) for _ in range(5)]
    committed: list[str] = []
    for _ in range(300):
        writer = chance.choice(open_writers)
        turn = chance.random()
        if turn < 0.6:
            writer.insert()
        elif turn < 0.8:
            writer.commit()
            committed += writer.macs
            writer.macs = []
        elif turn < 0.9:
            writer.rollback()
            writer.macs = []
        else:
            sequencing.sequence(at=AT, limit=chance.choice([1, 3, 1000]))
    for writer in open_writers:
        writer.commit()
        committed += writer.macs
    while sequencing.sequence(at=AT)[0]:
        pass
    assert sorted(macs_told(organization)) == sorted(committed)
    sequencing.sequence(at=AT)
    assert Sequencer.objects.get().gaps == []
