"""What of a phone's certificate reaches the door through the real nginx: whatever it is, and never what it claims."""

import urllib.parse

import pytest
from cryptography import x509

from tests.edge import client
from tests.edge.client import get, send
from tests.edge.conftest import Phones
from tests.edge.nginx import Edge

_QUERY = "/software/edos/callhome/rc?id=00562B043615:88012BA01234:CP-8841-3PCC&sw=11.3"
_REPORT = "/software/edos/callhome/report?id=00562B043615&event=acquired"


@pytest.mark.parametrize("which", ["good", "expired", "not_yet_valid", "by_nobody", "generic", "weak"])
def test_every_certificate_reaches_the_door_as_it_was_shown(edge: Edge, phones: Phones, which: str) -> None:
    shown = getattr(phones, which)
    # Its own OpenSSL keeps a client from showing a short key.
    ciphers = client.OLD if which == "weak" else ""

    answer = send(edge.ports["phones"], get(_QUERY), shown.pem, ciphers=ciphers)

    assert answer.status == 200
    (escaped,) = answer.arrived_as("x-client-cert-escaped")
    assert x509.load_pem_x509_certificate(urllib.parse.unquote_to_bytes(escaped)) == shown.certificate
    assert answer.arrived["path"] == _QUERY


def test_a_certificate_signed_with_sha1_reaches_the_door(edge: Edge, phones: Phones) -> None:
    answer = send(edge.ports["phones"], get(_QUERY), phones.sha1, ciphers=client.OLD)

    (escaped,) = answer.arrived_as("x-client-cert-escaped")
    shown = x509.load_pem_x509_certificate(urllib.parse.unquote_to_bytes(escaped))
    assert shown.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSA_WITH_SHA1


def test_a_phone_without_a_certificate_is_let_in_without_a_header(edge: Edge) -> None:
    answer = send(edge.ports["phones"], get(_QUERY))

    assert answer.status == 200
    assert answer.arrived_as("x-client-cert-escaped") == []
    assert answer.arrived_as("client-cert") == []


_FORGED = [
    ["Client-Cert: :AAAA:"],
    ["client-cert: :AAAA:", "Client-Cert: :BBBB:"],
    ["Client_Cert: :AAAA:"],
    ["Client_Cert: :AAAA:", "Client-Cert: :BBBB:", "CLIENT_CERT: :CCCC:"],
    ["X-Client-Cert-Escaped: forged"],
    ["X-Client-Cert-Escaped: forged", "x-client-cert-escaped: again"],
    ["X_Client_Cert_Escaped: forged"],
    ["Client-Cert-Chain: :AAAA:"],
    ["Client-Cert : :AAAA:"],
    ["Client-Cert: :AAAA:", " , :BBBB:"],
]


@pytest.mark.parametrize("lines", _FORGED)
def test_what_a_phone_says_of_its_certificate_itself_never_passes(edge: Edge, lines: list[str]) -> None:
    answer = send(edge.ports["phones"], get(_QUERY, *lines))

    # Lines that are no headers are refused, which is as good.
    assert answer.status in {200, 400}
    for forged in (b"AAAA", b"BBBB", b"CCCC", b"forged", b"again"):
        assert forged not in answer.body


@pytest.mark.parametrize("lines", _FORGED[:7])
@pytest.mark.parametrize("which", ["good", "expired"])
def test_beside_a_real_certificate_nothing_else_is_believed(
    edge: Edge, phones: Phones, lines: list[str], which: str
) -> None:
    shown = getattr(phones, which)

    answer = send(edge.ports["phones"], get(_QUERY, *lines), shown.pem)

    (escaped,) = answer.arrived_as("x-client-cert-escaped")
    assert x509.load_pem_x509_certificate(urllib.parse.unquote_to_bytes(escaped)) == shown.certificate
    assert not [name for name, _ in answer.arrived["headers"] if name.replace("_", "-").startswith("client-cert")]


@pytest.mark.parametrize("name", ["Client-Cert", "X-Client-Cert-Escaped", "X"])
def test_a_header_of_100_kib_is_refused_before_the_door(edge: Edge, phones: Phones, name: str) -> None:
    answer = send(edge.ports["phones"], get(_QUERY, f"{name}: {'A' * 102_400}"), phones.good.pem)

    assert answer.status == 400
    assert b'"path"' not in answer.body


def test_the_report_of_a_phone_with_an_expired_certificate_keeps_its_method_and_body(
    edge: Edge, phones: Phones
) -> None:
    answer = send(edge.ports["phones"], get(_REPORT, method="POST", body=b"x" * 60_000), phones.expired.pem)

    assert (answer.arrived["method"], answer.arrived["path"], answer.arrived["body"]) == ("POST", _REPORT, 60_000)


@pytest.mark.parametrize("which", ["good", "expired"])
def test_a_body_that_is_far_too_long_is_refused_unread(edge: Edge, phones: Phones, which: str) -> None:
    request = get(_REPORT, f"Content-Length: {1 << 30}", method="POST")

    answer = send(edge.ports["phones"], request, getattr(phones, which).pem)

    assert answer.status == 413


@pytest.mark.parametrize("which", ["good", "expired"])
@pytest.mark.parametrize("path", ["/", "/admin/", "/api/v1/devices/", "/metrics", "/software/edos/callhome/rc/x"])
def test_nothing_but_the_phones_paths_is_reachable_for_a_phone(
    edge: Edge, phones: Phones, path: str, which: str
) -> None:
    assert send(edge.ports["phones"], get(path), getattr(phones, which).pem).status == 404


def test_the_source_is_the_one_nginx_saw(edge: Edge) -> None:
    lines = ["X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.7", "X_Forwarded_For: 203.0.113.7"]

    answer = send(edge.ports["phones"], get(_QUERY, *lines))

    assert answer.arrived_as("x-forwarded-for") == ["127.0.0.1"]
    assert "203.0.113.7" not in str(answer.arrived)


@pytest.mark.parametrize("host", ["webapps.example.org", "activate.example.org", "127.0.0.1", "partners.example.net"])
def test_phones_are_answered_under_any_host(edge: Edge, host: str) -> None:
    without_sni = send(edge.ports["phones"], get(_QUERY, host=host), name="")

    assert without_sni.status == 200
