"""Actor: who did something, on whose behalf and from where, as history and audit tell it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """`source` is the way in (`api`, `admin`, `command`); `name` is a key's prefix, a user's name or a command's.

    `organization_id` is the actor's own organization, where it acts for another one under a mandate. `address` and
    `request_id` are those of the request, if there was one.
    """

    source: str
    name: str
    organization_id: int | None = None
    address: str = ""
    request_id: str = ""

    @property
    def is_somebody(self) -> bool:
        """Whether a person, a partner's key or an operator's command did it, and not a phone or the service itself."""
        return self.source in {"api", "admin", "command"}
