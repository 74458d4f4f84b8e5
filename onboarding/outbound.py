"""Outbound: HTTP requests to addresses that somebody else typed in, which must never reach our own network.

The name is resolved once, every address it has is checked, and the connection goes to an address that was checked: a
name that points elsewhere a moment later gains nothing. The server's name stays in the Host header and in TLS. Nothing
is redirected, no proxy of the environment is used, and every answer is bounded in time and size.

    rules = Rules(allowed=networks, plain_http=False)
    client = Client(rules)
    answer = client.send("POST", "https://hooks.example.net/phones", body=b"{}", headers={})

What may be reached is what IANA's registries of special addresses (RFC 6890, as of 2026) call global unicast, and what
lies in a network that the operator allows by name. Tunnels that carry one address inside another (IPv4-mapped, NAT64,
6to4, Teredo) are never global here: what they lead to cannot be told from what they look like.
"""

import ipaddress
import re
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from onboarding.errors import OnboardingError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_LENGTH = 1024
CONNECT_SECONDS, TOTAL_SECONDS = 3.0, 10.0
MAX_BODY_BYTES = 64 * 1024

# No more addresses of one name are tried, and no more names and idle connections remembered.
_MOST_ADDRESSES, _MOST_NAMES, _MOST_IDLE = 3, 1000, 64
# How long an answer of the resolver is used again, and an idle connection kept.
_RESOLVED_SECONDS, _IDLE_SECONDS = 10.0, 30.0
_CHUNK = 16 * 1024

# Of IPv4 everything is global but these; of IPv6 nothing but 2000::/3 without these.
_SPECIAL_IPV4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>[/?][!$-;=?-\[\]_a-z~%]*)?",
    re.IGNORECASE,
)


class InvalidUrl(OnboardingError):
    """The text is not a URL that requests can be sent to."""

    code = "invalid_url"
    remedy = "Give a URL such as https://hooks.example.net/phones, without a user name, a fragment or blanks."


class AddressNotAllowed(OnboardingError):
    """The URL leads to an address, or by a way, that requests must not take."""

    code = "address_not_allowed"
    remedy = "Give an https URL of a server on the public Internet, or ask the operator to allow its network."


class Unreachable(OnboardingError):
    """No answer came. `kind` is `dns`, `connect`, `tls`, `timeout` or `protocol`."""

    code = "unreachable"

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be reached: global addresses by https, and `allowed` networks by http too.

    `plain_http` allows http to global addresses as well.
    """

    allowed: Sequence[Network] = ()
    plain_http: bool = False

    def permit(self, address: Address, *, scheme: str) -> bool:
        """Whether a request may go to this address by this scheme."""
        if any(address in network for network in self.allowed):
            return True
        return is_global(address) and (scheme == "https" or self.plain_http)


@dataclass(frozen=True, slots=True)
class Place:
    """The parts of a URL: where to connect, and what to ask there. `host` has no brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `body` is its beginning; `certificate_until` is when the server's certificate expires (https)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    address: str
    seconds: float
    certificate_until: datetime | None = None


_PORTS = {"http": 80, "https": 443}


def is_global(address: Address) -> bool:
    """Whether the address is one of the public Internet, and of one host."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def parse(url: str) -> Place:
    """Read a URL. Raises InvalidUrl."""
    match = _URL.fullmatch(url) if len(url) <= MAX_URL_LENGTH else None
    if match is None:
        raise InvalidUrl(f"This is not an http or https URL of at most {MAX_URL_LENGTH} characters.", field="url")
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if host.startswith("["):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise InvalidUrl("The URL's IPv6 address cannot be read.", field="url") from None
    elif any(not label or len(label) > 63 for label in host.removesuffix(".").split(".")):
        raise InvalidUrl("The URL's host is not a name.", field="url")
    port = int(match["port"] or _PORTS[scheme])
    if not 0 < port < 65536:
        raise InvalidUrl("The URL's port is not between 1 and 65535.", field="url")
    path = match["path"] or "/"
    return Place(scheme, host, port, path if path.startswith("/") else f"/{path}")


def check(url: str, rules: Rules) -> Place:
    """Refuse at once what no resolver has to be asked for: the URL's form, its scheme, an address in it.

    Raises InvalidUrl, AddressNotAllowed.
    """
    place = parse(url)
    if place.scheme == "http" and not rules.plain_http and not rules.allowed:
        raise AddressNotAllowed("Only https URLs are allowed.", field="url")
    if address := _literal(place.host):
        _require(place, [address], rules)
    elif place.host.removesuffix(".") == "localhost" or place.host.removesuffix(".").endswith(".localhost"):
        # RFC 6761, 6.3.
        _require(place, [ipaddress.IPv4Address("127.0.0.1")], rules)
    return place


def resolve(place: Place, rules: Rules) -> list[Address]:
    """The addresses of a place, all of them checked. Raises Unreachable (dns), AddressNotAllowed.

    One that is not allowed refuses them all: a name that mixes both is not to be trusted with either.
    """
    address = _literal(place.host)
    found = [address] if address else _looked_up(place)
    _require(place, found, rules)
    return found


def _literal(host: str) -> Address | None:
    with suppress(ValueError):
        return ipaddress.ip_address(host)
    return None


def _looked_up(place: Place) -> list[Address]:
    """Ask the system's resolver. It knows no time limit, so it is asked in a thread that may be left behind."""
    found: list[Address] = []
    failure: list[Exception] = []

    def ask() -> None:
        try:
            rows = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows))
        except (OSError, ValueError) as error:
            failure.append(error)

    thread = threading.Thread(target=ask, daemon=True, name="resolver")
    thread.start()
    thread.join(CONNECT_SECONDS)
    if thread.is_alive():
        raise Unreachable("dns", f"The name {place.host} could not be resolved within {CONNECT_SECONDS:.0f} seconds.")
    if failure or not found:
        raise Unreachable("dns", f"The name {place.host} cannot be resolved.")
    return found


