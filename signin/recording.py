"""What the audit says about people: an entry with each organization they belong to, or with the operator."""

from collections.abc import Mapping
from datetime import datetime

from accounts import auditing
from accounts.actors import Actor
from accounts.models import Membership, User


def record(
    actor: Actor,
    person: User,
    action: str,
    *,
    at: datetime,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Leave the entries; `action` as `person.signed_in`."""
    memberships = Membership.objects.filter(user=person).order_by("organization_id")
    homes: list[int | None] = list(memberships.values_list("organization_id", flat=True)[:100])
    for organization_id in homes or [None]:
        auditing.record(
            actor,
            organization_id=organization_id,
            action=action,
            subject=f"user {person.get_username()}",
            at=at,
            before=before,
            after=after,
        )
