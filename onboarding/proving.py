"""Which certificate did the phone behind a request show? For the door and for the activation endpoint alike.

A header is believed only from a trusted proxy, or on a Unix socket, which nobody but our own proxy can open (servers
then give an empty peer address). From anybody else it is ignored, as any header that nobody asked for.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from onboarding import sources
from onboarding.sources import Network
from trust import headers
from trust.identity import Shown
from trust.verifying import Authorities, Memory


class Prover:
    """Reads, checks and remembers certificates for one process and all its threads."""

    def __init__(self, authorities: Callable[[], Authorities], *, trusted_proxies: Iterable[Network]) -> None:
        self._authorities = authorities
        self._trusted_proxies = tuple(trusted_proxies)
        self._memory = Memory()

    @property
    def verifications(self) -> int:
        """How many certificates were really checked, and not remembered."""
        return self._memory.verifications

    def shown(self, environ: Mapping[str, Any], *, at: float) -> Shown | None:
        """The certificate of a WSGI request and the verdict on it; None where none was shown, or nobody believes it.

        Raises `headers.RefusedHeader`, and what reading the authorities raises.
        """
        # Most requests have none: nothing else is done for them.
        if headers.CLIENT_CERT not in environ and headers.ESCAPED not in environ:
            return None
        if not sources.is_trusted(environ.get("REMOTE_ADDR"), self._trusted_proxies):
            return None
        certificate = headers.certificate_of(environ)
        return None if certificate is None else self._memory.verify(certificate, self._authorities(), at=at)
