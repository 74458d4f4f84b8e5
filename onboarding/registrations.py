"""Registrations from the database's rows: what a door may know of a phone.

The relay writes these values into the directory, and the explain calls decide on them, so both see the same.
"""

from django.db.models import QuerySet

from onboarding import health
from onboarding.identifiers import MacAddress
from onboarding.models import Device, RedirectProfile
from onboarding.registration import Profile, Registration


def profile(row: RedirectProfile) -> Profile:
    """The door's profile of a row."""
    return Profile(
        id=row.pk,
        organization_id=row.organization_id,
        enabled=row.enabled,
        targets=tuple(health.in_order(row.targets, row.failing_targets)),
        # PostgreSQL keeps the names of a JSON object in an order of its own.
        parameters=tuple(sorted(row.parameters.items())),
        confirm=row.confirm,
        identity=row.identity,
        match_model=row.match_model,
        accepts_expired=row.accepts_expired_certificates,
    )


def from_rows(device: Device, profile: Profile | None, *, organization_suspended: bool) -> Registration:
    """The door's registration of a device's row; `profile` is the value of the profile that it refers to."""
    return Registration(
        device_id=device.pk,
        organization_id=device.organization_id,
        organization_suspended=organization_suspended,
        model=device.model,
        serial=device.serial,
        target=device.target,
        valid_from=device.valid_from.timestamp() if device.valid_from else None,
        valid_until=device.valid_until.timestamp() if device.valid_until else None,
        profile=profile,
    )


def for_mac(mac: MacAddress, *, among: "QuerySet[Device] | None" = None) -> Registration | None:
    """The registration of this phone as it is now, or None where `among` (by default: all devices) has none.

    As in the directory, only proven devices count.
    """
    devices = Device.objects.all() if among is None else among
    row = devices.select_related("profile", "organization").filter(mac=str(mac), proven=True).first()
    if row is None:
        return None
    return from_rows(
        row,
        profile(row.profile) if row.profile else None,
        organization_suspended=row.organization.suspended_at is not None,
    )
