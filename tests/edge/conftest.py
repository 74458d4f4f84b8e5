"""One nginx for all tests of the edge, in front of a server that answers with what it was sent."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.edge import certificates, nginx, upstream
from tests.edge.certificates import Issued
from tests.edge.nginx import Edge

_HOSTS = tuple(f"{name}.example.net" for name in ("phones", "partners", "legacy"))
_PHONE = {"OU": "CP-8841-3PCC", "L": "88012BA01234", "S": "00562b043615"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without nginx nothing here can be tested; the reason stands in the summary."""
    here = Path(__file__).parent
    if nginx.PROGRAM is None:
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="nginx is not installed: `make test` as root installs it"))


@dataclass(frozen=True)
class Phones:
    """Certificates that phones show, each a file with its key."""

    good: Issued
    expired: Issued
    not_yet_valid: Issued
    by_nobody: Issued
    generic: Issued
    weak: Issued
    large: Issued
    sha1: Path


@pytest.fixture(scope="session")
def server_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key of all servers; RSA, since old firmware knows nothing else."""
    home = tmp_path_factory.mktemp("server")
    issued = certificates.issue(
        home, certificates.name(CN=_HOSTS[0]), key=rsa.generate_private_key(65537, 2048), hosts=_HOSTS
    )
    return issued.pem, issued.pem


@pytest.fixture(scope="session")
def phones(tmp_path_factory: pytest.TempPathFactory) -> Phones:
    """One phone's certificates, good and bad."""
    home = tmp_path_factory.mktemp("phones")
    root = certificates.issue(home, certificates.name(CN="Manufacturing CA"))
    subject = certificates.name(**_PHONE)
    return Phones(
        good=certificates.issue(home, subject, by=root),
        expired=certificates.issue(home, subject, by=root, days=(-4000, -30)),
        not_yet_valid=certificates.issue(home, subject, by=root, days=(30, 60)),
        by_nobody=certificates.issue(home, subject),
        generic=certificates.issue(home, certificates.name(O="Cisco", CN="generic"), by=root),
        weak=certificates.issue(home, subject, by=root, key=rsa.generate_private_key(65537, 1024)),
        large=certificates.issue(home, subject, by=root, padding=60_000),
        sha1=_sha1(home / "sha1"),
    )


def _sha1(home: Path) -> Path:
    """Issued by an authority with SHA-1, which the library no longer signs with."""
    home.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=home, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=old",
            "-sha1")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "request", "-subj", "/CN=phone")
    openssl("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-sha1",
            "-out", "pem")  # fmt: skip
    with (home / "both").open("wb") as both:
        for name in ("pem", "key"):
            both.write((home / name).read_bytes())
    return home / "both"


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory, server_certificate: tuple[Path, Path]) -> Iterator[Edge]:
    """nginx with every server it can have, in front of an echo."""
    home = tmp_path_factory.mktemp("edge")
    # Its workers may run as another user.
    home.chmod(0o755)
    with (
        upstream.echo() as address,
        nginx.running(
            home, upstreams={"door": address, "web": address}, certificate=server_certificate, legacy="1"
        ) as running,
    ):
        yield running
    shutil.rmtree(home, ignore_errors=True)
