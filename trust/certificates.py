"""Reading the certificates that phones get from their makers: whom does it name?

Two layouts of the subject are known, and both are read (protocol 4.1):

    MPP, SPA      OU=CP-8841-3PCC, L=88012BA01234, S=000e08abcdef
                  model in OU, serial number in L, MAC in S, by which some mean surname and others state
    enterprise    serialNumber=PID:CP-8861 SN:FCH2133E8B9, …, CN=CP-8861-SEP2C3124C9F8E1
                  model and serial number in serialNumber, MAC at the end of CN

A certificate without a MAC is generic: a whole model line shares it. So is one that names two.
"""

import binascii
import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID, ObjectIdentifier

from onboarding.errors import OnboardingError
from onboarding.identifiers import InvalidMacAddress, MacAddress, ModelName, SerialNumber
from trust.identity import Subject

# Ten times what a manufacturer's certificate has.
MAX_OCTETS = 16 * 1024
_MAX_ATTRIBUTES = 32
_MAX_VALUE_LENGTH = 256

GENERIC = Subject(None, "", "")

_PEM = re.compile(
    rf"\s*-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]{{1,{MAX_OCTETS * 2}}})-----END CERTIFICATE-----\s*"
)
_PLAIN_MAC = re.compile(r"[0-9A-Fa-f]{12}")
_NAMED_PHONE = re.compile(r"(?:([0-9A-Za-z._+/-]{1,40})-)?SEP([0-9A-Fa-f]{12})")
_PRODUCT = re.compile(r"PID:([0-9A-Za-z._+/-]{1,40})\s+SN:([0-9A-Za-z]{1,32})")


class UnreadableCertificate(OnboardingError):
    """The octets are no certificate that can be read."""

    code = "unreadable_certificate"
    remedy = "Give one X.509 certificate of at most 16 KiB, as PEM or DER."


def decode_pem(text: str) -> bytes:
    """The DER octets of one PEM certificate and nothing else. Raises UnreadableCertificate."""
    found = _PEM.fullmatch(text) if len(text) <= 3 * MAX_OCTETS else None
    if found is None:
        raise UnreadableCertificate("This is not one PEM certificate.")
    # Twenty times as fast as a regular expression, for the same white space.
    return decode_base64("".join(found[1].split()))


def decode_base64(text: str) -> bytes:
    """Octets written as base64, at most MAX_OCTETS. Raises UnreadableCertificate."""
    try:
        # Several times as fast as `base64.b64decode` and as strict; a letter beyond ASCII is a ValueError.
        octets = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise UnreadableCertificate("The certificate is not base64.") from None
    if not 0 < len(octets) <= MAX_OCTETS:
        raise UnreadableCertificate("The certificate is empty, or larger than 16 KiB.")
    return octets


def decode(content: bytes) -> bytes:
    """The DER octets of a file that holds one certificate, PEM or DER. Raises UnreadableCertificate."""
    if content.lstrip()[:11] == b"-----BEGIN ":
        return decode_pem(content[: 4 * MAX_OCTETS].decode("latin-1"))
    if not 0 < len(content) <= MAX_OCTETS:
        raise UnreadableCertificate("The certificate is empty, or larger than 16 KiB.")
    return content


def load(der: bytes) -> x509.Certificate:
    """The certificate in these octets, every part of it readable that is used here. Raises UnreadableCertificate."""
    if not 0 < len(der) <= MAX_OCTETS:
        raise UnreadableCertificate("The certificate is empty, or larger than 16 KiB.")
    try:
        certificate = x509.load_der_x509_certificate(der)
        # The library reads these only when they are asked for.
        _ = certificate.subject, certificate.issuer, certificate.serial_number
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        certificate.public_key()
        # A bad serial number or the like is a warning there; where warnings are errors it is as unreadable.
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, Warning) as error:
        raise UnreadableCertificate("The certificate cannot be read.") from error
    return certificate


def read(der: bytes) -> Subject:
    """Whom the certificate in these octets names. Raises UnreadableCertificate."""
    return subject_of(load(der))


def subject_of(certificate: x509.Certificate) -> Subject:
    """Whom a certificate names, by whichever layout it has; GENERIC where it names nobody, or more than one."""
    attributes = list(certificate.subject)
    if len(attributes) > _MAX_ATTRIBUTES:
        return GENERIC
    values: dict[ObjectIdentifier, list[str]] = {}
    for attribute in attributes:
        value = attribute.value
        if isinstance(value, str) and len(value) <= _MAX_VALUE_LENGTH:
            values.setdefault(attribute.oid, []).append(value.strip())
    named = {subject.mac: subject for subject in (*_of_enterprise(values), *_of_mpp(values))}
    return next(iter(named.values())) if len(named) == 1 else GENERIC


_Values = dict[ObjectIdentifier, list[str]]


def _of_mpp(values: _Values) -> list[Subject]:
    texts = [*values.get(NameOID.STATE_OR_PROVINCE_NAME, ()), *values.get(NameOID.SURNAME, ())]
    model = _model(_only(values, NameOID.ORGANIZATIONAL_UNIT_NAME))
    serial = _serial(_only(values, NameOID.LOCALITY_NAME))
    macs = [_mac(text) for text in texts if _PLAIN_MAC.fullmatch(text)]
    return [Subject(mac, serial, model) for mac in macs if mac]


def _of_enterprise(values: _Values) -> list[Subject]:
    product = _PRODUCT.fullmatch(_only(values, NameOID.SERIAL_NUMBER))
    subjects = []
    for text in values.get(NameOID.COMMON_NAME, ()):
        found = _NAMED_PHONE.fullmatch(text)
        mac = _mac(found[2]) if found else None
        if found and mac:
            model = product[1] if product else found[1] or ""
            subjects.append(Subject(mac, _serial(product[2]) if product else "", _model(model)))
    return subjects


def _only(values: _Values, oid: ObjectIdentifier) -> str:
    """The one value that an attribute has; "" where it has none, or several."""
    found = values.get(oid, [])
    return found[0] if len(found) == 1 else ""


def _mac(text: str) -> MacAddress | None:
    try:
        return MacAddress.parse(text)
    except InvalidMacAddress:
        return None


def _model(text: str) -> str:
    try:
        return ModelName.parse(text).text
    except OnboardingError:
        return ""


def _serial(text: str) -> str:
    try:
        return SerialNumber.parse(text).text
    except OnboardingError:
        return ""
