"""The operator's authorities and revocation lists: load, list, remove. The doors hear of each change at once.

What is loaded is checked, since all phones below it will be believed: an authority's certificate, with a key that is
large enough, in time, and none of the authorities that everybody can get a certificate from. (A redirection service
that took any certificate was CVE-2025-52919.)
"""

import hashlib
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from django.db import IntegrityError, transaction

from accounts import auditing
from accounts.actors import Actor
from onboarding.errors import OnboardingError
from trust import certificates, verifying
from trust.models import Authority, RevocationList
from trust.verifying import Authorities, is_root, is_strong, mark_of

# All doors read all of them whenever one changes; the largest manufacturers have about ten.
MOST_AUTHORITIES = 200
# So long before its end an authority is named among those that expire.
WARNING_TIME = timedelta(days=90)


class InvalidAuthority(OnboardingError):
    """The certificate is none that phones may be believed by."""

    code = "invalid_authority"
    remedy = "Load the manufacturer's own root or intermediate certificate, as PEM or DER."


class AuthorityKnown(OnboardingError):
    """The certificate, or another of that name, is loaded already."""

    code = "authority_known"
    remedy = "Remove the other one first, or choose another name."


class UnknownAuthority(OnboardingError):
    """No authority goes by this name."""

    code = "unknown_authority"
    remedy = "List the authorities to see what they are called."


class InvalidRevocationList(OnboardingError):
    """The file is no revocation list of a loaded authority."""

    code = "invalid_revocation_list"
    remedy = "Load the list that the authority gives out, as PEM or DER, after the authority itself."


def add(*, actor: Actor, name: str, content: bytes, allows_sha1: bool = False, at: datetime) -> Authority:
    """Load an authority's certificate (PEM or DER); an empty `name` takes the certificate's own.

    Raises InvalidAuthority, AuthorityKnown, and what `certificates.decode` raises.
    """
    der = certificates.decode(content)
    certificate = certificates.load(der)
    _check(certificate, der, at=at)
    name = name.strip() or _name_of(certificate)
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise InvalidAuthority("A name has 1 to 80 printable characters.", field="name", remedy="Choose another name.")
    root = is_root(certificate)
    if allows_sha1 and not root:
        raise InvalidAuthority(
            "SHA-1 is allowed by a chain's root, and this is an intermediate authority.",
            field="allows_sha1",
            remedy="Allow it for the root above it.",
        )
    if Authority.objects.all()[:MOST_AUTHORITIES].count() >= MOST_AUTHORITIES:
        raise InvalidAuthority(f"There are {MOST_AUTHORITIES} authorities already.", remedy="Remove one first.")
    fingerprint = hashlib.sha256(der).hexdigest()
    try:
        with transaction.atomic():
            row = Authority.objects.create(
                name=name, certificate=der, fingerprint=fingerprint, mark=mark_of(certificate).hex(), is_root=root,
                allows_sha1=allows_sha1, expires_at=certificate.not_valid_after_utc, added_at=at,
                added_by=actor.name[:160],
            )  # fmt: skip
            auditing.record(
                actor, organization_id=None, action="authority.added", subject=f"Authority {name}", at=at,
                after=_told(row), thing=f"authority:{row.pk}",
            )  # fmt: skip
            return row
    except IntegrityError as error:
        raise AuthorityKnown(f"{name!r} is loaded already, by its name or by its certificate.", field="name") from error


def _check(certificate: x509.Certificate, der: bytes, *, at: datetime) -> None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError, UnsupportedAlgorithm):
        constraints = None
    if constraints is None or not constraints.ca:
        raise InvalidAuthority("The certificate is no authority's: it may not sign others.", field="certificate")
    if not is_strong(certificate):
        raise InvalidAuthority(
            "The authority's key is too small: RSA has at least 2048 bits, a curve 256.",
            field="certificate",
            remedy="Ask the manufacturer for its present authority; what this one signed can be forged.",
        )
    if certificate.not_valid_before_utc > at:
        raise InvalidAuthority("The certificate is not valid yet.", field="certificate")
    # An expired one may be loaded: phones below it have expired too, and a profile may accept them.
    if hashlib.sha256(der).hexdigest() in _public_authorities():
        raise InvalidAuthority(
            "This is a public authority: anybody can get a certificate from it that names any phone.",
            field="certificate",
        )
    if is_root(certificate):
        try:
            certificate.verify_directly_issued_by(certificate)
        except Exception as error:  # whatever it is, it did not sign itself; the library has no common base for these
            raise InvalidAuthority("The root's signature of itself is wrong.", field="certificate") from error


@lru_cache(maxsize=1)
def _public_authorities() -> frozenset[str]:
    """Fingerprints of what this machine trusts for the web."""
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    return frozenset(hashlib.sha256(der).hexdigest() for der in known)


def _name_of(certificate: x509.Certificate) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in certificate.subject.get_attributes_for_oid(oid):
            if isinstance(attribute.value, str):
                return attribute.value[:80].strip()
    return hashlib.sha256(certificate.subject.public_bytes()).hexdigest()[:16]


def _told(row: Authority) -> dict[str, object]:
    return {
        "name": row.name, "fingerprint": row.fingerprint, "allows_sha1": row.allows_sha1,
        "expires_at": row.expires_at.isoformat(),
    }  # fmt: skip


def get(name: str) -> Authority:
    """The authority of this name, or whose fingerprint begins so (at least 8 digits). Raises UnknownAuthority."""
    row = Authority.objects.filter(name=name).first()
    digits = name.replace(":", "").lower()
    if row is None and len(digits) >= 8:
        found = list(Authority.objects.filter(fingerprint__startswith=digits)[:2])
        row = found[0] if len(found) == 1 else None
    if row is None:
        raise UnknownAuthority(f"No authority is called {name!r}.", field="name")
    return row


