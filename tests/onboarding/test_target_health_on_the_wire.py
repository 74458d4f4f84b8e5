"""One test of one target against real servers on this host: what is found, and what it means in the phone's table."""

import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from onboarding import targettest
from onboarding.health import Health
from onboarding.outbound import Rules
from tests.onboarding.targetservers import RULES, Authority, ProvisioningServer, free_port, listening, tftp


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def trust(authority) -> ssl.SSLContext:
    return targettest.trust_of(str(authority.file))


@pytest.fixture
def server() -> Iterator[ProvisioningServer]:
    server = ProvisioningServer()
    yield server
    server.close()


def run(target, trust, *, rules=RULES, seconds=targettest.TEST_SECONDS):
    return targettest.run(target, rules=rules, trust=trust, seconds=seconds)


STATUSES = [
    (200, "answers", Health.HEALTHY),
    (204, "answers", Health.HEALTHY),
    (300, "odd_redirect", Health.FAILING),
    (307, "odd_redirect", Health.FAILING),
    (400, "refuses_example", Health.UNKNOWN),
    (401, "asks_for_credentials", Health.HEALTHY),
    (403, "refuses_example", Health.UNKNOWN),
    (404, "no_example_file", Health.HEALTHY),
    (405, "refuses_example", Health.UNKNOWN),
    (407, "asks_for_credentials", Health.HEALTHY),
    (429, "refuses_example", Health.UNKNOWN),
    (500, "server_error", Health.FAILING),
    (503, "server_error", Health.FAILING),
]


@pytest.mark.parametrize(("status", "finding", "means"), STATUSES)
def test_a_status_is_read_in_terms_of_the_phones_table(server, trust, status, finding, means):
    server.status = status

    reading = run(server.target, trust)

    assert (reading.findings, reading.status) == ((finding,), status)
    assert reading.health(seen_before=False) == means


def test_the_server_is_asked_as_the_example_phone_asks(server, trust):
    run(f"http://localhost:{server.port}/$(PSN)/$MAU-$(MA:6).xml?sn=$SN&a=$A&x=$$1", trust)

    [(path, headers)] = server.asked
    assert path == "/8841-3PCC/00562B043615-043615.xml?sn=FCH2133E8B9&a=$A&x=$1"
    assert headers["Host"] == f"localhost:{server.port}"
    assert headers["User-Agent"].startswith("Cisco-CP-8841-3PCC/")
    assert "Authorization" not in headers


def test_credentials_and_keys_of_a_rule_are_not_sent(server, trust):
    server.status = 401

    reading = run(f"[--uid phone --pwd secret --key other] {server.target}", trust)

    assert reading.findings == ("asks_for_credentials",)
    assert "secret" not in str(server.asked)
    assert "other" not in str(server.asked)


def test_of_several_alternatives_the_last_is_tested(server, trust):
    run(f"($A = 1)? http://localhost:{free_port()}/first | {server.target}", trust)

    assert [path for path, _ in server.asked] == ["/00562b043615.xml"]


def test_a_server_that_takes_only_what_is_posted_is_healthy_for_a_rule_that_posts(server, trust):
    server.status = 405

    assert run(f"[--post A] {server.target}", trust).findings == ("expects_post",)


def test_a_web_page_is_mentioned(server, trust):
    server.headers = {"Content-Type": "text/html; charset=utf-8"}

    reading = run(server.target, trust)

    assert reading.findings == ("answers", "web_page")
    assert reading.health(seen_before=True) == Health.HEALTHY


@pytest.mark.parametrize("status", [301, 302])
def test_redirects_that_phones_follow_are_followed(server, trust, status):
    server.paths = {"/00562b043615.xml": (status, {"Location": "/there.xml"}), "/there.xml": (404, {})}

    reading = run(server.target, trust)

    assert (reading.findings, reading.status) == (("no_example_file",), 404)


@pytest.mark.parametrize(
    "headers", [{}, {"Location": "ftp://localhost/x"}, {"Location": "/again"}, {"Location": "http://[::1/x"}]
)
def test_redirects_to_nowhere_or_in_a_circle_are_found(server, trust, headers):
    server.status, server.headers = 302, headers

    reading = run(server.target, trust)

    assert reading.findings == ("bad_redirect",)
    assert len(server.asked) <= targettest.MOST_REDIRECTS + 1


def test_a_redirect_into_a_private_network_is_not_followed(trust):
    inner, outer = ProvisioningServer(), ProvisioningServer()
    outer.status, outer.headers = 302, {"Location": f"http://127.0.0.2:{inner.port}/x"}
    narrow = Rules(allowed=[ip_network("127.0.0.1/32"), ip_network("::1/128")], plain_http=True)

    reading = run(outer.target, trust, rules=narrow)

    assert reading.findings == ("private_network",)
    assert inner.asked == []
    inner.close()
    outer.close()


def test_a_private_network_is_not_looked_into_and_counts_as_unknown(server, trust):
    reading = run(server.target, trust, rules=Rules(plain_http=True))

    assert reading.findings == ("private_network",)
    assert reading.health(seen_before=True) == Health.UNKNOWN
    assert server.asked == []


@pytest.mark.parametrize(
    ("target", "finding"),
    [
        ("/$PSN.xml", "depends_on_phone"),
        ("$PN.cfg", "depends_on_phone"),
        ("tftp:///x", "depends_on_phone"),
        ("$A", "depends_on_phone"),
        ("gds://", "depends_on_phone"),
        ("https://$A/x", "depends_on_phone"),
        ("http://localhost:$B/x", "depends_on_phone"),
        ("[--srv] https://example.net/x", "by_srv"),
        ("http://", "untestable"),
    ],
)
def test_what_depends_on_the_phone_is_unknown_and_nobody_is_asked(trust, target, finding):
    reading = run(target, trust)

    assert reading.findings == (finding,)
    assert reading.health(seen_before=True) == Health.UNKNOWN


