"""Actor: who did something, on whose behalf and from where, as history and audit tell it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """`source` is the way in (`api`, `admin`, `command`); `name` is a key's prefix, a user's name or a command's.

    `organization_id` is the actor's own organization, where it acts for another one under a mandate. A person may act
    for several, each through another partner: `entrusted` are pairs of a provider's id and the partner's. `address`
    and `request_id` are those of the request, if there was one.
    """

    source: str
    name: str
    organization_id: int | None = None
    address: str = ""
    request_id: str = ""
    entrusted: tuple[tuple[int, int], ...] = ()

    def through(self, organization_id: int | None) -> int | None:
        """The organization through which this actor acts on things of that one; None where it acts for itself."""
        if self.entrusted:
            return next((partner for provider, partner in self.entrusted if provider == organization_id), None)
        return self.organization_id if self.organization_id != organization_id else None

    @property
    def is_somebody(self) -> bool:
        """Whether a person, a partner's key or an operator's command did it, and not a phone or the service itself."""
        return self.source in {"api", "admin", "command"}
