"""A manufacturer of phones in software: its authorities, and the certificates that it puts into phones.

For tests, the virtual phone and the demonstration. Nobody should believe it: its keys lie in files.

    MPP, SPA      OU=CP-8841-3PCC, L=88012BA01234, S=000e08abcdef
    enterprise    serialNumber=PID:CP-8861 SN:FCH2133E8B9, O, OU=CTG, CN=CP-8861-SEP2C3124C9F8E1
    generic       OU=CP-8841-3PCC: no phone is named

Source: protocol 4.1 (Cisco's guides and logs).
"""

import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Of the enterprise layout; others have nothing but the phone in their names.
_MAKER = "Cisco Systems Inc."
MPP, MPP_SURNAME, ENTERPRISE, GENERIC = "mpp", "mpp-surname", "enterprise", "generic"
LAYOUTS = (MPP, MPP_SURNAME, ENTERPRISE, GENERIC)

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_DAY = timedelta(days=1)


def new_key(kind: str = "ec-256") -> Key:
    """A private key: `ec-256`, `rsa-1024`, `rsa-2048`, …"""
    family, _, size = kind.partition("-")
    if family == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=int(size))


def subject(layout: str, *, mac: str, model: str, serial: str) -> x509.Name:
    """The subject of a phone's certificate."""
    pairs: list[tuple[x509.ObjectIdentifier, str]] = {
        MPP: [
            (NameOID.ORGANIZATIONAL_UNIT_NAME, model), (NameOID.LOCALITY_NAME, serial),
            (NameOID.STATE_OR_PROVINCE_NAME, mac.lower()),
        ],
        MPP_SURNAME: [
            (NameOID.ORGANIZATIONAL_UNIT_NAME, model), (NameOID.LOCALITY_NAME, serial),
            (NameOID.SURNAME, mac.lower()),
        ],
        ENTERPRISE: [
            (NameOID.SERIAL_NUMBER, f"PID:{model} SN:{serial}"), (NameOID.ORGANIZATION_NAME, _MAKER),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "CTG"), (NameOID.COMMON_NAME, f"{model}-SEP{mac.upper()}"),
        ],
        GENERIC: [(NameOID.ORGANIZATIONAL_UNIT_NAME, model)],
    }[layout]  # fmt: skip
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs if value])


@dataclass(frozen=True)
class Issued:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: Key

    @cached_property
    def der(self) -> bytes:
        """The certificate's octets."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        """The certificate as text."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """The private key as text."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def issue(
        self,
        name: x509.Name | str,
        *,
        key: Key | None = None,
        begins: datetime | None = None,
        ends: datetime | None = None,
        ca: bool = False,
        path_length: int | None = None,
        extended_use: Any = None,
        alternative: x509.SubjectAlternativeName | None = None,
        key_identifiers: bool = True,
        sha1: bool = False,
    ) -> "Issued":
        """A certificate signed by this one, for a phone or (`ca`) for another authority."""
        key = key or new_key()
        made = _build(
            name, key=key, issuer=self.certificate, issuer_key=self.key, begins=begins, ends=ends, ca=ca,
            path_length=path_length, extended_use=extended_use, alternative=alternative,
            key_identifiers=key_identifiers,
        )  # fmt: skip
        issued = Issued(made, key)
        return issued.signed_with_sha1(self) if sha1 else issued

    def issue_phone(
        self, layout: str, *, mac: str, model: str = "CP-8841-3PCC", serial: str = "FCH2133E8B9", **over: Any
    ) -> "Issued":
        """A phone's certificate in one of the LAYOUTS."""
        return self.issue(subject(layout, mac=mac, model=model, serial=serial), **over)

    def revoke(self, *revoked: x509.Certificate, at: datetime | None = None, lasts: timedelta = 30 * _DAY) -> bytes:
        """A revocation list (DER) of this authority that names these certificates."""
        at = at or datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(at).next_update(at + lasts)
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(at)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def signed_with_sha1(self, issuer: "Issued") -> "Issued":
        """The same certificate signed with SHA-1, which the library refuses to make: by the openssl command."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "request.pem").write_bytes(self._request().public_bytes(Encoding.PEM))
            (folder / "issuer.pem").write_text(issuer.pem)
            (folder / "issuer.key").write_text(issuer.key_pem)
            key = ["-signkey", "issuer.key"] if issuer is self else ["-CA", "issuer.pem", "-CAkey", "issuer.key"]
            ends = self.certificate.not_valid_after_utc - datetime.now(UTC)
            done = subprocess.run(  # noqa: S603  (a command of our own)
                ["openssl", "x509", "-req", "-in", "request.pem", *key, "-sha1", "-copy_extensions", "copyall",  # noqa: S607
                 "-set_serial", str(self.certificate.serial_number), "-days", str(max(1, ends.days)),
                 "-out", "signed.pem"],
                cwd=folder, capture_output=True, text=True, timeout=30,
            )  # fmt: skip
            if done.returncode:
                raise OSError(f"openssl cannot sign: {done.stderr.strip()}")
            made = x509.load_pem_x509_certificate((folder / "signed.pem").read_bytes())
        return Issued(made, self.key)

    def _request(self) -> x509.CertificateSigningRequest:
        """A request for the same certificate."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(self.certificate.subject)
        for extension in self.certificate.extensions:
            builder = builder.add_extension(extension.value, critical=extension.critical)
        return builder.sign(self.key, hashes.SHA256())

    def save(self, folder: Path, name: str) -> None:
        """Keep the certificate as NAME.pem and the key as NAME.key, which nobody else may read."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.pem").write_text(self.pem)
        key = folder / f"{name}.key"
        key.touch(mode=0o600)
        key.write_text(self.key_pem)

    @classmethod
    def root(
        cls,
        name: str = "Virtual Phone Manufacturing CA",
        *,
        key: Key | None = None,
        begins: datetime | None = None,
        ends: datetime | None = None,
        **over: Any,
    ) -> Self:
        """A manufacturer's root, twenty years old, valid for ten more."""
        key = key or new_key()
        now = datetime.now(UTC)
        made = _build(
            name, key=key, issuer=None, issuer_key=key, begins=begins or now - 7300 * _DAY,
            ends=ends or now + 3650 * _DAY, ca=True, **over,
        )  # fmt: skip
        return cls(made, key)


def load_or_make(folder: Path, name: str) -> Issued:
    """The authority that is kept in a folder; made there if there is none yet. Raises OSError, ValueError."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    if not certificate.exists():
        made = Issued.root()
        made.save(folder, name)
        return made
    private = load_pem_private_key(key.read_bytes(), None)
    if not isinstance(private, Key):
        raise ValueError(f"{key} is no RSA or EC key.")
    return Issued(x509.load_pem_x509_certificate(certificate.read_bytes()), private)


def _build(
    name: x509.Name | str,
    *,
    key: Key,
    issuer: x509.Certificate | None,
    issuer_key: Key,
    begins: datetime | None,
    ends: datetime | None,
    ca: bool,
    path_length: int | None = None,
    extended_use: Any = None,
    alternative: x509.SubjectAlternativeName | None = None,
    key_identifiers: bool = True,
    key_usage: bool = True,
    critical: bool = True,
) -> x509.Certificate:
    if isinstance(name, str):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins or min(now, ends or now) - 365 * _DAY)
        .not_valid_after(ends or now + 3650 * _DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=critical)
    )
    if ca and key_usage:
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    if key_identifiers:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    if extended_use is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([extended_use]), critical=False)
    if alternative is not None:
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


FOR_CLIENTS, FOR_SERVERS = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
