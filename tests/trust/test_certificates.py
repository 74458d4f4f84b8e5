"""Reading certificates: both layouts of the subject, generic ones, and hostile octets."""

import base64
import contextlib
import urllib.parse
from functools import cache

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress
from trust import certificates, headers
from trust.certificates import MAX_OCTETS, UnreadableCertificate, decode, decode_pem, read
from trust.headers import RefusedHeader, certificate_of
from trust.identity import Certified, Proof, proof
from virtualphone.manufacturer import ENTERPRISE, GENERIC, MPP, MPP_SURNAME, Issued

MAC = "2C3124C9F8E1"
CN, OU, L, ST, SN = (
    NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.LOCALITY_NAME, NameOID.STATE_OR_PROVINCE_NAME,
    NameOID.SURNAME,
)  # fmt: skip
NUMBER = NameOID.SERIAL_NUMBER


@cache
def root() -> Issued:
    return Issued.root()


def of(*pairs) -> tuple[str | None, str, str]:
    issued = root().issue(x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs]))
    subject = read(issued.der)
    return (str(subject.mac) if subject.mac else None, subject.serial, subject.model)


@pytest.mark.parametrize("layout", [MPP, MPP_SURNAME, ENTERPRISE])
def test_every_layout_names_mac_serial_and_model(layout):
    subject = read(root().issue_phone(layout, mac=MAC, model="CP-8861-3PCC", serial="FCH2133E8B9").der)

    assert (str(subject.mac), subject.serial, subject.model) == (MAC, "FCH2133E8B9", "CP-8861-3PCC")
    assert not subject.is_generic


NOBODY = (None, "", "")


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        # As the log of an 8861 has it (protocol 4.1).
        ([(NUMBER, "PID:CP-8861 SN:FCH2133E8B9"), (NameOID.ORGANIZATION_NAME, "Cisco Systems Inc."), (OU, "CTG"),
          (CN, "CP-8861-SEP2C3124C9F8E1")], (MAC, "FCH2133E8B9", "CP-8861")),
        ([(CN, "CP-8861-SEP2C3124C9F8E1")], (MAC, "", "CP-8861")),
        ([(CN, "CP-8861-3PCC-SEP2c3124c9f8e1")], (MAC, "", "CP-8861-3PCC")),
        ([(CN, "SEP2C3124C9F8E1")], (MAC, "", "")),
        # As the guide for MPP and SPA has it.
        ([(OU, "CP-8841-3PCC"), (L, "88012BA01234"), (ST, "2c3124c9f8e1")], (MAC, "88012BA01234", "CP-8841-3PCC")),
        ([(OU, "CP-8841-3PCC"), (L, "88012BA01234"), (SN, "2c3124c9f8e1")], (MAC, "88012BA01234", "CP-8841-3PCC")),
        ([(ST, MAC)], (MAC, "", "")),
        # Nobody's.
        ([(OU, "CP-8841-3PCC")], NOBODY),
        ([(CN, "CP-8861")], NOBODY),
        ([(CN, "SEP2C3124C9F8E")], NOBODY),
        ([(CN, "SEP2C3124C9F8E1F")], NOBODY),
        ([(CN, "2C3124C9F8E1")], NOBODY),
        ([(CN, "xSEP2C3124C9F8E1")], NOBODY),
        ([(CN, "SEP000000000000")], NOBODY),
        ([(CN, "SEP01000C000000")], NOBODY),
        ([(CN, "SEP2C3124C9F8E1\n")], (MAC, "", "")),
        ([(CN, "SEP2C3124C9F8E1\x00.example")], NOBODY),
        ([(ST, "2c:31:24:c9:f8:e1")], NOBODY),
        # Two phones in one certificate are none.
        ([(CN, "SEP2C3124C9F8E1"), (CN, "SEP2C3124C9F8E2")], NOBODY),
        ([(CN, "SEP2C3124C9F8E1"), (ST, "2c3124c9f8e2")], NOBODY),
        ([(ST, "2c3124c9f8e1"), (SN, "2c3124c9f8e2")], NOBODY),
        # What cannot be a serial number or a model counts as not said.
        ([(CN, "SEP2C3124C9F8E1"), (NUMBER, "PID:CP-8861 SN:a")], (MAC, "", "CP-8861")),
        ([(CN, "SEP2C3124C9F8E1"), (NUMBER, "SN:FCH2133E8B9")], (MAC, "", "")),
        ([(ST, MAC), (L, "one two"), (OU, "<script>")], (MAC, "", "")),
        ([(ST, MAC), (OU, "CP-8841-3PCC"), (OU, "CP-8861-3PCC")], (MAC, "", "")),
        ([(CN, "a" * 49 + "SEP2C3124C9F8E1")], NOBODY),
        ([(ST, MAC), *[(OU, f"unit {number}") for number in range(40)]], NOBODY),
    ],
)  # fmt: skip
def test_subjects(pairs, expected):
    assert of(*pairs) == expected


