"""The database itself refuses rows that cannot be, however they are written."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError

from accounts.models import Membership, Organization
from onboarding.models import Device, RedirectProfile, Sighting
from tests.factories import AT, make_device, make_organization, make_profile, make_user

pytestmark = pytest.mark.django_db

BAD_DEVICES = {
    "lower-case MAC": {"mac": "00562b043615"},
    "short MAC": {"mac": "00562B04361"},
    "empty MAC": {"mac": ""},
    "unknown state": {"state": "lost"},
    "empty state": {"state": ""},
    "state in the vendor's spelling": {"state": "Custom Pending"},
    "window that ends when it begins": {"valid_from": AT, "valid_until": AT},
    "window that ends before it begins": {"valid_from": AT, "valid_until": AT - timedelta(seconds=1)},
    "resets below zero": {"resets": -1},
    "no model": {"model": None},
    "no owner": {"organization_id": None},
    "an owner that is not there": {"organization_id": 10_000_000},
    "a profile that is not there": {"profile_id": 10_000_000},
}


@pytest.mark.parametrize("columns", BAD_DEVICES.values(), ids=BAD_DEVICES.keys())
def test_no_device_row_is_wrong(columns):
    device = make_device()

    def write():
        with transaction.atomic():
            Device.objects.filter(pk=device.pk).update(**columns)
            # References are checked at the end of a transaction only.
            connection.check_constraints()

    with pytest.raises(IntegrityError):
        write()


def test_a_mac_has_one_owner_in_the_whole_service():
    device = make_device()

    with pytest.raises(IntegrityError), transaction.atomic():
        Device.objects.create(
            organization=make_organization(), mac=device.mac, model="X1", claimed_at=AT, changed_at=AT, state_since=AT
        )


@pytest.mark.parametrize(
    "columns",
    [
        {"confirm": "maybe"},
        {"unproven_evidence": "believe"},
        {"identity": ""},
        {"stalled_after_minutes": 0},
        {"name": None},
    ],
)
def test_no_profile_row_is_wrong(columns):
    profile = make_profile()

    with pytest.raises(IntegrityError), transaction.atomic():
        RedirectProfile.objects.filter(pk=profile.pk).update(**columns)


def test_a_profiles_name_is_given_once_in_an_organization_and_freely_in_another():
    profile = make_profile(name="Main")
    make_profile(name="Main")

    with pytest.raises(IntegrityError), transaction.atomic():
        make_profile(name="Main", organization=profile.organization)


def test_a_sighting_is_kept_once_for_each_mac():
    Sighting.objects.create(mac="00562B043615", first_at=AT, last_at=AT)

    with pytest.raises(IntegrityError), transaction.atomic():
        Sighting.objects.create(mac="00562B043615", first_at=AT, last_at=AT)


def test_no_organization_or_membership_row_is_wrong():
    organization = make_organization()
    user = make_user(organization=organization)

    for attempt in (
        lambda: Organization.objects.filter(pk=organization.pk).update(kind="owner"),
        lambda: make_organization(name=organization.name),
        lambda: Membership.objects.update(role="god"),
        lambda: Membership.objects.create(user=user, organization=organization),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            attempt()


def test_an_organization_with_devices_or_history_is_not_deleted():
    device = make_device()
    organization = device.organization

    with pytest.raises(ProtectedError):
        organization.delete()
    Device.objects.all().delete()
    with pytest.raises(ProtectedError):
        organization.delete()
