"""No change is missed: the database writes the feed itself, whatever the way in."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.db.utils import DatabaseError
from django.utils import timezone

from accounts.models import Organization
from onboarding import registry as verbs
from onboarding.models import Device, RedirectProfile, ShortCode
from redirect import changefeed
from redirect.models import RegistryChange, RegistryEpoch
from tests import factories

pytestmark = pytest.mark.usefixtures("registry")


def _keys_of(change: Callable[[], Any]) -> set[tuple[str, str]]:
    """(kind, key) of the feed rows that `change` leaves."""
    latest = RegistryChange.objects.order_by("-id").values_list("pk", flat=True).first() or 0
    change()
    return set(RegistryChange.objects.filter(pk__gt=latest).values_list("kind", "key"))


def _raw(sql: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


DOOR_COLUMNS = {
    "model": "CP-7841-3PCC",
    "serial": "FCH2133A0B9",
    "target": "https://other.example.net/",
    "profile_id": None,
    "valid_from": timezone.now(),
    "valid_until": timezone.now(),
    "proven": False,
}


def test_claiming_and_releasing_a_device_leave_its_key():
    organization = factories.make_organization()

    assert _keys_of(lambda: factories.make_device(organization=organization, mac="00562B043615")) == {
        ("d", "00562B043615")
    }
    device = Device.objects.get()
    assert _keys_of(lambda: verbs.release(actor=factories.ACTOR, device=device, at=timezone.now())) == {
        ("d", "00562B043615")
    }


@pytest.mark.parametrize("column", DOOR_COLUMNS)
def test_every_column_that_the_door_uses_leaves_the_key(column):
    device = factories.make_device(profile=factories.make_profile())

    assert _keys_of(lambda: Device.objects.filter(pk=device.pk).update(**{column: DOOR_COLUMNS[column]})) == {
        ("d", device.mac)
    }


@pytest.mark.parametrize("column", ["label", "state", "last_seen", "revision", "stalled_at", "changed_at"])
def test_a_column_that_the_door_does_not_use_leaves_nothing(column):
    device = factories.make_device()
    value: object = {"label": "x", "state": "pending", "revision": 7}.get(column, timezone.now())

    assert _keys_of(lambda: Device.objects.filter(pk=device.pk).update(**{column: value})) == set()


def test_writing_the_same_value_again_leaves_nothing():
    device = factories.make_device()

    assert _keys_of(lambda: Device.objects.filter(pk=device.pk).update(model=device.model)) == set()


def test_another_mac_leaves_both_keys():
    device = factories.make_device(mac="00562B043615")

    assert _keys_of(lambda: Device.objects.filter(pk=device.pk).update(mac="00562B043616")) == {
        ("d", "00562B043615"),
        ("d", "00562B043616"),
    }


def test_bulk_writes_and_raw_sql_leave_every_key():
    organization = factories.make_organization()
    macs = [f"00562B0436{n:02X}" for n in range(20)]
    devices = [
        Device(
            organization=organization, mac=mac, model="CP-8841-3PCC", claimed_at=timezone.now(),
            changed_at=timezone.now(), state_since=timezone.now(),
        )
        for mac in macs
    ]  # fmt: skip
    all_keys = {("d", mac) for mac in macs}

    assert _keys_of(lambda: Device.objects.bulk_create(devices)) == all_keys
    assert _keys_of(lambda: Device.objects.update(serial="FCH2133A0B9")) == all_keys
    assert _keys_of(lambda: _raw("UPDATE onboarding_device SET target = 'https://a.example/'")) == all_keys
    assert _keys_of(lambda: _raw("DELETE FROM onboarding_device WHERE mac = %s", macs[0])) == {("d", macs[0])}
    assert _keys_of(lambda: Device.objects.all().delete()) == all_keys - {("d", macs[0])}


def test_profiles_and_suspensions_leave_their_keys():
    profile = factories.make_profile()
    profiles = RedirectProfile.objects.filter(pk=profile.pk)
    organization = Organization.objects.filter(pk=profile.organization_id)

    assert _keys_of(lambda: profiles.update(targets=["https://b.example/"])) == {("p", str(profile.pk))}
    assert _keys_of(lambda: profiles.update(parameters={"A": "b"})) == {("p", str(profile.pk))}
    assert _keys_of(lambda: profiles.update(enabled=False)) == {("p", str(profile.pk))}
    assert _keys_of(lambda: profiles.update(name="another")) == set()
    assert _keys_of(lambda: organization.update(suspended_at=timezone.now())) == {("o", str(organization.get().pk))}
    assert _keys_of(lambda: organization.update(name="another")) == set()


def test_short_codes_leave_their_digits():
    profile = factories.make_profile()

    def enable():
        factories.make_short_code(profile=profile, code="123456")

    assert _keys_of(enable) == {("s", "123456")}
    row = ShortCode.objects.filter(code="123456")
    for change in (
        {"valid_until": timezone.now()},
        {"is_full": True},
        {"profile": factories.make_profile(organization=profile.organization)},
        {"disabled_at": timezone.now()},
    ):
        assert _keys_of(lambda change=change: row.update(**change)) == {("s", "123456")}
    assert _keys_of(lambda: row.update(devices=7, last_used_at=timezone.now())) == set()
    assert _keys_of(lambda: row.update(code="654321")) == {("s", "123456"), ("s", "654321")}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="REPLACE is SQLite's")
def test_replacing_a_row_leaves_the_key_of_the_row_that_went():
    device = factories.make_device(mac="00562B043615")
    columns = ", ".join(f.column for f in Device._meta.concrete_fields if f.column != "mac")

    keys = _keys_of(
        lambda: _raw(
            f"REPLACE INTO onboarding_device (mac, {columns}) SELECT '00562B043616', {columns} "
            "FROM onboarding_device WHERE id = %s",
            device.pk,
        )
    )

    assert keys == {("d", "00562B043615"), ("d", "00562B043616")}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no TRUNCATE")
@pytest.mark.parametrize(
    "table", ["onboarding_device", "onboarding_redirectprofile", "onboarding_shortcode", "accounts_organization"]
)
def test_truncate_is_refused(table):
    factories.make_device()
    _raw("SET onboarding.truncate = ''")
    try:
        with pytest.raises(DatabaseError, match="TRUNCATE"):
            _raw(f"TRUNCATE {table} CASCADE")
    finally:
        _raw("SET onboarding.truncate = 'allowed'")
    assert Device.objects.exists()


def test_a_migration_that_rebuilds_the_device_table_leaves_the_feed_whole():
    organization = factories.make_organization()
    epoch = RegistryEpoch.objects.get().epoch
    wider = models.CharField(max_length=200, blank=True, default="")
    wider.set_attributes_from_name("label")
    wider.model = Device
    # On SQLite this copies the table and drops the old one, triggers and all.
    with connection.schema_editor() as editor:
        editor.alter_field(Device, Device._meta.get_field("label"), wider, strict=True)
    lost = changefeed.missing()
    if connection.vendor == "sqlite":
        assert [name for name in lost if "onboarding_device" in name]

    call_command("migrate", verbosity=0)

    assert changefeed.missing() == []
    # What changed while the triggers were away is found by the rebuild that a new epoch makes.
    assert (RegistryEpoch.objects.get().epoch != epoch) == bool(lost)
    assert _keys_of(lambda: factories.make_device(organization=organization, mac="00562B043615")) == {
        ("d", "00562B043615")
    }
    with connection.schema_editor() as editor:
        editor.alter_field(Device, wider, Device._meta.get_field("label"), strict=True)
    changefeed.install()


@pytest.mark.parametrize(
    "damage",
    {
        "postgresql": [
            "DROP TRIGGER change_feed_onboarding_device_insert ON onboarding_device",
            "ALTER TABLE onboarding_device DISABLE TRIGGER change_feed_onboarding_device_update",
            "ALTER TABLE onboarding_device ENABLE REPLICA TRIGGER change_feed_onboarding_device_delete",
            "COMMENT ON TRIGGER change_feed_onboarding_device_delete ON onboarding_device IS 'of an older version'",
        ],
        "sqlite": ["DROP TRIGGER change_feed_onboarding_device_insert"],
    }[connection.vendor],
)
def test_a_damaged_feed_is_found_and_mended_with_a_new_epoch(damage):
    epoch = RegistryEpoch.objects.get().epoch
    _raw(damage)
    assert len(changefeed.missing()) == 1

    assert changefeed.install()

    assert changefeed.missing() == []
    assert RegistryEpoch.objects.get().epoch != epoch
    assert not changefeed.install()


def test_pruning_keeps_the_newest_row():
    for _ in range(3):
        factories.make_device()
    newest = RegistryChange.objects.order_by("-id").first()

    changefeed.prune(before=timezone.now() + changefeed.KEPT)

    assert list(RegistryChange.objects.all()) == [newest]
