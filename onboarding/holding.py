"""One's own device, held until the transaction ends: what every change of one begins with, in one statement."""

from functools import cache

from django.db import connection

from accounts import rows, statements
from accounts.statements import Statement
from accounts.tenancy import Viewer
from onboarding.identifiers import MacAddress
from onboarding.models import Device, RedirectProfile

_STATEMENT = """
    SELECT {columns} FROM onboarding_device
    LEFT JOIN onboarding_redirectprofile ON onboarding_redirectprofile.id = onboarding_device.profile_id
    WHERE onboarding_device.mac = %s AND onboarding_device.organization_id = ANY(%s)
    FOR UPDATE OF onboarding_device
"""


def hold(mac: MacAddress, viewer: Viewer) -> Device | None:
    """The device with its profile, locked as it is read; None where the viewer sees none with this MAC."""
    if connection.vendor != "postgresql" or viewer.sees_everything:
        found = Device.objects.visible_to(viewer).select_related("profile").select_for_update(of=("self",))
        # Without an order, which takes longer to say than to do: there is one at most.
        return next(iter(found.filter(mac=str(mac))), None)
    # Rows of strangers are not locked, not for a moment.
    reachable = [*viewer.organization_ids, *(owner for owner, _ in viewer.limited)]
    for row in statements.read(_statement(), [str(mac), reachable]):
        values = iter(row)
        device, profile = rows.read(Device, values), rows.read(RedirectProfile, values)
        if device is not None and viewer.sees(device.organization_id, device.profile_id):
            device.profile = profile
            return device
    return None


@cache
def _statement() -> Statement:
    columns = f"{rows.columns(Device)}, {rows.columns(RedirectProfile)}"
    return Statement.of(_STATEMENT.format(columns=columns), ("text", "bigint[]"))
