"""The customization state, as the phone itself keeps it. Source: the seed, "Remote Customization (RC) Distribution".

- Open: out of the box, or after a factory reset.
- Pending: it has asked the EDOS server whose it is.
- Custom Pending: the server named the provider's profile rule; the profile is not here yet.
- Acquired: the provider's profile was downloaded. The server is never asked again.
- Unavailable: the server knows no provider for this phone. It asks again at its next start.
- Aborted: DHCP or a person provisioned the phone first. The server is not asked until a factory reset.
"""

from enum import StrEnum


class State(StrEnum):
    """Where the phone stands."""

    OPEN = "open"
    PENDING = "pending"
    CUSTOM_PENDING = "custom_pending"
    ACQUIRED = "acquired"
    UNAVAILABLE = "unavailable"
    ABORTED = "aborted"

    @property
    def label(self) -> str:
        """As the phone's own screen prints it: "Custom Pending"."""
        return self.value.replace("_", " ").title()

    @property
    def is_provisioned(self) -> bool:
        """The phone knows its provisioning server and does not ask the EDOS server any more."""
        return self in {State.ACQUIRED, State.ABORTED}
