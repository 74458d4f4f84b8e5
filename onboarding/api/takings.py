"""That a device is another organization's is told on purpose; how often, is limited for each organization, and audited.

Once the quota is used up, nothing is said of any device that is not the caller's own: a refusal of the taken ones alone
would tell the same.
"""

from collections.abc import Sequence
from datetime import datetime

from accounts import auditing, views
from accounts.actors import Actor
from accounts.models import Organization
from accounts.quotas import TooManyRequests

# So many MACs of one request stand in its audit entry.
_MOST_NAMED = 20


def check(organization: Organization) -> None:
    """Refuse to say anything of foreign devices while the quota is used up. Raises TooManyRequests."""
    standing = views.counts().look(views.TAKEN, str(organization.pk))
    if standing.is_used_up:
        raise TooManyRequests(
            f"This organization has asked for {standing.limit.most} devices of others within an hour.",
            standing=standing,
            remedy="Repeat the request after the seconds in Retry-After. Your own devices can be changed meanwhile.",
        )


def note(macs: Sequence[str], *, actor: Actor, organization: Organization, at: datetime) -> None:
    """Count and audit that the organization was told of these devices that they are taken."""
    views.counts().spend(views.TAKEN, str(organization.pk), len(macs))
    one = len(macs) == 1
    auditing.record(
        actor,
        organization_id=organization.pk,
        action="device.taken_refused",
        subject=f"Device {macs[0]}" if one else f"{len(macs)} devices",
        at=at,
        after={} if one else {"macs": list(macs[:_MOST_NAMED])},
    )
