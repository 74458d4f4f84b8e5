"""The certificate that a phone showed to the proxy, as the proxy hands it on in a header.

    Client-Cert               :BASE64:               RFC 9440: the certificate (DER) as a structured field's octets
    X-Client-Cert-Escaped     -----BEGIN%20CERT…     nginx's $ssl_client_escaped_cert: PEM, percent-encoded

An empty header means that none was shown. A server without a proxy's care joins a header that comes twice by a comma,
so what is not exactly one certificate is refused, and so is one in each of the two. (It also takes `Client_Cert` for
`Client-Cert`, and the later one wins: that cannot be seen here, so the proxy must drop names with an underscore, as
nginx does by itself.)
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from onboarding.errors import OnboardingError
from trust import certificates
from trust.certificates import UnreadableCertificate

CLIENT_CERT = "HTTP_CLIENT_CERT"
ESCAPED = "HTTP_X_CLIENT_CERT_ESCAPED"

# Base64 takes a third more; percent-encoding of its lines somewhat more than that.
MAX_HEADER_LENGTH = 2 * certificates.MAX_OCTETS

# What nginx leaves of PEM; a space or a comma is escaped.
_ESCAPED_PEM = re.compile(r"[A-Za-z0-9+/=%.~_-]+")


class RefusedHeader(OnboardingError):
    """The proxy's header does not hold exactly one certificate."""

    code = "refused_certificate_header"
    remedy = (
        "Let the proxy set Client-Cert or X-Client-Cert-Escaped itself, one of them, and drop what the client sends."
    )


def certificate_of(environ: Mapping[str, Any]) -> bytes | None:
    """The certificate (DER) in the headers of a WSGI request; None where none was shown. Raises RefusedHeader.

    Whether the sender of these headers is to be believed is not asked here.
    """
    plain, escaped = environ.get(CLIENT_CERT, ""), environ.get(ESCAPED, "")
    if plain and escaped:
        raise RefusedHeader("There are two certificates.")
    text = plain or escaped
    if not text:
        return None
    if len(text) > MAX_HEADER_LENGTH:
        raise RefusedHeader("The certificate is too long.")
    try:
        if plain:
            octets = plain.strip(" ")
            # What is not base64 is refused below, and so is a second colon, a comma or a parameter between these.
            if len(octets) < 3 or octets[0] != ":" or octets[-1] != ":":
                raise RefusedHeader("Client-Cert holds no structured field of octets.")
            return certificates.decode_base64(octets[1:-1])
        if not _ESCAPED_PEM.fullmatch(escaped):
            raise RefusedHeader("X-Client-Cert-Escaped holds no escaped PEM.")
        return certificates.decode_pem(unquote(escaped, errors="strict"))
    except (UnreadableCertificate, UnicodeDecodeError) as error:
        raise RefusedHeader("The header holds no certificate.") from error
