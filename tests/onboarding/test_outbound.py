"""Requests to addresses that somebody else typed: where they go, and where they never go."""

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from onboarding import outbound
from onboarding.outbound import AddressNotAllowed, Client, InvalidUrl, Rules, Unreachable

LOOPBACK = Rules([ipaddress.ip_network("127.0.0.0/8")])


def send(rules, *request, **options):
    """One request by a client of its own, which keeps nothing open."""
    with closing(Client(rules)) as client:
        return client.send(*request, **options)


# The rule


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "127.0.0.1", "127.255.0.1", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
        "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "::8.8.8.8", "64:ff9b::8.8.8.8",
        "64:ff9b::127.0.0.1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "2002:808:808::1",
        "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "ff0e::1",
    ],
)  # fmt: skip
def test_special_addresses_are_not_global(address):
    assert not outbound.is_global(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "192.167.255.255", "100.128.0.1", "2a00:1450::1", "2606:4700::1111"]
)
def test_addresses_of_the_public_internet_are(address):
    assert outbound.is_global(ipaddress.ip_address(address))


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_nothing_counts_as_global_that_python_calls_private_or_multicast(address):
    if outbound.is_global(address):
        assert address.is_global
        assert not any((address.is_multicast, address.is_private, address.is_loopback, address.is_link_local))
        assert not any((address.is_reserved, address.is_unspecified))
        if address.version == 6:
            assert address.ipv4_mapped is None
            assert address.sixtofour is None
            assert address.teredo is None


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_an_allowed_network_allows_itself_and_nothing_else(address):
    rules = Rules([ipaddress.ip_network("10.9.0.0/16"), ipaddress.ip_network("fd00:9::/32")])
    inside = any(address in network for network in rules.allowed)
    assert rules.permit(address, scheme="http") == inside
    assert rules.permit(address, scheme="https") == (inside or outbound.is_global(address))


# URLs


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://hooks.example.net/a?b=c", ("https", "hooks.example.net", 443, "/a?b=c")),
        ("HTTPS://Hooks.Example.NET", ("https", "hooks.example.net", 443, "/")),
        ("http://h:8080?x", ("http", "h", 8080, "/?x")),
        ("https://[2001:DB8::1]:8443/", ("https", "2001:db8::1", 8443, "/")),
    ],
)
def test_a_url_is_read_into_its_parts(url, place):
    read = outbound.parse(url)
    assert (read.scheme, read.host, read.port, read.path) == place


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.net", "ftp://a.example/", "https://", "https:///path", "https://a b/",
        "https://a.example/ b", "https://user@a.example/", "https://user:pw@a.example/", "https://a.example/#part",
        "https://a.example:0/",
        "https://a.example:65536/", "https://a.example\\@127.0.0.1/", "https://a.example/\r\nX: y", "https://[::1/",
        "https://[fe80::1%25eth0]/", "https://a..example/", "https://" + "a" * 64 + ".example/", "https://ä.example/",
        "https://a.example/ä", "https://a.example/" + "a" * 1024, "https://-a.example/", "javascript:alert(1)",
        "https://a.example/\x00",
    ],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(url):
    with pytest.raises(InvalidUrl):
        outbound.parse(url)


@given(st.text(max_size=60).map(lambda text: f"https://{text}"))
def test_whatever_is_typed_is_read_or_refused(url):
    try:
        place = outbound.parse(url)
    except InvalidUrl:
        return
    assert place.host
    assert place.path.startswith("/")
    assert url.isascii()


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.net/", "https://127.0.0.1/", "https://localhost/", "https://a.localhost./",
        "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/", "https://169.254.169.254/latest/",
    ],
)  # fmt: skip
def test_what_need_not_be_resolved_is_refused_at_once(url):
    with pytest.raises(AddressNotAllowed):
        outbound.check(url, Rules())


# Connections


class Server:
    """Answers with what it was asked; keeps the paths and counts connections."""

    def __init__(self, certificate=None):
        self.asked: list[tuple[str, str]] = []
        self.connections = 0
        self.names: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def setup(self):
                outer.connections += 1
                super().setup()

            def do_GET(self):
                outer.asked.append((self.path, self.headers["Host"]))
                status = 301 if self.path == "/moved" else 200
                body = b"x" * 500_000 if self.path == "/huge" else b"hello"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Location", "/elsewhere")
                if self.path == "/close":
                    self.close_connection = True
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Quiet."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A refused handshake is what some tests want."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            context.sni_callback = lambda _socket, name, _context: self.names.append(name)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_port

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture
def client():
    made = Client(LOOPBACK, connect_seconds=1, total_seconds=2)
    yield made
    made.close()


