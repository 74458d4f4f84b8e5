"""Who a person of the admin site is: the operator, or somebody with a role in organizations. No permission rows.

    operator (superuser)   everything
    admin                  devices, profiles, people and API keys of the organization
    staff                  devices and profiles; sees the history
    reader                 sees devices, profiles and history

A membership of a suspended organization gives nothing. People of a partner that holds mandates also work on what these
give: on the pages whose scope the mandate has, by their role at the partner, within the mandate's profiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest

from accounts import mandates
from accounts.actors import Actor
from accounts.models import Membership
from accounts.tenancy import Viewer

EVERYBODY = frozenset({"admin", "staff", "reader"})
STAFF = frozenset({"admin", "staff"})
ADMINS = frozenset({"admin"})
NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Entrusted:
    """What a mandate gives to a person of the partner: where, through whom, with which role there. No profiles: all."""

    organization_id: int
    partner_id: int
    role: str
    scopes: frozenset[str]
    profile_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Standing:
    """A person's place: operator or not, and the role in each organization that is not suspended."""

    is_operator: bool
    roles: Mapping[int, str] = field(default_factory=dict)
    entrusted: tuple[Entrusted, ...] = ()
    names: tuple[str, ...] = ()
    is_suspended: bool = False
    requires_second_factor: bool = False

    @property
    def may_enter(self) -> bool:
        """False for people of whom every organization is suspended."""
        return self.is_operator or bool(self.roles) or not self.is_suspended

    def viewer(self, roles: frozenset[str], scope: str = "") -> Viewer:
        """The viewer of the rows of those organizations in which this person has one of `roles`.

        With a scope, also of those that entrusted it to a partner where this person has such a role.
        """
        if self.is_operator:
            return Viewer(sees_everything=True)
        own = frozenset(organization for organization, role in self.roles.items() if role in roles)
        given = [part for part in self.entrusted if scope in part.scopes and part.role in roles]
        whole = own | {part.organization_id for part in given if not part.profile_ids}
        limited = [part for part in given if part.organization_id not in whole]
        return Viewer(whole, limited=tuple((part.organization_id, part.profile_ids) for part in limited))

    def holds(self, roles: frozenset[str], organization_id: int | None = None, scope: str = "") -> bool:
        """Whether this person has one of `roles`, in that organization or in any; with a scope, also by a mandate."""
        viewer = self.viewer(roles, scope)
        if self.is_operator or organization_id is None:
            return self.is_operator or bool(viewer.organization_ids or viewer.limited)
        return organization_id in viewer.organization_ids


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
        entrusted=_entrusted({row.organization_id: row.role for row in live if row.organization.kind == "partner"}),
        names=tuple(row.organization.name for row in live),
        is_suspended=bool(rows) and not live,
        requires_second_factor=any(row.organization.requires_second_factor for row in live),
    )


def _entrusted(roles: Mapping[int, str]) -> tuple[Entrusted, ...]:
    """What the partners in which a person has these roles may do for others."""
    held = mandates.held_by(roles) if roles else []
    return tuple(
        Entrusted(
            mandate.provider_id,
            mandate.partner_id,
            roles[mandate.partner_id],
            frozenset(mandate.scopes),
            frozenset(mandate.profile_ids),
        )
        for mandate in held
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
    """Who did it, for history and audit; with the partners through which they work on others' things."""
    address, request_id = getattr(request, "address", ""), getattr(request, "id", "")
    person = of(request)
    # Where they have a role of their own, they act for themselves.
    through = {part.organization_id: part.partner_id for part in person.entrusted}
    entrusted = sorted((provider, partner) for provider, partner in through.items() if provider not in person.roles)
    return Actor(
        "admin", request.user.get_username(), address=address, request_id=request_id, entrusted=tuple(entrusted)
    )
