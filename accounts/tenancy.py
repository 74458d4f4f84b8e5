"""The one tenancy filter: who may see which rows. API, admin, exports and searches all go through `visible_to`."""

from dataclasses import dataclass
from typing import Self

from django.db import models
from django.db.models import Q


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who looks: the organizations whose rows they may see, or everything (the operator).

    `limited` names further organizations of which they see the rows of some profiles only, as a mandate may say:
    pairs of an organization's id and its profiles' ids.
    """

    organization_ids: frozenset[int] = frozenset()
    sees_everything: bool = False
    limited: tuple[tuple[int, frozenset[int]], ...] = ()

    @property
    def profile_ids(self) -> frozenset[int] | None:
        """The profiles to which this viewer is limited somewhere; None where there is no such limit."""
        return frozenset().union(*(profiles for _, profiles in self.limited)) if self.limited else None

    def sees(self, organization_id: int, profile_id: int | None) -> bool:
        """Whether a row of this organization and profile is visible; the same rule as `visible_to`."""
        if self.sees_everything or organization_id in self.organization_ids:
            return True
        return any(organization_id == owner and profile_id in profiles for owner, profiles in self.limited)


class TenantQuerySet(models.QuerySet):  # type: ignore[type-arg]  # generic in stubs only
    """A QuerySet of rows that belong to an organization."""

    # Which column names the organization, and which the profile. Rows without a profile are hidden from those who are
    # limited to some.
    organization_column = "organization_id"
    profile_column = ""

    def visible_to(self, viewer: Viewer) -> Self:
        """The rows that `viewer` may see."""
        if viewer.sees_everything:
            return self
        seen = Q(**{f"{self.organization_column}__in": viewer.organization_ids})
        if self.profile_column:
            for owner, profiles in viewer.limited:
                seen |= Q(**{self.organization_column: owner, f"{self.profile_column}__in": profiles})
        return self.filter(seen)


class ProfileQuerySet(TenantQuerySet):
    """A QuerySet of rows that belong to an organization's profile."""

    profile_column = "profile_id"
