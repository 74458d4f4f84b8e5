"""Registry to directory: whatever changes, in whatever order it commits, the directory becomes as the registry is."""

import random
import threading
from contextlib import closing, suppress

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Organization
from onboarding import registry as verbs
from onboarding.models import Device, RedirectProfile, ShortCode
from onboarding.shortcodes import ShortCodeTaken
from redirect import changefeed, publishing, registryfeed
from redirect.directory import Directory, DirectoryWriter
from redirect.models import RegistryChange
from tests import factories

pytestmark = pytest.mark.usefixtures("registry")

only_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")


def _differences(writer: DirectoryWriter) -> list[publishing.Difference]:
    writer.close()
    return publishing.differences(writer.folder)


def _change_something(rng: random.Random, organizations: list[Organization], profiles: list[RedirectProfile]) -> None:
    devices = list(Device.objects.all())
    device = rng.choice(devices) if devices else None
    match rng.randrange(12):
        case 0 | 1:
            factories.make_device(organization=(o := rng.choice(organizations)), label=o.name)
        case 2 if device:
            verbs.release(actor=factories.ACTOR, device=device, at=timezone.now())
        case 3 if device:
            Device.objects.filter(pk=device.pk).update(profile=rng.choice(profiles))
        case 4 if device:
            Device.objects.filter(pk=device.pk).update(mac=str(factories.make_mac()), valid_until=timezone.now())
        case 5:
            Organization.objects.filter(pk=rng.choice(organizations).pk).update(
                suspended_at=rng.choice([None, timezone.now()])
            )
        case 6:
            targets = [f"https://{rng.randrange(9)}.example.net/$MA.xml" for _ in range(3)]
            RedirectProfile.objects.filter(pk=rng.choice(profiles).pk).update(
                targets=targets, failing_targets=targets[: rng.randrange(4)], enabled=rng.random() < 0.5
            )
        case 7:
            Device.objects.filter(model__gt="").update(serial=f"FCH{rng.randrange(10**8):08}")
        case 8:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM onboarding_device WHERE serial LIKE '%%7'")
        case 9 if device:
            Device.objects.filter(pk=device.pk).update(proven=rng.random() < 0.5)
        case 10:
            with suppress(ShortCodeTaken):
                factories.make_short_code(profile=rng.choice(profiles), code=f"{rng.randrange(100, 110)}")
        case 11:
            rows = ShortCode.objects.filter(code=f"{rng.randrange(100, 110)}", disabled_at=None)
            moment = rng.choice([None, timezone.now()])
            rows.update(**{rng.choice(["valid_until", "disabled_at"]): moment, "is_full": rng.random() < 0.3})


@pytest.mark.parametrize("seed", range(6))
def test_the_directory_follows_any_changes(writer, seed):
    rng = random.Random(seed)
    organizations = [factories.make_organization() for _ in range(3)]
    profiles = [factories.make_profile(organization=organization) for organization in organizations]

    for _ in range(40):
        for _ in range(rng.randrange(4)):
            _change_something(rng, organizations, profiles)
        if rng.random() < 0.3:
            # A relay that was killed: the next one goes on from the cursor in the directory.
            writer.close()
        publishing.publish(writer)
        assert _differences(writer) == []


def test_a_relay_that_dies_between_its_steps_loses_nothing(writer, monkeypatch):
    organization = factories.make_organization()
    publishing.publish(writer)
    for _ in range(12):
        factories.make_device(organization=organization)
    Device.objects.first().delete()
    monkeypatch.setattr(registryfeed, "CHUNK_KEYS", 5)
    whole_apply = DirectoryWriter.apply

    for step in range(6):

        def apply(self, puts, deletes, cursor, *, _left=[step]):  # noqa: B006  (the list is the counter)
            if _left[0] == 0:
                raise KeyboardInterrupt
            _left[0] -= 1
            whole_apply(self, puts, deletes, cursor)

        monkeypatch.setattr(DirectoryWriter, "apply", apply)
        try:
            publishing.publish(writer)
        except KeyboardInterrupt:
            writer.close()

    assert _differences(writer) == []


@only_postgresql
def test_transactions_that_commit_in_the_other_order_both_reach_the_directory(writer):
    organization = factories.make_organization()
    first, second = (factories.make_device(organization=organization) for _ in range(2))
    publishing.publish(writer)
    with closing(connection.copy()) as one, closing(connection.copy()) as two:
        for other, device in ((one, first), (two, second)):
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute("UPDATE onboarding_device SET serial = 'LATE00001' WHERE id = %s", [device.pk])

        two.commit()
        publishing.publish(writer)
        assert _serials(writer, first, second) == ["", "LATE00001"]
        assert _differences(writer) == []

        one.commit()
        publishing.publish(writer)

    assert _serials(writer, first, second) == ["LATE00001", "LATE00001"]
    assert _differences(writer) == []