def _require(place: Place, addresses: Sequence[Address], rules: Rules) -> None:
    for address in addresses:
        if not rules.permit(address, scheme=place.scheme):
            # The address itself is not told: names of our own network are nobody's business.
            what = "an http URL" if is_global(address) else "an address that is not public"
            raise AddressNotAllowed(f"{place.host} is {what}, which is not allowed.", field="url")


@dataclass(slots=True)
class _Idle:
    connection: HTTPConnection
    since: float


@dataclass(slots=True)
class Client:
    """Sends requests under `rules`, from many threads at once, and keeps connections for a while.

    `trust` is how servers prove their names; by default as the system's authorities say.
    """

    rules: Rules
    trust: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    connect_seconds: float = CONNECT_SECONDS
    total_seconds: float = TOTAL_SECONDS
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _names: "OrderedDict[str, tuple[float, list[Address]]]" = field(default_factory=OrderedDict, init=False, repr=False)
    _idle: "OrderedDict[tuple[str, str, int], list[_Idle]]" = field(default_factory=OrderedDict, init=False, repr=False)
    _watch: "_Watch" = field(default_factory=lambda: _Watch(), init=False, repr=False)

    def send(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> Answer:
        """One request and its answer, whatever its status. Raises InvalidUrl, AddressNotAllowed, Unreachable."""
        place = check(url, self.rules)
        began = time.monotonic()
        until = began + self.total_seconds
        sent = {"Host": place.host_header, "User-Agent": "phone-onboarding", "Accept": "*/*", **(headers or {})}
        if body or method in {"POST", "PUT", "PATCH"}:
            sent["Content-Length"] = str(len(body))
        kept = self._take(place)
        if kept is not None:
            with suppress(_Stale):
                return self._exchange(kept, place, method, body, sent, began, until, max_body_bytes, reused=True)
        connection = self._connected(place, self._resolved(place), until)
        return self._exchange(connection, place, method, body, sent, began, until, max_body_bytes, reused=False)

    def close(self) -> None:
        """End the idle connections and the watch."""
        with self._lock:
            idle = [item for items in self._idle.values() for item in items]
            self._idle.clear()
        for item in idle:
            item.connection.close()
        self._watch.stop()

    def _resolved(self, place: Place) -> list[Address]:
        now = time.monotonic()
        with self._lock:
            known = self._names.get(place.host)
        if known is not None and now - known[0] < _RESOLVED_SECONDS:
            # Checked again: what the scheme allows differs.
            _require(place, known[1], self.rules)
            return known[1]
        found = resolve(place, self.rules)
        with self._lock:
            self._names[place.host] = (now, found)
            while len(self._names) > _MOST_NAMES:
                self._names.popitem(last=False)
        return found

    def _connected(self, place: Place, addresses: Sequence[Address], until: float) -> HTTPConnection:
        failure: Unreachable | None = None
        deadline = min(until, time.monotonic() + self.connect_seconds)
        for address in addresses[:_MOST_ADDRESSES]:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            connection = self._connection(place, address, left)
            try:
                connection.connect()
            except Exception as error:
                connection.close()
                failure = _failure(error, place)
                continue
            return connection
        raise failure or Unreachable("timeout", f"{place.host} did not take the connection in time.")

    def _connection(self, place: Place, address: Address, seconds: float) -> HTTPConnection:
        if place.scheme == "http":
            return HTTPConnection(str(address), place.port, timeout=seconds)
        return HTTPSConnection(
            str(address), place.port, timeout=seconds, ssl_context=self.trust, server_hostname=place.host
        )

    def _exchange(
        self,
        connection: HTTPConnection,
        place: Place,
        method: str,
        body: bytes,
        headers: Mapping[str, str],
        began: float,
        until: float,
        max_body_bytes: int,
        *,
        reused: bool,
    ) -> Answer:
        """Send and read, until the deadline at most. Raises _Stale where a kept connection turned out to be dead."""
        left = until - time.monotonic()
        if left <= 0 or connection.sock is None:
            connection.close()
            raise self._too_late(place)
        connection.timeout = left
        connection.sock.settimeout(left)
        watched = self._watch.until(until, connection.sock)
        certificate = connection.sock.getpeercert() if isinstance(connection.sock, ssl.SSLSocket) else None
        try:
            connection.request(
                method, place.path, body=body, headers=headers, preload_content=False, decode_content=False
            )
            response = connection.getresponse()
            text, whole = b"", False
            while len(text) < max_body_bytes:
                chunk = response.read(min(_CHUNK, max_body_bytes - len(text)))
                text += chunk
                if not chunk:
                    whole = True
                    break
            lasting = whole and response.headers.get("Connection", "").lower() != "close" and response.version == 11
        except Exception as error:
            connection.close()
            if self._watch.ended(watched):
                raise self._too_late(place) from error
            if reused and not isinstance(error, TimeoutError):
                raise _Stale from error
            raise _failure(error, place) from error
        if self._watch.ended(watched):
            # Cut off, it can look whole: an answer's head may end with the connection.
            connection.close()
            raise self._too_late(place)
        if lasting:
            self._keep(place, connection)
        else:
            connection.close()
        return Answer(
            response.status,
            dict(response.headers),
            text,
            str(connection.host),
            time.monotonic() - began,
            _expiry(certificate),
        )

    def _too_late(self, place: Place) -> Unreachable:
        return Unreachable("timeout", f"{place.host} did not answer within {self.total_seconds:.0f} seconds.")

    def _take(self, place: Place) -> HTTPConnection | None:
        """A kept connection of this place that seems to live."""
        now = time.monotonic()
        while True:
            with self._lock:
                kept = self._idle.get((place.scheme, place.host, place.port))
                item = kept.pop() if kept else None
            if item is None:
                return None
            if now - item.since < _IDLE_SECONDS and item.connection.is_connected:
                return item.connection
            item.connection.close()

    def _keep(self, place: Place, connection: HTTPConnection) -> None:
        key = (place.scheme, place.host, place.port)
        dropped: list[_Idle] = []
        with self._lock:
            self._idle.setdefault(key, []).append(_Idle(connection, time.monotonic()))
            self._idle.move_to_end(key)
            while sum(map(len, self._idle.values())) > _MOST_IDLE or not next(iter(self._idle.values())):
                dropped += self._idle.popitem(last=False)[1]
        for item in dropped:
            item.connection.close()


class _Stale(Exception):
    """A kept connection was ended by the other side; the request can be sent once more on a new one."""


class _Watch:
    """Ends exchanges at their deadlines: a socket's own time limit begins anew with every octet that drips in."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: dict[int, tuple[float, socket.socket]] = {}
        self._ended: set[int] = set()
        self._number = 0
        self._thread: threading.Thread | None = None

    def until(self, deadline: float, sock: socket.socket) -> int:
        with self._changed:
            self._number += 1
            self._open[self._number] = (deadline, sock)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="deadlines")
                self._thread.start()
            return self._number

    def ended(self, number: int) -> bool:
        """Whether the exchange was ended here; forgets it."""
        with self._changed:
            self._open.pop(number, None)
            was = number in self._ended
            self._ended.discard(number)
            return was

    def stop(self) -> None:
        with self._changed:
            self._open.clear()
            self._thread = None
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while self._thread is threading.current_thread():
                now = time.monotonic()
                for number, (deadline, sock) in list(self._open.items()):
                    if deadline <= now:
                        del self._open[number]
                        self._ended.add(number)
                        with suppress(OSError):
                            # Wakes whoever reads from it. (Closing it would not.)
                            sock.shutdown(socket.SHUT_RDWR)
                # Looked at often rather than woken for each exchange, which would cost every one of them a switch.
                self._changed.wait(0.25)


def _failure(error: Exception, place: Place) -> Unreachable:
    """What a failed connection or exchange was, in words. The library's own texts may hold addresses."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return Unreachable("tls", f"The certificate of {place.host} is not good: {seen.verify_message}.")
        if isinstance(seen, TimeoutError):
            return Unreachable("timeout", f"{place.host} did not answer in time.")
        if isinstance(seen, ssl.SSLError):
            return Unreachable("tls", f"TLS with {place.host} failed: {seen.reason or 'no common ground'}.")
        if isinstance(seen, ConnectionRefusedError):
            return Unreachable("connect", f"{place.host} refused the connection.")
        if isinstance(seen, OSError) and not isinstance(seen, ConnectionError):
            return Unreachable("connect", f"{place.host} cannot be reached: {seen.strerror or type(seen).__name__}.")
        if isinstance(seen, HTTPError) and "timed out" in str(seen):
            return Unreachable("timeout", f"{place.host} did not answer in time.")
        seen = seen.__cause__ or seen.__context__
    return Unreachable("protocol", f"{place.host} ended the connection, or its answer is not HTTP.")


def _expiry(certificate: Mapping[str, object] | None) -> datetime | None:
    until = certificate.get("notAfter") if certificate else None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC) if isinstance(until, str) else None
