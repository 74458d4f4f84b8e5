"""Which certificates an authority makes good: the table of chains that manufacturers have, and what must fail."""

from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509

from trust import verifying
from trust.identity import Verdict
from trust.verifying import Authorities, Authority, Memory, Verifier
from virtualphone import manufacturer
from virtualphone.manufacturer import ENTERPRISE, FOR_CLIENTS, FOR_SERVERS, GENERIC, MPP, Issued, new_key

MAC = "00562B043615"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
# The openssl command dates from now, which may be a moment later.
AT = (NOW + DAY / 24).timestamp()


@cache
def root() -> Issued:
    return Issued.root()


@cache
def another_root() -> Issued:
    return Issued.root("Another Manufacturer's CA")


@cache
def rsa_key(bits: int):
    return new_key(f"rsa-{bits}")


def authorities(*issued: Issued, sha1: bool = False, lists: tuple[tuple[Issued, bytes], ...] = ()) -> Authorities:
    return Authorities(
        repr([one.certificate.serial_number for one in issued]).encode() + repr((sha1, lists)).encode(),
        tuple(Authority(one.der, sha1) for one in issued),
        tuple((verifying.mark_of(one.certificate), content) for one, content in lists),
    )


def verdict(leaf: Issued, *trusted: Issued, sha1: bool = False, at: float = AT):
    return Verifier(authorities(*(trusted or (root(),)), sha1=sha1)).verify(leaf.der, at=at)


def phone(issuer: Issued | None = None, layout: str = ENTERPRISE, **over) -> Issued:
    return (issuer or root()).issue_phone(layout, mac=MAC, **over)


def test_alternative_name_and_use_for_clients():
    leaf = phone(alternative=x509.SubjectAlternativeName([x509.DNSName("phone.example")]), extended_use=FOR_CLIENTS)

    assert verdict(leaf).verdict is Verdict.VALID


@pytest.mark.parametrize("use", [None, FOR_CLIENTS, FOR_SERVERS], ids=["no use", "clients", "servers only"])
@pytest.mark.parametrize("layout", [ENTERPRISE, MPP])
def test_no_alternative_name(layout, use):
    assert verdict(phone(layout=layout, extended_use=use)).verdict is Verdict.VALID


def test_no_key_identifier_in_the_leaf():
    assert verdict(phone(key_identifiers=False)).verdict is Verdict.VALID


def test_a_root_without_key_usage():
    old = Issued.root("Old CA", key_usage=False)

    assert verdict(phone(old), old).verdict is Verdict.VALID


def test_a_root_whose_basic_constraints_are_not_critical():
    old = Issued.root("Older CA", critical=False, key_usage=False, key_identifiers=False)

    assert verdict(phone(old), old).verdict is Verdict.VALID


def test_an_intermediate_for_servers_only():
    middle = root().issue("Middle CA", ca=True, extended_use=FOR_SERVERS)

    assert verdict(phone(middle), root(), middle).verdict is Verdict.VALID


def test_an_intermediate_that_was_not_loaded_breaks_the_chain():
    middle = root().issue("Middle CA", ca=True)

    assert verdict(phone(middle)).verdict is Verdict.UNTRUSTED


def test_an_intermediate_alone_is_no_root():
    middle = root().issue("Middle CA", ca=True)

    assert verdict(phone(middle), middle).verdict is Verdict.UNTRUSTED


@pytest.mark.parametrize("where", ["leaf", "intermediate"])
def test_sha1_is_taken_only_where_the_root_allows_it_and_marked_weak(where):
    middle = root().issue("Middle CA", ca=True, sha1=where == "intermediate")
    leaf = phone(middle, sha1=where == "leaf")

    refused, taken = verdict(leaf, root(), middle), verdict(leaf, root(), middle, sha1=True)

    assert refused.verdict is Verdict.UNTRUSTED
    assert refused.certified is None
    assert (taken.verdict, taken.weak) == (Verdict.VALID, True)
    assert taken.certified is not None
    assert taken.certified.weak


def test_allowing_sha1_takes_nothing_else_that_was_refused():
    assert verdict(phone(another_root()), root(), sha1=True).verdict is Verdict.UNTRUSTED
    assert not verdict(phone(), root(), sha1=True).weak


