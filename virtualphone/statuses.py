"""What an HTTP status makes the phone do. Source: the seed, "HTTP Status Code Handling on Resync and Upgrade".

- A: success; the periodic resync decides when to ask next.
- B: file not found or corrupt profile; Resync_Error_Retry_Delay decides.
- C: any other failure, a connection error too; Resync_Error_Retry_Delay decides.
- 301, 302: the request is repeated at once at the new location.
- 401, 407: the request is repeated at once with credentials, at most twice; then class C.
"""

from enum import StrEnum

# The table has no number for redirects; this stops two servers that point at each other.
MAX_REDIRECTS = 5
MAX_CREDENTIAL_RETRIES = 2


class Reaction(StrEnum):
    """The phone's behavior. The values of the three classes are the seed's letters."""

    SUCCESS = "A"
    NOT_FOUND = "B"
    FAILURE = "C"
    MOVED = "moved"
    CHALLENGED = "challenged"


_REACTIONS = {
    200: Reaction.SUCCESS,
    301: Reaction.MOVED,
    302: Reaction.MOVED,
    401: Reaction.CHALLENGED,
    404: Reaction.NOT_FOUND,
    407: Reaction.CHALLENGED,
}


def reaction(status: int) -> Reaction:
    """The row of the table; everything that it does not name is class C."""
    return _REACTIONS.get(status, Reaction.FAILURE)
