"""What one source may send, what the edge says when nobody is behind it, and what its log keeps of a phone."""

import socket
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.edge import client, nginx
from tests.edge.client import get, send

_QUERY = "/software/edos/callhome/rc?id=00562B043615:88012BA01234:CP-8841-3PCC"


def _burst(port: int, requests: int) -> Counter[int]:
    """So many requests, 20 on each connection; how often each status came."""
    tls = client.context()
    statuses: Counter[int] = Counter()
    one = b"HEAD /software/edos/callhome/rc?id=00562B043615 HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(requests // 20):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            tls.wrap_socket(plain, server_hostname="phones.example.net") as connection,
        ):
            connection.sendall(one * 20)
            received = b""
            while part := connection.recv(65536):
                received += part
                if received.count(b"\r\n\r\n") == 20:
                    break
        statuses.update(int(line.split()[1]) for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 "))
    return statuses


def test_one_source_s_burst_is_passed_on_and_what_is_beyond_it_is_told_to_come_again(
    tmp_path: Path, server_certificate: tuple[Path, Path]
) -> None:
    tmp_path.chmod(0o755)
    with nginx.running(
        tmp_path, upstreams={"door": "127.0.0.1:9", "web": "127.0.0.1:9"}, certificate=server_certificate,
        REQUESTS_PER_SECOND="1", REQUESTS_AT_ONCE="100",
    ) as edge:  # fmt: skip
        began = time.monotonic()
        statuses = _burst(edge.ports["phones"], 200)
        seconds = time.monotonic() - began
        refused = send(edge.ports["phones"], get(_QUERY))

    # Nobody is behind it, so what is passed on is 503.
    assert 101 <= statuses[503] <= 101 + seconds + 1
    assert statuses[429] == 200 - statuses[503]
    assert refused.status == 429
    assert 10 < int(refused.headers["retry-after"]) < 30


def test_a_network_with_many_phones_can_be_excepted(tmp_path: Path, server_certificate: tuple[Path, Path]) -> None:
    tmp_path.chmod(0o755)
    with nginx.running(
        tmp_path, upstreams={"door": "127.0.0.1:9", "web": "127.0.0.1:9"}, certificate=server_certificate,
        REQUESTS_PER_SECOND="1", REQUESTS_AT_ONCE="100", UNLIMITED_NETWORKS="127.0.0.0/8 0;",
    ) as edge:  # fmt: skip
        assert _burst(edge.ports["phones"], 200) == {503: 200}


@pytest.mark.parametrize("server", ["phones", "partners"])
def test_where_nobody_is_behind_it_says_when_to_come_again(
    tmp_path: Path, server_certificate: tuple[Path, Path], server: str
) -> None:
    tmp_path.chmod(0o755)
    with nginx.running(
        tmp_path, upstreams={"door": "127.0.0.1:9", "web": "127.0.0.1:9"}, certificate=server_certificate
    ) as edge:
        name = f"{server}.example.net"
        answer = send(edge.ports[server], get(_QUERY, host=name), name=name)

    assert answer.status == 503
    assert 10 < int(answer.headers["retry-after"]) < 30


def test_the_log_holds_no_mac_no_serial_and_no_whole_address(
    tmp_path: Path, server_certificate: tuple[Path, Path]
) -> None:
    tmp_path.chmod(0o755)
    mac = "00562B043615"
    with nginx.running(
        tmp_path, upstreams={"door": "127.0.0.1:9", "web": "127.0.0.1:9"}, certificate=server_certificate
    ) as edge:
        send(edge.ports["phones"], get(_QUERY))
        send(edge.ports["phones"], get(f"/{mac}.cfg", f"Referer: {mac}", f"User-Agent: Cisco ({mac})"))
        for path in (f"/api/v1/devices/{mac}/", f"/api/v1/explain/?mac={mac}", f"/admin/login/new-password/MQ/{mac}/"):
            send(edge.ports["partners"], get(path, host="partners.example.net"), name="partners.example.net")

    log = edge.access_log()
    assert log.count("\n") >= 5
    assert "127.0.0.0/24" in log
    for secret in (mac, mac.lower(), "88012BA01234", "127.0.0.1"):
        assert secret not in log