def test_a_root_signed_by_itself_with_sha1_is_as_good_as_any():
    old = Issued.root("SHA-1 CA")
    old = old.signed_with_sha1(old)

    shown = verdict(phone(old), old)

    assert (shown.verdict, shown.weak) == (Verdict.VALID, False)


@pytest.mark.parametrize("kind", ["ec-256", "rsa-4096"])
def test_usual_keys(kind):
    key = rsa_key(4096) if kind == "rsa-4096" else new_key(kind)

    assert verdict(phone(key=key)).verdict is Verdict.VALID


def test_a_leaf_with_a_short_key():
    shown = verdict(phone(key=rsa_key(1024)))

    assert (shown.verdict, shown.certified) == (Verdict.WEAK_KEY, None)


def test_an_intermediate_with_a_short_key():
    middle = root().issue("Short CA", ca=True, key=rsa_key(1024))

    # The library refuses these itself; OpenSSL, which takes SHA-1, does not.
    assert verdict(phone(middle), root(), middle).verdict is Verdict.UNTRUSTED
    assert verdict(phone(middle, sha1=True), root(), middle, sha1=True).verdict is Verdict.WEAK_KEY


def test_expired_is_told_apart_from_untrusted():
    ends = NOW - 200 * DAY
    leaf, foreign = phone(ends=ends), phone(another_root(), ends=ends)

    shown = verdict(leaf)

    assert shown.verdict is Verdict.EXPIRED
    assert shown.certified is not None
    assert shown.certified.expired
    assert str(shown.certified.mac) == MAC
    assert verdict(foreign).verdict is Verdict.UNTRUSTED


def test_expired_and_signed_with_sha1():
    leaf = phone(sha1=True, ends=NOW + 2 * DAY)
    # The command that signs with SHA-1 cannot date back, so the whole lies in the future.
    later = (leaf.certificate.not_valid_after_utc + DAY).timestamp()

    assert verdict(leaf, sha1=True, at=later).verdict is Verdict.EXPIRED


def test_an_authority_that_expired_before_its_phones():
    old = Issued.root("Expired CA", ends=NOW - DAY)

    assert verdict(phone(old), old).verdict is Verdict.EXPIRED


def test_not_yet_valid():
    shown = verdict(phone(begins=NOW + DAY))

    assert (shown.verdict, shown.certified) == (Verdict.NOT_YET_VALID, None)


def test_the_wrong_root():
    assert verdict(phone(another_root())).verdict is Verdict.UNTRUSTED
    assert verdict(phone(another_root()), at=AT).certified is None


def test_a_root_of_the_same_name_with_another_key():
    assert verdict(phone(Issued.root())).verdict is Verdict.UNTRUSTED


def test_signed_by_another_phones_certificate():
    thief = phone()

    assert verdict(phone(thief)).verdict is Verdict.UNTRUSTED
    assert verdict(phone(thief), root(), thief).verdict is Verdict.UNTRUSTED
    assert verdict(phone(thief), root(), thief, sha1=True).verdict is Verdict.UNTRUSTED


def test_a_chain_longer_than_an_authority_allows():
    first = root().issue("First CA", ca=True, path_length=0)
    second = first.issue("Second CA", ca=True)

    assert verdict(phone(first), root(), first).verdict is Verdict.VALID
    assert verdict(phone(second), root(), first, second).verdict is Verdict.UNTRUSTED


def test_no_authorities_at_all():
    assert Verifier(verifying.NO_AUTHORITIES).verify(phone().der, at=AT).verdict is Verdict.UNTRUSTED


def test_revoked():
    good, bad = phone(), phone()
    verifier = Verifier(authorities(root(), lists=((root(), root().revoke(bad.certificate)),)))

    assert verifier.verify(bad.der, at=AT).verdict is Verdict.REVOKED
    assert verifier.verify(bad.der, at=AT).certified is None
    assert verifier.verify(good.der, at=AT).verdict is Verdict.VALID


