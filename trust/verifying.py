"""Is a phone's certificate one that a loaded authority vouches for, is it in time, was it revoked?

The library's verifier for clients does the work. Manufacturers' certificates break rules of the web that it keeps by
default (no subjectAltName, no key identifiers, extended key usage for servers), so its extension policies are the
permissive ones. What it leaves to us, or refuses where it must be possible:

    key size      not checked there: RSA below 2048 bits is refused here, and curves below 256
    SHA-1         refused there: OpenSSL's own verifier takes it, for the roots alone that the operator allowed it for,
                  and the result is marked weak
    expiry        a verdict of its own: the chain is checked at a time at which it was valid
    revocation    the lists that the operator loaded, for every certificate of the chain

The library calls this interface unstable; it is used nowhere else. Which chains pass is a table in the tests.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from threading import Lock
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from trust import certificates
from trust.certificates import GENERIC, UnreadableCertificate
from trust.identity import Certified, Shown, Verdict

logger = logging.getLogger(__name__)

LEAST_RSA_BITS = 2048
LEAST_CURVE_BITS = 256
# Root, two intermediates and the phone is the longest chain known; the library's own limit is 8.
_MAX_CHAIN = 8
# Results a process remembers: some megabytes. A phone asks a few times in its life, mostly within minutes.
MOST_REMEMBERED = 4096
# A list of revoked certificates may be larger than a certificate.
MAX_LIST_OCTETS = 4 * 1024 * 1024


class Authority(NamedTuple):
    """A manufacturer's authority that the operator loaded: its certificate (DER)."""

    certificate: bytes
    allows_sha1: bool = False


class Authorities(NamedTuple):
    """Everything that certificates are checked against. `stamp` differs whenever anything of it does.

    `revocations` are pairs: the mark of the authority that gave out a list, and the list (DER).
    """

    stamp: bytes
    certificates: tuple[Authority, ...] = ()
    revocations: tuple[tuple[bytes, bytes], ...] = ()


NO_AUTHORITIES = Authorities(b"")


def mark_of(certificate: x509.Certificate) -> bytes:
    """By what revocation lists find the authority: its name and its key, which renewed certificates of it share."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(certificate.subject.public_bytes() + key).digest()


def is_strong(certificate: x509.Certificate) -> bool:
    """Whether its key is large enough to be believed."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= LEAST_RSA_BITS
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.key_size >= LEAST_CURVE_BITS
    return isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)


def is_root(certificate: x509.Certificate) -> bool:
    """Whether it is an end of chains: its own issuer. Others only help to build them."""
    return certificate.issuer == certificate.subject


