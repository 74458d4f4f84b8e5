"""The door under its real server behind the real nginx: what it decides for phones with every kind of certificate."""

import base64
import hashlib
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from redirect.directory import authority_item
from tests.edge import certificates, nginx
from tests.edge.client import OLD, Answer, get, send
from tests.redirect import doors
from virtualphone.manufacturer import ENTERPRISE, GENERIC, MPP, Issued

_STRICT_MAC = doors.REFUSED["certificate required"]
_LENIENT, _LENIENT_MAC = 21, "00562B0000D1"
_AGO = datetime.now(UTC) - timedelta(days=100)


@dataclass(frozen=True)
class Place:
    """nginx and the door behind it."""

    port: int
    data: Path
    root: Issued
    files: Path

    def show(self, issued: Issued | None, mac: str = _STRICT_MAC, *lines: str, ciphers: str = "") -> Answer:
        """One query for `mac` with a certificate, or without."""
        shown = None
        if issued is not None:
            shown = self.files / f"{hashlib.sha256(issued.der).hexdigest()}.pem"
            shown.write_text(issued.pem + issued.key_pem)
        query = get(f"{doors.EDOS}?id={mac}:{doors.SERIAL}:{doors.MODEL}&sw=12.0.1", *lines)
        return send(self.port, query, shown, ciphers=ciphers)

    def last(self) -> dict:
        """What the door wrote down of the last request."""
        return doors.journal_lines(self.data)[-1]


@contextmanager
def _door(data: Path, *address: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    started = doors.StartedDoor(data, **environment)
    with started.log.open("ab") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "granian"), "--interface", "wsgi", "--http", "1", "--no-ws", *address,
             "--workers", "1", "--blocking-threads", "1", "--workers-kill-timeout", "2", "--log-level", "error",
             "config.door_alone:application"],
            env=started._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    started.process = process
    try:
        yield process
    finally:
        started.stop(signal.SIGTERM)


def _wait_for(port: int) -> None:
    def answers() -> bool:
        return send(port, get("/healthz")).status == 200

    doors.wait_until(answers, what="the door behind nginx")


@pytest.fixture(scope="module")
def root() -> Issued:
    return Issued.root()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, root: Issued) -> Path:
    key, value = doors.profile(_LENIENT, identity="required")
    accepting_expired = key, value[:-1] + b",true]"
    digest = hashlib.sha256(root.der).digest()
    return doors.build(
        tmp_path_factory.mktemp("door"),
        [
            *doors.entries(),
            accepting_expired,
            doors.device(_LENIENT_MAC, profile=_LENIENT),
            authority_item(1, digest, root.der, allows_sha1=False),
        ],
    )


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, data: Path, root: Issued, server_certificate: tuple[Path, Path]
) -> Iterator[Place]:
    """The door on a Unix socket, as the systemd units have it: whoever speaks there is nginx."""
    home = tmp_path_factory.mktemp("behind")
    home.chmod(0o755)
    socket = home / "door.sock"
    with (
        _door(data, "--uds", str(socket), "--uds-permissions", "0o600"),
        nginx.running(
            home, upstreams={"door": f"unix:{socket}", "web": f"unix:{socket}"}, certificate=server_certificate
        ) as edge,
    ):
        _wait_for(edge.ports["phones"])
        yield Place(edge.ports["phones"], data, root, home)


@pytest.mark.parametrize("layout", [ENTERPRISE, MPP])
def test_a_phone_with_its_own_certificate_is_redirected(place: Place, layout: str) -> None:
    answer = place.show(place.root.issue_phone(layout, mac=_STRICT_MAC))

    assert b"Profile_Rule" in answer.body
    assert (place.last()["identity"], place.last()["certificate"]["verdict"]) == ("certificate", "valid")
    assert place.last()["from"] == "127.0.0.1"


@pytest.mark.parametrize(("mac", "redirected"), [(_STRICT_MAC, False), (_LENIENT_MAC, True)])
def test_of_an_expired_certificate_the_profile_decides(place: Place, mac: str, redirected: bool) -> None:
    answer = place.show(place.root.issue_phone(MPP, mac=mac, ends=_AGO), mac)

    assert answer.status == 200
    assert (b"Profile_Rule" in answer.body) == redirected
    assert (place.last()["identity"], place.last()["certificate"]["verdict"]) == ("expired", "expired")