@only_postgresql
@pytest.mark.parametrize("place", ["this database", "another database"])
def test_a_transaction_left_open_holds_up_nobody_else(writer, place):
    organization = factories.make_organization()
    device = factories.make_device(organization=organization)
    idle = factories.make_device(organization=organization)
    publishing.publish(writer)
    other = connection.copy()
    if place == "another database":
        other.settings_dict = {**other.settings_dict, "NAME": "postgres"}
    with closing(other):
        other.set_autocommit(False)
        with other.cursor() as cursor:
            if place == "this database":
                cursor.execute("UPDATE onboarding_device SET serial = 'OPEN000001' WHERE id = %s", [idle.pk])
            else:
                cursor.execute("CREATE TABLE left_open (id int)")

        for number in range(5):
            Device.objects.filter(pk=device.pk).update(serial=f"SEEN00000{number}")
            # Exactly the new change each time: what was followed is not read again while the other stays open.
            assert publishing.publish(writer) == 1
            assert _serials(writer, device) == [f"SEEN00000{number}"]

        other.rollback()
    assert publishing.publish(writer) == 0
    assert _differences(writer) == []


def _serials(writer: DirectoryWriter, *devices: Device) -> list[str]:
    writer.close()
    directory = Directory(writer.folder)
    return [directory.find(bytes.fromhex(device.mac))[0].serial for device in devices]


def test_an_unproven_device_is_not_in_the_directory(writer):
    device = factories.make_device(profile=factories.make_profile())
    publishing.publish(writer)
    for proven in (False, True):
        Device.objects.filter(pk=device.pk).update(proven=proven)
        publishing.publish(writer)
        writer.close()
        assert Directory(writer.folder).find(bytes.fromhex(device.mac))[1] is proven
    publishing.rebuild(writer)
    Device.objects.update(proven=False)
    publishing.rebuild(writer)
    writer.close()
    assert not Directory(writer.folder).find(bytes.fromhex(device.mac))[1]


@pytest.mark.parametrize("at_once", [True, False], ids=["rebuilt", "followed"])
def test_only_working_short_codes_are_in_the_directory(writer, at_once):
    publishing.publish(writer)
    profile = factories.make_profile()
    ends = timezone.now().replace(microsecond=250_000)
    codes = {name: factories.make_short_code(profile=profile, code=name, valid_until=ends) for name in ("123", "456")}
    ShortCode.objects.filter(pk=factories.make_short_code(profile=profile, code="789").pk).update(is_full=True)
    ShortCode.objects.filter(pk=codes["456"].pk).update(disabled_at=timezone.now())
    publishing.rebuild(writer) if at_once else publishing.publish(writer)

    writer.close()
    directory = Directory(writer.folder)
    found = {name: directory.find_code(name, bytes(6), "") for name in ("123", "456", "789", "000")}
    assert {name: known for name, (_, known, _) in found.items()} == {
        "123": True, "456": False, "789": False, "000": False,
    }  # fmt: skip
    registration = found["123"][0]
    assert (registration.organization_id, registration.valid_until) == (profile.organization_id, ends.timestamp())
    assert registration.profile is not None
    assert registration.profile.id == profile.pk


def test_a_new_epoch_rebuilds(writer):
    factories.make_device()
    publishing.publish(writer)
    with connection.cursor() as cursor:
        # Unnoticed by the feed, as while its triggers were away.
        for name in ("onboarding_device_insert", "onboarding_device_update", "onboarding_device_delete"):
            on = " ON onboarding_device" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER change_feed_{name}{on}")
    Device.objects.update(serial="HIDDEN0001")
    publishing.publish(writer)
    assert [difference.kind for difference in _differences(writer)] == ["stale"]

    changefeed.install()
    publishing.publish(writer)

    assert _differences(writer) == []


def test_a_feed_pruned_beyond_the_cursor_rebuilds(writer):
    device = factories.make_device()
    publishing.publish(writer)
    Device.objects.filter(pk=device.pk).update(serial="PRUNED0001")
    Device.objects.filter(pk=device.pk).update(serial="PRUNED0002")
    RegistryChange.objects.order_by("-id").filter(pk__lt=RegistryChange.objects.latest("id").pk).delete()

    publishing.publish(writer)

    assert _differences(writer) == []


def test_a_registry_with_another_past_rebuilds(writer):
    """As after a restore that gave the same ids to other changes."""
    device = factories.make_device()
    publishing.publish(writer)
    latest = RegistryChange.objects.latest("id")
    RegistryChange.objects.filter(pk=latest.pk).update(stamp=latest.stamp ^ 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    Device.objects.filter(pk=device.pk).update(serial="OTHER00001")
    RegistryChange.objects.filter(pk__gt=latest.pk).delete()

    publishing.publish(writer)

    assert _differences(writer) == []


def test_verifying_names_every_kind_of_difference(writer):
    kept, gone = factories.make_device(), factories.make_device()
    publishing.publish(writer)
    surplus = bytes.fromhex("00AAAAAAAAAA")
    writer.apply(
        [(b"d" + surplus, b'[1,1,0,"X","","",null,null]'), (b"d" + bytes.fromhex(kept.mac), b"[]")],
        [b"d" + bytes.fromhex(gone.mac)],
        None,
    )

    assert {(d.kind, d.key[1:].hex().upper()) for d in _differences(writer)} == {
        ("stale", kept.mac),
        ("missing", gone.mac),
        ("surplus", "00AAAAAAAAAA"),
    }


def test_only_one_relay_writes(writer):
    with publishing.sole_writer(writer.folder):
        refused = threading.Event()

        def second() -> None:
            try:
                with publishing.sole_writer(writer.folder):
                    pass
            except publishing.RelayRuns:
                refused.set()

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert refused.is_set()
    with publishing.sole_writer(writer.folder):
        pass
