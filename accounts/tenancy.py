"""The one tenancy filter: who may see which rows. API, admin, exports and searches all go through `visible_to`."""

from dataclasses import dataclass
from typing import Self

from django.db import models


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who looks: the organizations whose rows they may see, or everything (the operator)."""

    organization_ids: frozenset[int] = frozenset()
    sees_everything: bool = False


class TenantQuerySet(models.QuerySet):  # type: ignore[type-arg]  # generic in stubs only
    """A QuerySet of rows that belong to an organization."""

    # Which column names the organization.
    organization_column = "organization_id"

    def visible_to(self, viewer: Viewer) -> Self:
        """The rows that `viewer` may see."""
        if viewer.sees_everything:
            return self
        return self.filter(**{f"{self.organization_column}__in": viewer.organization_ids})