def remove(authority: Authority, *, actor: Actor, at: datetime) -> None:
    """Believe this authority no longer. Its revocation list goes with the last certificate of it."""
    with transaction.atomic():
        deleted, _ = Authority.objects.filter(pk=authority.pk).delete()
        if not deleted:
            return
        if not Authority.objects.filter(mark=authority.mark).exists():
            RevocationList.objects.filter(mark=authority.mark).delete()
        auditing.record(
            actor, organization_id=None, action="authority.removed", subject=f"Authority {authority.name}", at=at,
            before=_told(authority), thing=f"authority:{authority.pk}",
        )  # fmt: skip


def load_revocations(*, actor: Actor, content: bytes, at: datetime) -> RevocationList:
    """Load the list of certificates that a loaded authority revoked (PEM or DER), instead of its former one.

    Raises InvalidRevocationList, also for a list older than the one that is loaded: it would forget revocations.
    """
    revoked = _read_list(content)
    issued_at, next_at = revoked.last_update_utc, revoked.next_update_utc
    if issued_at > at + timedelta(days=1):
        raise InvalidRevocationList("The list is from the future.")
    if next_at is not None and next_at < issued_at:
        raise InvalidRevocationList("The list ends before it begins.")
    authority = _issuer_of(revoked)
    der = revoked.public_bytes(Encoding.DER)
    values = {
        "issuer": authority.name, "content": der, "digest": hashlib.sha256(der).hexdigest(), "revoked": len(revoked),
        "issued_at": issued_at, "next_at": next_at, "added_at": at, "added_by": actor.name[:160],
    }  # fmt: skip
    with transaction.atomic():
        present = RevocationList.objects.select_for_update().filter(mark=authority.mark).first()
        if present is not None and present.issued_at > issued_at:
            raise InvalidRevocationList(
                f"A newer list of {authority.name} is loaded, from {present.issued_at:%Y-%m-%d %H:%M} UTC.",
                remedy="Load the authority's newest list.",
            )
        row, _ = RevocationList.objects.update_or_create(mark=authority.mark, defaults=values)
        auditing.record(
            actor, organization_id=None, action="revocations.loaded", subject=f"Authority {authority.name}", at=at,
            before={"revoked": present.revoked, "issued_at": present.issued_at.isoformat()} if present else {},
            after={"revoked": len(revoked), "issued_at": issued_at.isoformat()}, thing=f"authority:{authority.pk}",
        )  # fmt: skip
    return row


def _read_list(content: bytes) -> x509.CertificateRevocationList:
    if not 0 < len(content) <= verifying.MAX_LIST_OCTETS:
        raise InvalidRevocationList("The list is empty, or larger than 4 MiB.")
    try:
        if content.lstrip()[:11] == b"-----BEGIN ":
            revoked = x509.load_pem_x509_crl(content)
        else:
            revoked = x509.load_der_x509_crl(content)
        _ = revoked.issuer, len(revoked), revoked.last_update_utc
        kinds = {extension.oid for extension in revoked.extensions if extension.critical}
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.DuplicateExtension, Warning) as error:
        raise InvalidRevocationList("This is no revocation list.") from error
    # Delta lists, and lists for parts of an authority's certificates, are marked by critical extensions.
    if kinds:
        raise InvalidRevocationList(
            "This is a partial list, as its critical extensions say.", remedy="Load the authority's complete list."
        )
    return revoked


def _issuer_of(revoked: x509.CertificateRevocationList) -> Authority:
    """The loaded authority that signed a list."""
    # Few: at most MOST_AUTHORITIES.
    for row in Authority.objects.order_by("pk"):
        certificate = certificates.load(bytes(row.certificate))
        if certificate.subject == revoked.issuer and _is_signed_by(revoked, certificate):
            return row
    raise InvalidRevocationList("No loaded authority signed this list.")


def _is_signed_by(revoked: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    try:
        # The library takes fewer kinds of keys here than certificates have.
        return revoked.is_signature_valid(certificate.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def expiring(*, at: datetime) -> list[str]:
    """A sentence for each authority that expires soon or has, and for each list that is not renewed as promised."""
    warnings = []
    for row in Authority.objects.filter(expires_at__lt=at + WARNING_TIME).order_by("expires_at")[:MOST_AUTHORITIES]:
        verb = "expires" if row.expires_at >= at else "expired"
        warnings.append(
            f"The authority {row.name} {verb} on {row.expires_at.astimezone(UTC):%Y-%m-%d}: "
            "phones below it count as expired from then on. Load the manufacturer's next one."
        )
    for revoked in RevocationList.objects.filter(next_at__lt=at).order_by("next_at")[:MOST_AUTHORITIES]:
        warnings.append(
            f"The revocation list of {revoked.issuer} is out of date since {revoked.next_at:%Y-%m-%d}: "
            "what was revoked since is still believed. Load the newest list."
        )
    return warnings


def present(rows: Iterable[Authority] | None = None) -> Authorities:
    """Everything that certificates are checked against, from the registry; what the doors have in their directory."""
    rows = list(Authority.objects.order_by("pk")) if rows is None else list(rows)
    lists = list(RevocationList.objects.order_by("pk"))
    stamp = repr([(row.fingerprint, row.allows_sha1) for row in rows] + [row.digest for row in lists])
    return Authorities(
        hashlib.sha256(stamp.encode()).digest(),
        tuple(verifying.Authority(bytes(row.certificate), row.allows_sha1) for row in rows),
        tuple((bytes.fromhex(row.mark), bytes(row.content)) for row in lists),
    )