def test_a_certificate_that_is_good_is_verified_and_its_end_is_told(authority, trust):
    server = ProvisioningServer(authority.server(days=90))

    reading = run(server.target, trust)

    assert reading.findings == ("answers",)
    assert abs(reading.certificate_expires_at - datetime.now(UTC) - timedelta(days=90)) < timedelta(hours=1)
    server.close()


@pytest.mark.parametrize(
    ("certificate", "findings", "means"),
    [
        ({"days": 5}, ("answers", "expires_soon"), Health.HEALTHY),
        ({"days": -2}, ("certificate_expired",), Health.FAILING),
        ({"days": 90, "since_days": 2}, ("certificate_not_yet_valid",), Health.FAILING),
        ({"name": "other.example"}, ("certificate_wrong_name",), Health.FAILING),
    ],
)
def test_certificates_that_phones_would_refuse_are_failures(authority, trust, certificate, findings, means):
    server = ProvisioningServer(authority.server(**certificate))

    reading = run(server.target, trust)

    assert reading.findings == findings
    assert reading.health(seen_before=True) == means
    assert reading.certificate_expires_at is not None
    server.close()


@pytest.mark.parametrize(
    ("certificate", "finding", "means"),
    [
        ({}, "unknown_issuer", Health.UNKNOWN),
        ({"days": -2}, "certificate_expired", Health.FAILING),
        ({"name": "other.example"}, "certificate_wrong_name", Health.FAILING),
    ],
)
def test_of_an_unknown_issuer_the_dates_and_the_name_are_checked_all_the_same(
    tmp_path, trust, certificate, finding, means
):
    server = ProvisioningServer(Authority(tmp_path, "Another authority").server(**certificate))

    reading = run(server.target, trust)

    assert finding in reading.findings
    assert reading.health(seen_before=True) == means
    server.close()


def test_a_server_that_wants_the_phones_certificate_is_unknown(authority, trust):
    tls = authority.server()
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(cafile=authority.file)
    server = ProvisioningServer(tls)

    reading = run(server.target, trust)

    assert reading.findings == ("wants_certificate",)
    assert reading.health(seen_before=True) == Health.UNKNOWN
    server.close()


def test_a_refused_connection_is_a_failure(trust):
    reading = run(f"http://127.0.0.1:{free_port()}/x", trust)

    assert reading.findings == ("refused",)
    assert reading.health(seen_before=False) == Health.FAILING


def test_plain_http_where_tls_is_expected_is_a_failure(server, trust):
    assert run(server.target.replace("http:", "https:"), trust).findings == ("tls_failed",)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 2\r\n\r\n", b"\x00" * 40_000])
def test_what_is_no_http_is_a_failure(trust, said):
    def speak(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(said)

    with listening(speak) as port:
        reading = run(f"http://127.0.0.1:{port}/x", trust)

    assert reading.findings == ("no_http",)


def test_a_slow_server_is_given_up_in_time_however_it_drips(trust):
    def drip(connection: socket.socket) -> None:
        try:
            for octet in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200:
                connection.sendall(bytes([octet]))
                time.sleep(0.05)
        except OSError:
            pass

    with listening(drip) as port:
        began = time.monotonic()
        reading = run(f"http://127.0.0.1:{port}/x", trust, seconds=0.6)

    assert reading.findings == ("timed_out",)
    assert time.monotonic() - began < 2


def test_a_name_that_nobody_knows_counts_only_where_it_was_seen_before(trust):
    reading = run("http://no-such-name.invalid/x", trust)

    assert reading.findings == ("name_unknown",)
    assert reading.health(seen_before=False) == Health.UNKNOWN
    assert reading.health(seen_before=True) == Health.FAILING


@pytest.mark.parametrize(
    ("answer", "finding", "means"),
    [
        (b"\x00\x03\x00\x01<flat-profile/>", "answers", Health.HEALTHY),
        (b"\x00\x05\x00\x01File not found\x00", "no_example_file", Health.HEALTHY),
        (b"\x00\x05\x00\x02Access violation\x00", "refuses_example", Health.UNKNOWN),
    ],
)
def test_tftp_is_tested_by_one_read_request(trust, answer, finding, means):
    with tftp(answer) as (port, asked):
        reading = run(f"tftp://127.0.0.1:{port}/$MA.cfg", trust)
        time.sleep(0.1)

    assert reading.findings == (finding,)
    assert reading.health(seen_before=False) == means
    assert asked[0] == b"\x00\x01/00562b043615.cfg\x00octet\x00"
    # After a first block the server is told that no more is wanted.
    assert [request[:2] for request in asked[1:]] == ([b"\x00\x05"] if finding == "answers" else [])


def test_a_silent_tftp_server_is_unknown(trust):
    with tftp(None) as (port, _asked):
        reading = run(f"127.0.0.1:{port}/x", trust, seconds=0.3)

    assert reading.findings == ("tftp_silent",)
    assert reading.health(seen_before=True) == Health.UNKNOWN


def test_a_host_that_no_test_may_reach_is_never_told_about(trust):
    """What our own network has at an address is nobody's business: every private address looks the same."""
    open_port, closed_port = ProvisioningServer(), free_port()
    nothing = Rules(plain_http=True)

    readings = {run(f"http://127.0.0.1:{port}/x", trust, rules=nothing) for port in (open_port.port, closed_port)}

    assert len(readings) == 1
    open_port.close()
