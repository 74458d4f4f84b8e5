"""Whether whoever started an operation may still have it done: a worker asks before each part.

An operation outlives the request that started it by minutes. What stops a key, a person, an organization or a mandate
stops their operations too; what was done until then stays, and can be reverted.
"""

from accounts import mandates, standing
from accounts.models import ApiKey, Organization, User
from operations.models import Operation

_SCOPE = "devices:write"


def why_stopped(operation: Operation) -> str:
    """What stands against going on, as a sentence for the owner; empty where nothing does."""
    if Organization.objects.filter(pk=operation.organization_id).exclude(suspended_at=None).exists():
        return "The organization is suspended."
    if operation.source == "api":
        return _of_key(operation)
    if operation.source == "admin" and not _of_person(operation):
        return f"{operation.by}, who started it, may not change these devices any more."
    return ""


def _of_key(operation: Operation) -> str:
    key = ApiKey.objects.filter(prefix=operation.by).select_related("organization").first()
    # One that has expired was replaced in good order, and what it began is finished.
    if key is not None and (key.revoked_at or key.suspended_at or key.organization.suspended_at):
        return f"The API key {operation.by}, which started it, was stopped."
    if operation.through_id in (None, operation.organization_id):
        return ""
    mandate = mandates.find(partner_id=operation.through_id, provider_id=operation.organization_id)
    if mandate is None or _SCOPE not in mandate.scopes or mandate.profile_ids:
        return "The mandate under which it was started has ended."
    return ""


def _of_person(operation: Operation) -> bool:
    person = User.objects.filter(username=operation.by).first()
    return person is not None and standing.of_user(person).holds(standing.STAFF, operation.organization_id, _SCOPE)
