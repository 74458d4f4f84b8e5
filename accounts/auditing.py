"""The audit: who changed what, on whose behalf, from where. Written in the transaction of the change, by its verb.

Rows are only appended. Their place in the organization's chain is given by a job afterwards, so that writers never
wait for each other.
"""

from collections.abc import Mapping
from datetime import datetime

from accounts.actors import Actor
from accounts.models import AuditEntry


def record(
    actor: Actor,
    *,
    organization_id: int | None,
    action: str,
    subject: str,
    at: datetime,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Leave an entry with the organization whose thing was changed; None for what belongs to the operator alone.

    `action` is `thing.happened`, as `key.revoked`; `subject` names the thing for people, as `API key Import (ab12…)`.
    `before` and `after` hold JSON values of what changed, never a secret.
    """
    AuditEntry.objects.create(
        organization_id=organization_id,
        at=at,
        source=actor.source,
        name=actor.name[:160],
        through_id=actor.organization_id,
        address=actor.address,
        request_id=actor.request_id[:64],
        action=action,
        subject=subject[:200],
        before=dict(before or {}),
        after=dict(after or {}),
    )
