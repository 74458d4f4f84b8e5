"""Phones that must wait because wrong codes were typed on them, shown to those who may help, and let go by one click.

Only a phone's own limit can be lifted. Those of a network and of the whole service stay, so lifting makes guessing no
cheaper than they allow; and they let few enough attempts through for the closed buckets to be read whole.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import transaction

from accounts import auditing
from accounts.actors import Actor
from accounts.models import Bucket
from accounts.tenancy import Viewer
from activation.limits import PHONE
from activation.models import OPEN, IssuedCode
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress
from onboarding.models import Device

logger = logging.getLogger(__name__)

MOST_SHOWN = 1000


class NotLockedOut(OnboardingError):
    """No limit of this phone is closed, or it is not one that the person may help."""

    code = "not_found"
    remedy = "Compare the MAC with the phone's label. A limit of the network or of the whole service opens by itself."


@dataclass(frozen=True, slots=True)
class LockedOut:
    """A phone at a source network, and when it may try again."""

    mac: MacAddress
    network: str
    opens_at: datetime


def shown_to(viewer: Viewer, *, at: datetime) -> list[LockedOut]:
    """The locked-out phones that belong to the viewer, or that a code of theirs was made for; latest first."""
    found = _closed(Bucket.objects.filter(key__startswith=f"{PHONE.name}:"), at=at)
    if viewer.sees_everything:
        return found
    macs = [str(phone.mac) for phone in found]
    own = set(Device.objects.visible_to(viewer).filter(mac__in=macs).values_list("mac", flat=True))
    own |= set(IssuedCode.objects.visible_to(viewer).filter(OPEN, mac__in=macs).values_list("mac", flat=True))
    return [phone for phone in found if str(phone.mac) in own]


def of(mac: MacAddress, viewer: Viewer, *, at: datetime) -> list[LockedOut]:
    """Where this phone is locked out: told of the viewer's own phones, and of those that belong to nobody yet."""
    owned = Device.objects.filter(mac=str(mac))
    if owned.exists() and not Device.objects.visible_to(viewer).filter(mac=str(mac)).exists():
        return []
    return _closed(Bucket.objects.filter(key__startswith=f"{PHONE.name}:{mac}@"), at=at)


@transaction.atomic
def lift(*, actor: Actor, mac: MacAddress, viewer: Viewer, at: datetime) -> int:
    """Let a phone try again, wherever it is; gives in how many networks it was locked out. Raises NotLockedOut."""
    closed = of(mac, viewer, at=at)
    if not closed:
        raise NotLockedOut(f"{mac.colons} is not locked out.", field="mac")
    owner = Device.objects.filter(mac=str(mac)).values_list("organization_id", flat=True).first()
    auditing.record(
        actor, organization_id=owner or _own(viewer), action="lockout.lifted", subject=f"phone {mac.colons}", at=at,
        before={"networks": [phone.network for phone in closed]}, thing=f"device:{mac}",
    )  # fmt: skip
    Bucket.objects.filter(key__in=[f"{PHONE.name}:{phone.mac}@{phone.network}" for phone in closed]).delete()
    logger.info("%s let %s try activation codes again", actor.name, mac)
    return len(closed)


def _own(viewer: Viewer) -> int | None:
    """Whose audit tells of a phone that belongs to nobody: the viewer's own organization, or else the operator's."""
    return min(viewer.organization_ids) if len(viewer.organization_ids) == 1 else None


def _closed(buckets: object, *, at: datetime) -> list[LockedOut]:
    moment = at.timestamp()
    rows: Sequence[tuple[str, float]] = list(
        buckets.filter(arrival__gt=moment + PHONE.seconds * (PHONE.burst - 1))  # type: ignore[attr-defined]
        .order_by("-arrival")
        .values_list("key", "arrival")[:MOST_SHOWN]
    )
    found = []
    for key, arrival in rows:
        mac, _, network = key.removeprefix(f"{PHONE.name}:").partition("@")
        found.append(LockedOut(MacAddress.parse(mac), network, datetime.fromtimestamp(PHONE.opens_at(arrival), tz=UTC)))
    return found
