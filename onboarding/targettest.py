"""One test of one target, from this server: name, connection, TLS, and what the server says to the example phone.

Sends what a phone would send first: a GET (a read request by TFTP) for the file of the example phone, without
credentials. Of a rule with conditions its last alternative is tested, the one for phones that meet no condition.
301 and 302 are followed as phones do. Where to connect is decided by `outbound`; each step has the test's one deadline.
"""

import re
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin

from cryptography import x509

from onboarding import examplephone, health, outbound
from onboarding.errors import OnboardingError
from onboarding.health import Reading
from onboarding.outbound import Address, AddressNotAllowed, InvalidUrl, Place, Rules, Unreachable
from onboarding.profilerule import Alternative, ProfileRule

TEST_SECONDS = 5.0
MOST_REDIRECTS = 5
_MOST_HEAD_OCTETS = 16 * 1024
_PORTS = {"http": 80, "https": 443, "tftp": 69, "": 69}

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r]")
_LOCATION = re.compile(rb"\r\nlocation:[ \t]*([^\r\n]*)", re.IGNORECASE)
_WEB_PAGE = re.compile(rb"\r\ncontent-type:[ \t]*text/html", re.IGNORECASE)

# OpenSSL's verification results (x509_vfy.h).
_VERIFICATION = {9: "certificate_not_yet_valid", 10: "certificate_expired"}
_WRONG_NAME = {62, 64}
# Alerts by which servers refuse a client that shows no certificate.
_WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "ALERT_HANDSHAKE_FAILURE", "ALERT_BAD_CERTIFICATE", "ALERT_UNKNOWN_CA")


class _Failed(Exception):
    """The test ended with this finding."""

    def __init__(self, finding: str) -> None:
        super().__init__(finding)
        self.finding = finding


@dataclass(slots=True)
class _Seen:
    """What was seen of the servers' certificates on the way."""

    findings: list[str]
    expires_at: datetime | None = None


def place_of(rule: ProfileRule) -> Place | None:
    """Where the example phone would go; None where that depends on the phone or its network."""
    alternative = _tested(rule)
    if alternative is None or alternative.scheme == "gds":
        return None
    host = examplephone.expand(alternative.server).lower().strip("[]").removesuffix(".")
    if not host or not re.fullmatch(r"[a-z0-9._:-]{1,253}", host):
        return None
    scheme = alternative.scheme or "tftp"
    # A port that is a macro was read as none.
    if f"{alternative.server}:$" in rule.text:
        return None
    path = examplephone.expand(alternative.path).partition("#")[0]
    return Place(scheme, host, alternative.port or _PORTS[scheme], path if path.startswith("/") else f"/{path}")


def _tested(rule: ProfileRule) -> Alternative | None:
    return next((a for a in reversed(rule.alternatives) if a.server or a.path or a.scheme), None)


def run(text: str, *, rules: Rules, trust: ssl.SSLContext, seconds: float = TEST_SECONDS) -> Reading:
    """Test one target. Takes `seconds` at most, and the resolver's own limit. Never raises.

    `trust` verifies servers' certificates and names.
    """
    try:
        rule = ProfileRule.parse(text)
    except OnboardingError:
        return Reading(("untestable",))
    place = place_of(rule)
    if place is None:
        return Reading(("depends_on_phone",))
    tested = _tested(rule)
    options = {name for name, _ in tested.options} if tested else set()
    if "--srv" in options:
        return Reading(("by_srv",))
    seen = _Seen([])
    until = time.monotonic() + seconds
    try:
        if place.scheme == "tftp":
            return _ask_tftp(place, rules, until)
        status, finding = _ask(place, rules, trust, until, seen, posts="--post" in options)
    except _Failed as failed:
        return Reading((failed.finding, *seen.findings), 0, seen.expires_at)
    return Reading((finding, *dict.fromkeys(seen.findings)), status, seen.expires_at)


def _ask(
    place: Place, rules: Rules, trust: ssl.SSLContext, until: float, seen: _Seen, *, posts: bool
) -> tuple[int, str]:
    for _ in range(MOST_REDIRECTS + 1):
        head = _exchange(place, rules, trust, until, seen)
        match = _STATUS_LINE.match(head)
        if match is None:
            raise _Failed("no_http")
        status = int(match[1])
        if status not in {301, 302}:
            if status == 200 and _WEB_PAGE.search(head):
                seen.findings.append("web_page")
            return status, health.of_status(status, posts=posts)
        place = _followed(place, head)
    return status, "bad_redirect"


def _followed(place: Place, head: bytes) -> Place:
    """Where a redirect leads."""
    location = _LOCATION.search(head)
    if location is None:
        raise _Failed("bad_redirect")
    base = f"{place.scheme}://{place.host_header}{place.path}"
    try:
        return outbound.parse(urljoin(base, location[1].decode("ascii").strip()).partition("#")[0])
    except (InvalidUrl, ValueError):
        raise _Failed("bad_redirect") from None