def test_an_intermediate_that_was_revoked_takes_its_phones_with_it():
    middle = root().issue("Middle CA", ca=True)
    lists = ((root(), root().revoke(middle.certificate)),)

    assert Verifier(authorities(root(), middle, lists=lists)).verify(phone(middle).der, at=AT).verdict is (
        Verdict.REVOKED
    )


def test_a_list_of_another_authority_revokes_nothing():
    bad = phone()
    lists = ((another_root(), another_root().revoke(bad.certificate)),)

    assert Verifier(authorities(root(), another_root(), lists=lists)).verify(bad.der, at=AT).verdict is Verdict.VALID


def test_a_generic_certificate_is_valid_and_proves_nobody():
    shown = verdict(phone(layout=GENERIC))

    assert (shown.verdict, shown.certified) == (Verdict.VALID, None)
    assert shown.subject.is_generic


@pytest.mark.parametrize("octets", [b"", b"\x30\x03\x02\x01\x01", b"x" * 20_000], ids=["empty", "short", "long"])
def test_what_is_no_certificate(octets):
    assert Verifier(authorities(root())).verify(octets, at=AT).verdict is Verdict.UNREADABLE


class TestRemembering:
    def test_a_second_query_costs_no_second_verification(self):
        memory, leaf = Memory(), phone()

        first, *others = (memory.verify(leaf.der, authorities(root()), at=AT + second) for second in range(100))

        assert memory.verifications == 1
        assert first.verdict is Verdict.VALID
        assert all(other is first for other in others)

    def test_a_refusal_is_remembered_too(self):
        memory, leaf = Memory(), phone(another_root())

        for _ in range(10):
            assert memory.verify(leaf.der, authorities(root()), at=AT).verdict is Verdict.UNTRUSTED

        assert memory.verifications == 1

    def test_everything_is_forgotten_when_the_authorities_change(self):
        memory, leaf = Memory(), phone()
        lists = ((root(), root().revoke(leaf.certificate)),)

        assert memory.verify(leaf.der, authorities(another_root()), at=AT).verdict is Verdict.UNTRUSTED
        assert memory.verify(leaf.der, authorities(root(), another_root()), at=AT).verdict is Verdict.VALID
        assert memory.verify(leaf.der, authorities(root(), lists=lists), at=AT).verdict is Verdict.REVOKED
        assert memory.verify(leaf.der, authorities(root()), at=AT).verdict is Verdict.VALID

    def test_what_expires_meanwhile_is_checked_anew(self):
        memory, leaf = Memory(), phone(ends=NOW + DAY)

        before = memory.verify(leaf.der, authorities(root()), at=AT)
        after = memory.verify(leaf.der, authorities(root()), at=AT + 2 * DAY.total_seconds())

        assert (before.verdict, after.verdict) == (Verdict.VALID, Verdict.EXPIRED)

    def test_an_authority_that_expires_meanwhile_is_noticed(self):
        memory, short = Memory(), Issued.root("Short CA", ends=NOW + DAY)
        leaf = phone(short)

        before = memory.verify(leaf.der, authorities(short), at=AT)
        after = memory.verify(leaf.der, authorities(short), at=AT + 2 * DAY.total_seconds())

        assert (before.verdict, after.verdict) == (Verdict.VALID, Verdict.EXPIRED)

    def test_what_becomes_valid_meanwhile_is_checked_anew(self):
        memory, leaf = Memory(), phone(begins=NOW + DAY)

        before = memory.verify(leaf.der, authorities(root()), at=AT)
        after = memory.verify(leaf.der, authorities(root()), at=AT + 2 * DAY.total_seconds())

        assert (before.verdict, after.verdict) == (Verdict.NOT_YET_VALID, Verdict.VALID)

    def test_only_so_many_are_remembered_and_those_in_use_stay(self):
        memory, often = Memory(3), phone()
        for number in range(6):
            memory.verify(often.der, authorities(root()), at=AT)
            memory.verify(b"no certificate %d" % number, authorities(root()), at=AT)

        assert memory.verifications == 7
        memory.verify(b"no certificate 0", authorities(root()), at=AT)
        assert memory.verifications == 8


def test_the_manufacturer_makes_every_layout():
    assert set(manufacturer.LAYOUTS) == {MPP, manufacturer.MPP_SURNAME, ENTERPRISE, GENERIC}
