"""A stolen database gives no codes, and keys are changed without anybody noticing."""

import pytest
from django.db import connection

from activation import issuing
from activation.codes import ActivationCode
from activation.models import IssuedCode
from activation.vault import SealBroken, Vault
from tests.activation.factories import make_code

OLD, NEW = "the old key of the vault, 0123456789abc", "the new key of the vault, 0123456789abc"


@pytest.mark.django_db
def test_no_column_of_any_row_holds_the_digits():
    row, code = make_code(label="Anna", email="anna@example.net", vault=Vault([OLD]))

    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM activation_issuedcode")
        stored = b" ".join(bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode()
                           for cell in cursor.fetchone())  # fmt: skip

    assert row.lookup.encode() in stored
    for digits in (code.digits, code.grouped, code.digits[:8], code.digits[8:]):
        assert digits.encode() not in stored


def test_without_the_key_neither_lookup_nor_seal_can_be_made_or_opened():
    code = ActivationCode.random()
    ours, theirs = Vault([OLD]), Vault([NEW])

    assert ours.lookup(code) != theirs.lookup(code)
    with pytest.raises(SealBroken):
        theirs.open(ours.seal(code))


def test_the_same_digits_are_sealed_differently_each_time_and_found_the_same():
    code, vault = ActivationCode.random(), Vault([OLD])

    assert vault.seal(code) != vault.seal(code)
    assert vault.lookup(code) == vault.lookup(code)


def test_a_new_key_in_front_opens_and_finds_what_the_old_one_sealed():
    code, before, after = ActivationCode.random(), Vault([OLD]), Vault([NEW, OLD])

    assert after.open(before.seal(code)) == code
    assert before.lookup(code) in after.lookups(code)
    assert after.lookup(code) == Vault([NEW]).lookup(code)


def test_a_damaged_seal_is_refused():
    vault = Vault([OLD])
    seal = bytearray(vault.seal(ActivationCode.random()))
    seal[20] ^= 1

    with pytest.raises(SealBroken):
        vault.open(bytes(seal))


@pytest.mark.django_db
def test_after_resealing_the_old_key_is_needed_no_more_and_nothing_else_has_changed():
    made = dict(make_code(vault=Vault([OLD])) for _ in range(3)) | dict([make_code(vault=Vault([NEW, OLD]))])
    kept = [field.name for field in IssuedCode._meta.fields if field.name not in {"lookup", "seal"}]
    before = list(IssuedCode.objects.order_by("pk").values(*kept))

    steps = list(issuing.reseal(vault=Vault([NEW, OLD])))

    assert steps[-1] == (4, 3)
    for row in IssuedCode.objects.all():
        assert Vault([NEW]).open(bytes(row.seal)) == made[row]
        assert row.lookup == Vault([NEW]).lookup(made[row])
    assert list(IssuedCode.objects.order_by("pk").values(*kept)) == before
    assert list(issuing.reseal(vault=Vault([NEW, OLD])))[-1] == (4, 0)


@pytest.mark.django_db
def test_resealing_without_the_old_key_stops_and_spoils_nothing():
    row, code = make_code(vault=Vault([OLD]))

    with pytest.raises(SealBroken):
        list(issuing.reseal(vault=Vault([NEW])))

    row.refresh_from_db()
    assert Vault([OLD]).open(bytes(row.seal)) == code
