"""Which server answers where, with which TLS: old protocols on the legacy listener alone, which leads to no page."""

import ssl
from pathlib import Path

import pytest

from tests.edge import client, nginx, upstream
from tests.edge.client import get, send
from tests.edge.conftest import Phones
from tests.edge.nginx import Edge

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")

_QUERY = "/software/edos/callhome/rc?id=00562B043615"
_OLD = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]
_NEW = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("server", ["phones", "partners"])
@pytest.mark.parametrize("version", _OLD)
def test_old_protocols_are_refused(edge: Edge, server: str, version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        send(edge.ports[server], get("/"), version=version, ciphers=client.OLD)


@pytest.mark.parametrize("server", ["phones", "partners"])
@pytest.mark.parametrize("version", _NEW)
def test_present_protocols_are_spoken(edge: Edge, server: str, version: ssl.TLSVersion) -> None:
    name = f"{server}.example.net"

    answer = send(edge.ports[server], get(_QUERY, host=name), name=name, version=version)

    assert answer.status == 200


@pytest.mark.parametrize("version", [*_OLD, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize("which", ["none", "good", "expired", "weak", "sha1"])
def test_the_legacy_listener_takes_old_phones(edge: Edge, phones: Phones, version: ssl.TLSVersion, which: str) -> None:
    shown = {"none": None, "sha1": phones.sha1}.get(which) if which in {"none", "sha1"} else getattr(phones, which).pem

    answer = send(edge.ports["legacy"], get(_QUERY), shown, version=version, ciphers=client.OLD)

    assert answer.status == 200
    assert len(answer.arrived_as("x-client-cert-escaped")) == (which != "none")


@pytest.mark.parametrize("name", ["partners.example.net", "legacy.example.net", ""])
@pytest.mark.parametrize("path", ["/", "/admin/", "/api/v1/devices/", "/metrics", "/static/config/style.css"])
def test_the_legacy_listener_leads_to_no_page_under_any_name(edge: Edge, name: str, path: str) -> None:
    request = get(path, host=name or "partners.example.net")

    answer = send(edge.ports["legacy"], request, name=name, version=_OLD[0], ciphers=client.OLD)

    assert answer.status == 404


def test_the_legacy_listener_is_off_unless_it_is_asked_for(
    tmp_path: Path, server_certificate: tuple[Path, Path]
) -> None:
    nginx.render(tmp_path, upstreams={"door": "127.0.0.1:9", "web": "127.0.0.1:9"}, certificate=server_certificate)

    written = {file.name for file in (tmp_path / "configuration" / "conf.d").iterdir()}

    assert written == {"behind.conf", "phones.conf", "partners.conf"}
    assert nginx.complaints(tmp_path) == ""


def test_the_legacy_listener_cannot_share_the_phones_address(
    tmp_path: Path, server_certificate: tuple[Path, Path]
) -> None:
    shared = "127.0.0.1:8443"
    nginx.render(
        tmp_path, upstreams={"door": "127.0.0.1:9", "web": "127.0.0.1:9"}, certificate=server_certificate, legacy="1",
        PHONES_LISTEN=shared, LEGACY_LISTEN=shared,
    )  # fmt: skip

    assert "duplicate" in nginx.complaints(tmp_path)


def test_pages_refuse_old_protocols_even_where_they_share_the_legacy_address_by_mistake(
    tmp_path: Path, server_certificate: tuple[Path, Path]
) -> None:
    shared = f"127.0.0.1:{nginx.free_port()}"
    tmp_path.chmod(0o755)
    with nginx.running(
        tmp_path, upstreams={"door": "127.0.0.1:9", "web": "127.0.0.1:9"}, certificate=server_certificate, legacy="1",
        PARTNERS_LISTEN=shared, LEGACY_LISTEN=shared,
    ):  # fmt: skip
        port = int(shared.rpartition(":")[2])
        request = get("/admin/", host="partners.example.net")

        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            send(port, request, name="partners.example.net", version=_OLD[0], ciphers=client.OLD)


def test_pages_get_no_certificate_and_no_claim_of_one(edge: Edge, phones: Phones) -> None:
    lines = ["Client-Cert: :AAAA:", "X-Client-Cert-Escaped: forged", "Client_Cert: x", "X-Forwarded-For: 203.0.113.7"]
    request = get("/api/v1/devices/", *lines, host="partners.example.net")

    answer = send(edge.ports["partners"], request, phones.good.pem, name="partners.example.net")

    names = {name.replace("_", "-") for name, _ in answer.arrived["headers"]}
    assert not names & {"client-cert", "x-client-cert-escaped"}
    assert answer.arrived_as("x-forwarded-for") == ["127.0.0.1"]


def test_figures_for_the_operator_are_not_on_the_pages_server(edge: Edge) -> None:
    request = get("/metrics", host="partners.example.net")

    assert send(edge.ports["partners"], request, name="partners.example.net").status == 404


def test_phones_and_pages_can_share_an_address(tmp_path: Path, server_certificate: tuple[Path, Path]) -> None:
    """As the containers and the units have it: told apart by the name, phones without one among them."""
    tmp_path.chmod(0o755)
    shared = f"127.0.0.1:{nginx.free_port()}"
    port = int(shared.rpartition(":")[2])
    with (
        upstream.echo() as address,
        nginx.running(
            tmp_path, upstreams={"door": address, "web": address}, certificate=server_certificate,
            PHONES_LISTEN=shared, PARTNERS_LISTEN=shared,
        ),
    ):  # fmt: skip
        page, query = get("/admin/", host="partners.example.net"), get(_QUERY, host="phones.example.net")
        statuses = {
            "page": send(port, page, name="partners.example.net").status,
            "page asked of the phones' name": send(port, get("/admin/"), name="phones.example.net").status,
            "query": send(port, query, name="phones.example.net").status,
            "query without a name": send(port, get(_QUERY, host="webapps.example.org"), name="").status,
            # No client certificate was asked for on this connection, so nothing is answered to it.
            "query on the pages' connection": send(port, query, name="partners.example.net").status,
        }

    assert statuses == {
        "page": 200,
        "page asked of the phones' name": 404,
        "query": 200,
        "query without a name": 200,
        "query on the pages' connection": 421,
    }
