"""Authorities and revocation lists in the admin site: the operator loads and removes them, nobody else sees them."""

import base64

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import AuditEntry
from trust import authorities
from trust.models import Authority, RevocationList
from virtualphone.manufacturer import MPP, Issued

LIST, ADD = "admin:trust_authority_changelist", "admin:trust_authority_add"
LISTS, ADD_LIST = "admin:trust_revocationlist_changelist", "admin:trust_revocationlist_add"


@pytest.fixture(scope="module")
def root():
    return Issued.root()


def load(client, issued, **over):
    return client.post(reverse(ADD), {"name": "", "content": issued.pem} | over)


def as_pem(content):
    lines = base64.encodebytes(content).decode()
    return f"-----BEGIN X509 CRL-----\n{lines}-----END X509 CRL-----\n"


def test_the_operator_loads_an_authority(operator, root):
    assert load(operator, root, name="Manufacturer", allows_sha1="on").status_code == 302

    row = Authority.objects.get()
    assert (row.name, row.allows_sha1, row.added_by) == ("Manufacturer", True, "root")
    assert "Manufacturer" in operator.get(reverse(LIST)).content.decode()
    page = operator.get(reverse("admin:trust_authority_change", args=(row.pk,)))
    assert page.status_code == 200
    assert row.fingerprint[:4] + " " + row.fingerprint[4:8] in page.content.decode()
    assert AuditEntry.objects.filter(action="authority.added", name="root").exists()


def test_a_refusal_stands_in_the_form_and_nothing_is_loaded(operator, root):
    for wrong in ({"content": "hello"}, {"content": root.issue_phone(MPP, mac="00562B043615").pem}):
        page = load(operator, root, **wrong)
        assert page.status_code == 200
        assert "ertificate" in page.content.decode()
        assert not Authority.objects.exists()


def test_the_operator_removes_it_after_being_asked(operator, root):
    load(operator, root)
    row = Authority.objects.get()
    address = reverse("admin:trust_authority_delete", args=(row.pk,))

    asked = operator.get(address).content.decode()
    operator.post(address, {"post": "yes"})

    assert "prove nothing any more" in asked
    assert not Authority.objects.exists()
    assert AuditEntry.objects.filter(action="authority.removed").exists()


def test_a_loaded_authority_is_never_changed(operator, root):
    load(operator, root)
    row = Authority.objects.get()

    operator.post(reverse("admin:trust_authority_change", args=(row.pk,)), {"name": "Other", "allows_sha1": "on"})

    row.refresh_from_db()
    assert (row.name, row.allows_sha1) == ("Virtual Phone Manufacturing CA", False)


def test_the_operator_loads_a_revocation_list(operator, root):
    load(operator, root)
    content = root.revoke(root.issue_phone(MPP, mac="00562B043615").certificate)

    assert operator.post(reverse(ADD_LIST), {"document": as_pem(content)}).status_code == 302

    row = RevocationList.objects.get()
    assert row.revoked == 1
    assert row.issuer in operator.get(reverse(LISTS)).content.decode()
    assert operator.get(reverse("admin:trust_revocationlist_change", args=(row.pk,))).status_code == 200
    assert operator.post(reverse(ADD_LIST), {"document": "hello"}).status_code == 200


@pytest.mark.parametrize("who", ["reader", "staff", "administrator"])
def test_nobody_else_sees_or_changes_them(request, who, root, db):
    client = request.getfixturevalue(who)
    row = authorities.add(actor=Actor("command", "trust"), name="", content=root.pem.encode(), at=timezone.now())

    pages = [reverse(name) for name in (LIST, ADD, LISTS, ADD_LIST)]
    pages += [reverse(f"admin:trust_authority_{page}", args=(row.pk,)) for page in ("change", "delete")]
    for page in pages:
        assert client.get(page).status_code in {302, 403, 404}
        assert client.post(page, {"name": "", "content": root.pem, "post": "yes"}).status_code in {302, 403, 404}
    assert list(Authority.objects.all()) == [row]
    assert "Authorities" not in client.get(reverse("admin:index")).content.decode()