def test_a_generic_certificate_identifies_nobody():
    assert read(root().issue_phone(GENERIC, mac=MAC).der).is_generic


@given(st.binary(max_size=600))
def test_any_octets_are_read_or_refused(octets):
    with pytest.raises(UnreadableCertificate):
        read(octets)


@cache
def _der() -> bytes:
    return root().issue_phone(ENTERPRISE, mac=MAC).der


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8), st.integers(0, 2000))
def test_a_damaged_certificate_is_read_or_refused(changes, cut):
    octets = bytearray(_der())
    for position, value in changes:
        octets[position % len(octets)] = value
    damaged = bytes(octets[: len(octets) - (cut if cut < 5 else 0)])

    with contextlib.suppress(UnreadableCertificate):
        read(damaged)


@pytest.mark.parametrize("size", [MAX_OCTETS + 1, 1_000_000])
def test_large_octets_are_not_read(size):
    with pytest.raises(UnreadableCertificate):
        read(_der() + b"\x00" * size)
    with pytest.raises(UnreadableCertificate):
        decode(b"\x30" * size)
    with pytest.raises(UnreadableCertificate):
        decode_pem("-----BEGIN CERTIFICATE-----\n" + "A" * 2 * size + "\n-----END CERTIFICATE-----\n")


def test_pem_and_der_are_the_same_certificate():
    issued = root().issue_phone(MPP, mac=MAC)

    assert decode(issued.pem.encode()) == decode(issued.der) == issued.der


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", "é"])
def test_texts_that_are_no_pem(text):
    with pytest.raises(UnreadableCertificate):
        decode_pem(text)


def test_two_certificates_in_one_file_are_refused():
    with pytest.raises(UnreadableCertificate):
        decode_pem(root().pem + root().pem)


HEADERS = [headers.CLIENT_CERT, headers.ESCAPED]


@given(st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=300)))
def test_any_header_is_a_certificate_or_refused(environ):
    with contextlib.suppress(RefusedHeader):
        certificate_of(environ)


@given(st.binary(min_size=1, max_size=2000))
def test_octets_come_through_the_header_as_they_are(octets):
    assert certificate_of({headers.CLIENT_CERT: f":{base64.b64encode(octets).decode()}:"}) == octets


def test_a_certificate_comes_through_nginxs_form():
    issued = root().issue_phone(ENTERPRISE, mac=MAC)

    assert certificate_of({headers.ESCAPED: urllib.parse.quote(issued.pem, safe="")}) == issued.der
    # nginx leaves these as they are.
    assert certificate_of({headers.ESCAPED: urllib.parse.quote(issued.pem, safe="+/=-")}) == issued.der


def test_every_refusal_is_of_our_own_kind():
    assert issubclass(UnreadableCertificate, OnboardingError)
    assert issubclass(RefusedHeader, OnboardingError)
    assert certificates.GENERIC.is_generic


OWN, OTHER = MacAddress.parse(MAC), MacAddress.parse("2C3124C9F8E2")


@pytest.mark.parametrize(
    ("certified", "token", "known"),
    [
        (None, False, Proof.NONE),
        (None, True, Proof.TOKEN),
        (Certified(OWN), False, Proof.CERTIFICATE),
        (Certified(OWN), True, Proof.CERTIFICATE),
        (Certified(OWN, expired=True), False, Proof.EXPIRED),
        (Certified(OWN, expired=True), True, Proof.TOKEN),
        (Certified(OTHER), False, Proof.NONE),
        (Certified(OTHER), True, Proof.TOKEN),
    ],
)
def test_how_a_phone_is_known(certified, token, known):
    assert proof(OWN, certified, token=token) is known


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CP-8861", "CP-8861-3PCC", True),
        ("CP-8861-3PCC-K9", "CP-8861-3PCC", True),
        ("CP-8861-3PCC", "CP-8861-3PCC", True),
        ("", "CP-8861-3PCC", True),
        ("CP-8861", "", True),
        ("CP-8861", "CP-8841-3PCC", False),
        ("CP-88", "CP-8861", False),
    ],
)
def test_the_same_model_by_other_names(one, other, same):
    assert Certified(OWN, model=one).is_of(OWN, other) is same