def resolving(monkeypatch, **names):
    """Names resolve to these addresses, one list after another where several are given; all else as ever."""
    true = socket.getaddrinfo
    asked: list[str] = []

    def resolve(host, port, *args, **kwargs):
        name = str(host).replace(".", "_")
        if name not in names:
            return true(host, port, *args, **kwargs)
        asked.append(host)
        addresses = names[name]
        if isinstance(addresses[0], list):
            addresses = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_an_answer_is_told_with_its_status_and_beginning(server, client):
    answer = client.send("GET", f"http://127.0.0.1:{server.port}/a?b")
    assert (answer.status, answer.body, answer.address) == (200, b"hello", "127.0.0.1")
    assert server.asked == [("/a?b", f"127.0.0.1:{server.port}")]


def test_redirects_are_told_and_not_followed(server, client):
    assert client.send("GET", f"http://127.0.0.1:{server.port}/moved").status == 301
    assert [path for path, _ in server.asked] == ["/moved"]


def test_no_more_of_a_body_is_read_than_asked_for(server, client):
    assert len(client.send("GET", f"http://127.0.0.1:{server.port}/huge", max_body_bytes=1000).body) == 1000


def test_connections_are_kept_and_dead_ones_replaced(server, client):
    for path in ("/a", "/b", "/close", "/c", "/d"):
        assert client.send("GET", f"http://127.0.0.1:{server.port}{path}").status == 200
        time.sleep(0.02)
    assert len(server.asked) == 5
    assert server.connections == 2


def test_proxies_of_the_environment_are_not_used(server, client, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    assert client.send("GET", f"http://127.0.0.1:{server.port}/").status == 200


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.1.2.3"], ["::1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.1.1"]]
)
def test_a_name_that_leads_home_is_refused_before_anything_is_sent(server, monkeypatch, addresses):
    resolving(monkeypatch, evil_example=addresses)
    with pytest.raises(AddressNotAllowed) as refusal:
        send(Rules(plain_http=True), "GET", f"http://evil.example:{server.port}/")
    assert server.connections == 0
    assert not any(address in refusal.value.detail for address in addresses)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "localhost"])
def test_other_spellings_of_loopback_are_loopback(server, host):
    with pytest.raises((AddressNotAllowed, Unreachable)) as refusal:
        send(Rules(plain_http=True), "GET", f"http://{host}:{server.port}/")
    assert isinstance(refusal.value, AddressNotAllowed) or refusal.value.kind == "dns"
    assert server.connections == 0


def test_a_name_that_changes_between_the_check_and_the_connection_gains_nothing(server, monkeypatch):
    """The connection goes to the address that was checked; nobody asks for it a second time."""
    asked = resolving(monkeypatch, evil_example=[["127.0.0.1"], ["127.0.0.2"]])
    answer = send(LOOPBACK, "GET", f"http://evil.example:{server.port}/")
    assert (answer.address, asked) == ("127.0.0.1", ["evil.example"])
    assert server.asked == [("/", f"evil.example:{server.port}")]


def test_the_next_address_is_tried_where_the_first_does_not_answer(server, monkeypatch):
    resolving(monkeypatch, two_example=["127.0.0.99", "127.0.0.1"])
    assert send(LOOPBACK, "GET", f"http://two.example:{server.port}/").address == "127.0.0.1"


def test_failures_are_told_by_their_kind(client, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable) as refused:
            client.send("GET", f"http://127.0.0.1:{closed.getsockname()[1]}/")
    assert refused.value.kind == "connect"
    with pytest.raises(Unreachable) as unknown:
        client.send("GET", "http://nothing.invalid/")
    assert unknown.value.kind == "dns"
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(Unreachable) as waited:
            client.send("GET", f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert waited.value.kind == "timeout"


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(outbound, "CONNECT_SECONDS", 0.2)
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: done.wait(5) and [])
    began = time.monotonic()
    with pytest.raises(Unreachable) as failure:
        send(LOOPBACK, "GET", "http://slow.example/")
    done.set()
    assert failure.value.kind == "dns"
    assert time.monotonic() - began < 2


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of its own authority for hooks.example.net."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example.net")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example.net")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_tls_checks_the_name_that_was_asked_for_though_the_address_is_connected_to(certificate, monkeypatch):
    resolving(monkeypatch, hooks_example_net=["127.0.0.1"], other_example_net=["127.0.0.1"])
    with Server(certificate) as server:
        client = Client(LOOPBACK, trust=ssl.create_default_context(cafile=str(certificate)))
        answer = client.send("GET", f"https://hooks.example.net:{server.port}/")
        assert answer.status == 200
        assert server.names == ["hooks.example.net"]
        assert answer.certificate_until is not None
        assert 29 <= (answer.certificate_until - datetime.datetime.now(datetime.UTC)).days <= 30
        with pytest.raises(Unreachable) as wrong_name:
            client.send("GET", f"https://other.example.net:{server.port}/")
        with pytest.raises(Unreachable) as unknown_authority:
            send(LOOPBACK, "GET", f"https://hooks.example.net:{server.port}/")
    assert (wrong_name.value.kind, unknown_authority.value.kind) == ("tls", "tls")
    assert "other.example.net" in wrong_name.value.detail