class Verifier:
    """Checks certificates against one set of authorities; made once for each set, since reading them takes a while."""

    def __init__(self, authorities: Authorities) -> None:
        self._roots: list[tuple[x509.Certificate, bool]] = []
        self._intermediates: list[x509.Certificate] = []
        for authority in authorities.certificates:
            try:
                certificate = certificates.load(authority.certificate)
            except UnreadableCertificate:
                # It was readable when it was loaded: another version of the library, perhaps.
                logger.error("A loaded authority's certificate cannot be read any more; it vouches for nobody.")
                continue
            if is_root(certificate):
                self._roots.append((certificate, authority.allows_sha1))
            else:
                self._intermediates.append(certificate)
        self._store = Store([root for root, _ in self._roots]) if self._roots else None
        self._revocations: dict[bytes, list[x509.CertificateRevocationList]] = {}
        for mark, der in authorities.revocations:
            try:
                self._revocations.setdefault(mark, []).append(x509.load_der_x509_crl(der))
            except (ValueError, Warning):
                logger.error("A loaded revocation list cannot be read any more; it revokes nothing.")

    def verify(self, der: bytes, *, at: float) -> Shown:
        """The verdict on a certificate (DER) at `at` (epoch seconds). Raises nothing."""
        fingerprint = hashlib.sha256(der).hexdigest()
        try:
            leaf = certificates.load(der)
        except UnreadableCertificate:
            return Shown(fingerprint, Verdict.UNREADABLE, GENERIC)
        subject = certificates.subject_of(leaf)
        if not is_strong(leaf):
            return Shown(fingerprint, Verdict.WEAK_KEY, subject)
        begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
        if at < begins:
            return Shown(fingerprint, Verdict.NOT_YET_VALID, subject, until=begins)
        found = self._chain(leaf, at) if at <= ends else None
        verdict = Verdict.VALID
        if found is None:
            # Its own end first: an authority mostly outlives what it signs. Its beginning for one that did not.
            verdict = Verdict.EXPIRED
            found = self._chain(leaf, ends) if at > ends else None
            found = found or self._chain(leaf, begins)
        if found is None:
            return Shown(fingerprint, Verdict.UNTRUSTED, subject)
        chain, weak = found
        if not all(map(is_strong, chain)):
            return Shown(fingerprint, Verdict.WEAK_KEY, subject)
        if self._is_revoked(chain):
            return Shown(fingerprint, Verdict.REVOKED, subject)
        since, until = _validity(chain)
        if verdict is Verdict.EXPIRED:
            since, until = until, float("inf")
        certified = None
        if subject.mac is not None:
            expired = verdict is Verdict.EXPIRED
            certified = Certified(subject.mac, subject.serial, subject.model, expired, weak, fingerprint)
        return Shown(fingerprint, verdict, subject, weak, since, until, certified)

    def _chain(self, leaf: x509.Certificate, at: float) -> tuple[list[x509.Certificate], bool] | None:
        """The chain from the certificate to its root, valid at `at`, and whether only SHA-1 holds it together."""
        moment = datetime.fromtimestamp(at, UTC)
        if self._store is None:
            return None
        policy = PolicyBuilder().store(self._store).time(moment).max_chain_depth(_MAX_CHAIN)
        policy = policy.extension_policies(ca_policy=_CA_POLICY, ee_policy=ExtensionPolicy.permit_all())
        try:
            return list(policy.build_client_verifier().verify(leaf, self._intermediates).chain), False
        except (VerificationError, ValueError):
            pass
        chain = self._chain_by_sha1(leaf, moment)
        return (chain, True) if chain else None

    def _chain_by_sha1(self, leaf: x509.Certificate, moment: datetime) -> list[x509.Certificate] | None:
        roots = [root for root, allows_sha1 in self._roots if allows_sha1]
        if not roots or not any(map(_is_sha1, (leaf, *self._intermediates))):
            return None
        # Loaded only here: few need it.
        from OpenSSL import crypto

        store = crypto.X509Store()
        for root in roots:
            store.add_cert(crypto.X509.from_cryptography(root))
        store.set_time(moment)
        others = [crypto.X509.from_cryptography(certificate) for certificate in self._intermediates]
        try:
            context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), others)
            found = [certificate.to_cryptography() for certificate in context.get_verified_chain()]
        except (crypto.X509StoreContextError, crypto.Error, ValueError):
            return None
        # What is refused for anything else than SHA-1 stays refused, and nothing older than it is believed.
        signed = found[:-1]
        return (
            found
            if any(map(_is_sha1, signed)) and all(_signature_hash(one) in _SHA1_OR_BETTER for one in signed)
            else None
        )

    def _is_revoked(self, chain: Sequence[x509.Certificate]) -> bool:
        if not self._revocations:
            return False
        for certificate, issuer in pairwise(chain):
            for revoked in self._revocations.get(mark_of(issuer), ()):
                if revoked.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                    return True
        return False


# The library insists on knowing this of an authority, and so do we; everything else may be as the manufacturer has it.
def _must_be_authority(
    policy: verification.Policy, certificate: x509.Certificate, extension: x509.BasicConstraints
) -> None:
    if not extension.ca:
        raise ValueError("no authority")


_CA_POLICY = ExtensionPolicy.permit_all().require_present(
    x509.BasicConstraints, Criticality.AGNOSTIC, _must_be_authority
)

# "" stands for signatures that hash by themselves, as Ed25519.
_SHA1_OR_BETTER = {"", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"}


def _signature_hash(certificate: x509.Certificate) -> str:
    """The name of the hash that its signature is made with."""
    try:
        used = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "unknown"
    return used.name if used else ""


def _is_sha1(certificate: x509.Certificate) -> bool:
    return _signature_hash(certificate) == "sha1"


def _validity(chain: Iterable[x509.Certificate]) -> tuple[float, float]:
    """From when to when all of them are valid (epoch seconds)."""
    begins, ends = zip(
        *((one.not_valid_before_utc.timestamp(), one.not_valid_after_utc.timestamp()) for one in chain), strict=True
    )
    return max(begins), min(ends)


class Memory:
    """Remembers verdicts by certificate, so that a second query costs no second verification; for all threads.

    Everything is forgotten when the authorities change, and what is used least when there is too much of it.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._lock = Lock()
        self._verifier: tuple[bytes, Verifier] | None = None
        self._shown: OrderedDict[bytes, Shown] = OrderedDict()
        # How many certificates were really checked.
        self.verifications = 0

    def verify(self, der: bytes, authorities: Authorities, *, at: float) -> Shown:
        """The verdict on a certificate (DER) by these authorities at `at` (epoch seconds). Raises nothing."""
        key = hashlib.sha256(der).digest()
        with self._lock:
            if self._verifier is None or self._verifier[0] != authorities.stamp:
                self._verifier = (authorities.stamp, Verifier(authorities))
                self._shown.clear()
            stamp, verifier = self._verifier
            shown = self._shown.get(key)
            if shown is not None and shown.since <= at <= shown.until:
                self._shown.move_to_end(key)
                return shown
        # Outside the lock: of two phones that come at once, neither waits for the other's signatures.
        shown = verifier.verify(der, at=at)
        with self._lock:
            self.verifications += 1
            if self._verifier is not None and self._verifier[0] == stamp:
                self._shown[key] = shown
                self._shown.move_to_end(key)
                while len(self._shown) > self._most:
                    self._shown.popitem(last=False)
        return shown
