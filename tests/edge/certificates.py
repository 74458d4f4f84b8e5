"""Certificates for the edge's tests: of the server, and of phones good and bad. All keys are small to be quick."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, as objects and as files that hold both."""

    certificate: x509.Certificate
    key: Key
    pem: Path

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


def name(**parts: str) -> x509.Name:
    """`name(CN="…", OU="…", S="…")`; S is the surname, as in the phones' documented layout."""
    oids = {
        "CN": NameOID.COMMON_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME, "L": NameOID.LOCALITY_NAME,
        "S": NameOID.SURNAME, "O": NameOID.ORGANIZATION_NAME,
    }  # fmt: skip
    return x509.Name([x509.NameAttribute(oids[part], value) for part, value in parts.items()])


def issue(
    home: Path,
    subject: x509.Name,
    *,
    by: Issued | None = None,
    key: Key | None = None,
    days: tuple[int, int] = (-1, 365),
    hosts: tuple[str, ...] = (),
    padding: int = 0,
) -> Issued:
    """A certificate by an authority, or by itself; valid for these days from now; `padding` octets more."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    issuer, signer = (by.certificate.subject, by.key) if by else (subject, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * _DAY)
        .not_valid_after(now + days[1] * _DAY)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), False)
    if padding:
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, b"\x04" * padding), False)
    return write(home, builder.sign(signer, hashes.SHA256()), key)


def write(home: Path, certificate: x509.Certificate, key: Key) -> Issued:
    """Keep certificate and key in one file."""
    home.mkdir(exist_ok=True)
    pem = home / f"{certificate.serial_number:x}.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Issued(certificate, key, pem)