def _addresses(place: Place, rules: Rules) -> list[Address]:
    try:
        return outbound.resolve(place, rules)
    except AddressNotAllowed:
        raise _Failed("private_network") from None
    except Unreachable:
        raise _Failed("name_unknown") from None


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _exchange(place: Place, rules: Rules, trust: ssl.SSLContext, until: float, seen: _Seen) -> bytes:
    """Ask one server; gives the head of its answer."""
    if time.monotonic() >= until:
        raise _Failed("timed_out")
    connection = _connected(place, _addresses(place, rules), until)
    try:
        if place.scheme == "https":
            connection = _secured(connection, place, rules, trust, until, seen)
        connection.settimeout(_left(until))
        # A server that refuses the client says why and hangs up: what it said can be read even so.
        with suppress(ssl.SSLEOFError, ConnectionError):
            connection.sendall(_request(place))
        return _head(connection, until)
    except TimeoutError:
        raise _Failed("timed_out") from None
    except ssl.SSLEOFError:
        raise _Failed("no_http") from None
    except ssl.SSLError as error:
        raise _Failed(_tls_finding(error)) from None
    except OSError:
        raise _Failed("no_http") from None
    except ValueError:
        # The certificate cannot be read.
        raise _Failed("tls_failed") from None
    finally:
        connection.close()


def _request(place: Place) -> bytes:
    lines = (
        f"GET {place.path} HTTP/1.1",
        f"Host: {place.host_header}",
        f"User-Agent: {examplephone.USER_AGENT}",
        "Accept: */*",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode("ascii")


def _head(connection: socket.socket, until: float) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _MOST_HEAD_OCTETS:
        connection.settimeout(_left(until))
        chunk = connection.recv(4096)
        if not chunk:
            break
        received += chunk
    return received


def _connected(place: Place, addresses: list[Address], until: float) -> socket.socket:
    """Phones try all addresses of a name in turn."""
    finding = "timed_out"
    for address in addresses[:3]:
        try:
            return socket.create_connection((str(address), place.port), timeout=_left(until))
        except ConnectionRefusedError:
            finding = "refused"
        except TimeoutError:
            finding = "timed_out"
        except OSError:
            finding = "unreachable"
    raise _Failed(finding)


def _secured(
    connection: socket.socket, place: Place, rules: Rules, trust: ssl.SSLContext, until: float, seen: _Seen
) -> ssl.SSLSocket:
    """TLS over the connection. A certificate that only cannot be verified is noted and looked at all the same."""
    connection.settimeout(_left(until))
    try:
        secured = trust.wrap_socket(connection, server_hostname=place.host)
        _note(secured, seen)
        return secured
    except ssl.SSLCertVerificationError as error:
        code = error.verify_code
    connection.close()
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    again = _connected(place, _addresses(place, rules), until)
    again.settimeout(_left(until))
    secured = blind.wrap_socket(again, server_hostname=place.host)
    certificate = _note(secured, seen)
    finding = "certificate_wrong_name" if code in _WRONG_NAME else _VERIFICATION.get(code, "")
    finding = finding or _wrong(certificate, place.host)
    if finding:
        secured.close()
        raise _Failed(finding)
    seen.findings.append("unknown_issuer")
    return secured


def _note(secured: ssl.SSLSocket, seen: _Seen) -> x509.Certificate:
    """Remember the earliest end of the certificates on the way."""
    certificate = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
    expires_at = certificate.not_valid_after_utc
    seen.expires_at = min(expires_at, seen.expires_at or expires_at)
    if datetime.now(UTC) < expires_at <= datetime.now(UTC) + health.EXPIRES_SOON:
        seen.findings.append("expires_soon")
    return certificate


def _wrong(certificate: x509.Certificate, host: str) -> str:
    """What is wrong with a certificate whatever its issuer is."""
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        return "certificate_expired"
    if now < certificate.not_valid_before_utc:
        return "certificate_not_yet_valid"
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    known = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    known |= {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return "" if host in known or f"*.{host.partition('.')[2]}" in known else "certificate_wrong_name"


def _tls_finding(error: ssl.SSLError) -> str:
    reason = error.reason or ""
    return "wants_certificate" if any(alert in reason for alert in _WANTS_CERTIFICATE) else "tls_failed"


def _ask_tftp(place: Place, rules: Rules, until: float) -> Reading:
    """One small read request (RFC 1350): its first block, or an error, shows that the server lives."""
    address = _addresses(place, rules)[0]
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    request = b"\x00\x01" + place.path.encode("ascii") + b"\x00octet\x00"
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        try:
            for _ in range(2):
                datagrams.sendto(request, (str(address), place.port))
                datagrams.settimeout(min(_left(until), 1.5))
                try:
                    answer, sender = datagrams.recvfrom(1024)
                except TimeoutError:
                    continue
                if sender[0] != str(address):
                    continue
                if answer[:2] == b"\x00\x05":
                    return Reading(("no_example_file" if answer[2:4] == b"\x00\x01" else "refuses_example",))
                # It would send the first block again and again.
                datagrams.sendto(b"\x00\x05\x00\x00tested\x00", sender)
                return Reading(("answers" if answer[:2] == b"\x00\x03" else "refuses_example",))
        except TimeoutError:
            return Reading(("tftp_silent",))
        except OSError:
            return Reading(("unreachable",))
    return Reading(("tftp_silent",))


def trust_of(ca_file: str) -> ssl.SSLContext:
    """What servers' certificates are verified with: the system's authorities, and those in `ca_file` if given."""
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context
