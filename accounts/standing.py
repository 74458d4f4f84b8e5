"""Who a person of the admin site is: the operator, or somebody with a role in organizations. No permission rows.

    operator (superuser)   everything
    admin                  devices, profiles, people and API keys of the organization
    staff                  devices and profiles; sees the history
    reader                 sees devices, profiles and history

A membership of a suspended organization gives nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest

from accounts.actors import Actor
from accounts.models import Membership
from accounts.tenancy import Viewer

EVERYBODY = frozenset({"admin", "staff", "reader"})
STAFF = frozenset({"admin", "staff"})
ADMINS = frozenset({"admin"})
NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Standing:
    """A person's place: operator or not, and the role in each organization that is not suspended."""

    is_operator: bool
    roles: Mapping[int, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    is_suspended: bool = False
    requires_second_factor: bool = False

    @property
    def may_enter(self) -> bool:
        """False for people of whom every organization is suspended."""
        return self.is_operator or bool(self.roles) or not self.is_suspended

    def viewer(self, roles: frozenset[str]) -> Viewer:
        """The viewer of the rows of those organizations in which this person has one of `roles`."""
        if self.is_operator:
            return Viewer(sees_everything=True)
        return Viewer(frozenset(organization for organization, role in self.roles.items() if role in roles))

    def holds(self, roles: frozenset[str], organization_id: int | None = None) -> bool:
        """Whether this person has one of `roles`, in that organization or in any."""
        if self.is_operator:
            return True
        if organization_id is None:
            return any(role in roles for role in self.roles.values())
        return self.roles.get(organization_id) in roles


def of_user(user: Any) -> Standing:
    """Read a person's standing from the database."""
    if not user.is_authenticated or not user.is_active:
        return Standing(is_operator=False)
    if user.is_superuser:
        return Standing(is_operator=True)
    rows = list(Membership.objects.filter(user=user).select_related("organization").order_by("organization__name"))
    live = [row for row in rows if row.organization.suspended_at is None]
    return Standing(
        is_operator=False,
        roles={row.organization_id: row.role for row in live},
        names=tuple(row.organization.name for row in live),
        is_suspended=bool(rows) and not live,
        requires_second_factor=any(row.organization.requires_second_factor for row in live),
    )


def of(request: HttpRequest) -> Standing:
    """The standing of the person behind a request, read once a request."""
    kept: tuple[Any, Standing] | None = getattr(request, "standing", None)
    if kept is None or kept[0] != request.user.pk:
        # Keyed by the person: signing in changes who the request is from.
        kept = (request.user.pk, of_user(request.user))
        request.standing = kept  # type: ignore[attr-defined]
    return kept[1]


def actor_of(request: HttpRequest) -> Actor:
    """Who did it, for the history."""
    address, request_id = getattr(request, "address", ""), getattr(request, "id", "")
    return Actor("admin", request.user.get_username(), address=address, request_id=request_id)