def test_refused_certificates_are_answered_as_none_is(place: Place) -> None:
    without = place.show(None)
    shown = {
        "untrusted": Issued.root("Foreign").issue_phone(MPP, mac=_STRICT_MAC),
        "valid": place.root.issue_phone(MPP, mac="00562B043616"),
        "generic": place.root.issue_phone(GENERIC, mac=_STRICT_MAC),
    }

    for issued in shown.values():
        answer = place.show(issued)
        assert (answer.status, answer.body) == (without.status, without.body) == (200, b"")
        assert place.last()["identity"] == "none"


def test_a_certificate_signed_with_sha1_is_no_proof_unless_its_root_allows_it(place: Place) -> None:
    answer = place.show(place.root.issue_phone(MPP, mac=_STRICT_MAC, sha1=True), ciphers=OLD)

    assert (answer.status, answer.body) == (200, b"")
    assert place.last()["identity"] == "none"


def test_what_a_phone_writes_into_the_headers_proves_nothing(place: Place) -> None:
    stolen = place.root.issue_phone(MPP, mac=_STRICT_MAC)
    plain = f":{base64.b64encode(stolen.der).decode()}:"
    escaped = urllib.parse.quote(stolen.pem, safe="")

    for lines in (
        [f"Client-Cert: {plain}"],
        [f"Client_Cert: {plain}"],
        [f"X-Client-Cert-Escaped: {escaped}"],
        [f"Client-Cert: {plain}", f"X-Client-Cert-Escaped: {escaped}"],
    ):
        answer = place.show(None, _STRICT_MAC, *lines)
        assert (answer.status, answer.body) == (200, b"")
        assert place.last()["identity"] == "none"
        assert "certificate" not in place.last()


def test_a_certificate_of_60_kib_is_refused_by_the_door(place: Place) -> None:
    issued = certificates.issue(place.files / "large", certificates.name(S=_STRICT_MAC), padding=60_000)
    query = get(f"{doors.EDOS}?id={_STRICT_MAC}")

    assert send(place.port, query, issued.pem).status == 400


def test_a_door_that_was_killed_takes_its_socket_again(
    tmp_path: Path, data: Path, server_certificate: tuple[Path, Path]
) -> None:
    tmp_path.chmod(0o755)
    socket = tmp_path / "door.sock"
    with nginx.running(
        tmp_path, upstreams={"door": f"unix:{socket}", "web": f"unix:{socket}"}, certificate=server_certificate
    ) as edge:
        for _ in range(2):
            # As the systemd units do: what a killed one left is in the way of the next.
            socket.unlink(missing_ok=True)
            with _door(data, "--uds", str(socket), "--uds-permissions", "0o600") as process:
                _wait_for(edge.ports["phones"])
                assert oct(socket.stat().st_mode)[-3:] == "600"
                process.kill()


@pytest.mark.parametrize(("trusted", "believed"), [("127.0.0.1/32", True), ("192.0.2.0/24", False), (None, False)])
def test_over_tcp_nginx_is_believed_as_a_trusted_proxy_only(
    tmp_path: Path,
    data: Path,
    root: Issued,
    server_certificate: tuple[Path, Path],
    trusted: str | None,
    believed: bool,
) -> None:
    tmp_path.chmod(0o755)
    port = nginx.free_port()
    address = f"127.0.0.1:{port}"
    environment = {} if trusted is None else {"TRUSTED_PROXIES": trusted}
    with (
        _door(data, "--host", "127.0.0.1", "--port", str(port), **environment),
        nginx.running(tmp_path, upstreams={"door": address, "web": address}, certificate=server_certificate) as edge,
    ):
        _wait_for(edge.ports["phones"])
        answer = Place(edge.ports["phones"], data, root, tmp_path).show(root.issue_phone(MPP, mac=_STRICT_MAC))

    assert (b"Profile_Rule" in answer.body) == believed
