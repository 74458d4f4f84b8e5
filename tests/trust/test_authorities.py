"""The operator's authorities: what may be loaded, what the doors and the audit hear of it, and the command."""

import hashlib
import ssl
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import AuditEntry
from redirect import publishing
from redirect.directory import Directory
from tests.factories import make_device, make_profile
from trust import authorities, tasks
from trust.authorities import AuthorityKnown, InvalidAuthority, InvalidRevocationList, UnknownAuthority
from trust.certificates import UnreadableCertificate
from trust.identity import Verdict
from trust.models import Authority, RevocationList
from trust.verifying import Verifier
from virtualphone.manufacturer import MPP, Issued, new_key

pytestmark = pytest.mark.django_db

ACTOR = Actor("command", "trust")
MAC = "00562B043615"


@pytest.fixture(scope="module")
def root():
    return Issued.root()


def add(issued, *, name="", allows_sha1=False, **over):
    content = issued if isinstance(issued, bytes) else issued.pem.encode()
    return authorities.add(actor=ACTOR, name=name, content=content, allows_sha1=allows_sha1, at=timezone.now(), **over)


def revoke(issued, *revoked, **over):
    content = issued.revoke(*(one.certificate for one in revoked), **over)
    return authorities.load_revocations(actor=ACTOR, content=content, at=timezone.now())


def actions():
    return list(AuditEntry.objects.order_by("id").values_list("action", flat=True))


def test_an_authority_is_loaded_and_its_phones_are_believed(root):
    row = add(root)

    shown = Verifier(authorities.present()).verify(root.issue_phone(MPP, mac=MAC).der, at=timezone.now().timestamp())
    assert (row.name, row.is_root) == ("Virtual Phone Manufacturing CA", True)
    assert shown.verdict is Verdict.VALID
    assert actions() == ["authority.added"]


def test_it_is_loaded_as_der_too(root):
    assert add(root.der).fingerprint == hashlib.sha256(root.der).hexdigest()


def test_what_is_no_authority_is_refused(root):
    short = Issued.root("Short", key=new_key("rsa-1024"))
    later = Issued.root("Later", begins=timezone.now() + timedelta(days=1))
    foreign_name = root.issue(root.certificate.subject, ca=True)

    for wrong in (root.issue_phone(MPP, mac=MAC), short, later, foreign_name):
        with pytest.raises(InvalidAuthority):
            add(wrong)
    for wrong in (b"", b"hello", root.pem.encode() * 2, b"\x30" * 20_000, root.key_pem.encode()):
        with pytest.raises(UnreadableCertificate):
            add(wrong)
    with pytest.raises(InvalidAuthority):
        add(root.issue("Middle", ca=True), allows_sha1=True)
    assert not Authority.objects.exists()
    assert actions() == []


def test_a_public_authority_is_refused():
    public = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not public:
        pytest.skip("this machine knows no public authorities")

    refusals = []
    for der in public[:3]:
        with pytest.raises((InvalidAuthority, UnreadableCertificate)) as refusal:
            add(der)
        refusals.append(refusal.value.detail)

    assert any("public" in detail for detail in refusals)


def test_the_same_authority_is_not_loaded_twice(root):
    add(root)

    with pytest.raises(AuthorityKnown):
        add(root, name="Another name")
    with pytest.raises(AuthorityKnown):
        add(Issued.root())


def test_removing_it_ends_the_belief_and_its_list(root):
    row = add(root)
    revoke(root)

    authorities.remove(row, actor=ACTOR, at=timezone.now())
    authorities.remove(row, actor=ACTOR, at=timezone.now())

    assert not Authority.objects.exists()
    assert not RevocationList.objects.exists()
    assert actions() == ["authority.added", "revocations.loaded", "authority.removed"]


def test_it_is_found_by_name_or_fingerprint(root):
    row = add(root)

    assert authorities.get(row.name) == authorities.get(row.fingerprint[:12].upper()) == row
    for unknown in ("nobody", row.fingerprint[:6], ""):
        with pytest.raises(UnknownAuthority):
            authorities.get(unknown)


def test_a_list_is_loaded_and_a_newer_one_replaces_it(root):
    add(root)
    bad = root.issue_phone(MPP, mac=MAC)

    revoke(root, at=timezone.now() - timedelta(days=2))
    row = revoke(root, bad)

    assert row.revoked == 1
    assert RevocationList.objects.count() == 1
    shown = Verifier(authorities.present()).verify(bad.der, at=timezone.now().timestamp())
    assert shown.verdict is Verdict.REVOKED


def test_an_older_list_would_forget_revocations(root):
    add(root)
    revoke(root)

    with pytest.raises(InvalidRevocationList):
        revoke(root, at=timezone.now() - timedelta(days=2))


def test_a_list_of_nobody_loaded_is_refused(root):
    with pytest.raises(InvalidRevocationList):
        revoke(root)
    add(root)
    # Of the same name, signed by another key.
    for content in (Issued.root().revoke(), b"", b"hello", root.pem.encode(), b"\x30" * 5_000_000):
        with pytest.raises(InvalidRevocationList):
            authorities.load_revocations(actor=ACTOR, content=content, at=timezone.now())
    assert not RevocationList.objects.exists()


def test_what_expires_is_said_in_time():
    now = timezone.now()
    add(Issued.root("Soon", ends=now + timedelta(days=30)))
    add(Issued.root("Gone", ends=now - timedelta(days=30)))
    late = Issued.root("Late")
    add(late)
    revoke(late, at=now - timedelta(days=60), lasts=timedelta(days=30))

    gone, soon, stale = authorities.expiring(at=now)

    assert "Gone expired" in gone
    assert "Soon expires" in soon
    assert "Late is out of date" in stale
    assert tasks.warn() == 3


class TestCommand:
    @pytest.fixture
    def run(self, capsys):
        def run(*arguments):
            call_command("trust", *map(str, arguments))
            return capsys.readouterr().out

        return run

    def test_add_list_revoke_remove(self, run, tmp_path, root):
        root.save(tmp_path, "root")
        (tmp_path / "revoked.crl").write_bytes(root.revoke(root.issue_phone(MPP, mac=MAC).certificate))

        added = run("add", tmp_path / "root.pem", "--name", "Manufacturer", "--allow-sha1")
        revoked = run("revoke", tmp_path / "revoked.crl")
        listed = run("list")
        removed = run("remove", "Manufacturer")

        assert "Manufacturer is loaded (root" in added
        assert "1 certificates of Manufacturer" in revoked
        assert "SHA-1 allowed" in listed
        assert "1 revoked" in listed
        assert "removed" in removed
        assert "No authority" in run("list")

    def test_failures_say_what_to_do(self, run, tmp_path, root):
        phone = root.issue_phone(MPP, mac=MAC)
        phone.save(tmp_path, "phone")

        for arguments in (
            ("add", tmp_path / "phone.pem"), ("add", tmp_path / "nothing.pem"), ("remove", "nobody"),
            ("revoke", tmp_path / "phone.pem"),
        ):  # fmt: skip
            with pytest.raises(CommandError):
                run(*arguments)


class TestDoors:
    def test_the_relay_carries_authorities_and_lists(self, registry, writer, root):
        publishing.publish(writer)
        row = add(root)
        publishing.publish(writer)
        added = _at_the_door(writer)
        bad = root.issue_phone(MPP, mac=MAC)
        revoke(root, bad)
        publishing.publish(writer)
        with_list = _at_the_door(writer)

        assert added.certificates == authorities.present().certificates
        assert with_list.revocations == authorities.present().revocations
        assert with_list.stamp != added.stamp
        assert Verifier(with_list).verify(bad.der, at=timezone.now().timestamp()).verdict is Verdict.REVOKED
        writer.close()
        assert publishing.differences(writer.folder) == []

        authorities.remove(row, actor=ACTOR, at=timezone.now())
        publishing.publish(writer)
        gone = _at_the_door(writer)
        assert (gone.certificates, gone.revocations) == ((), ())

    def test_a_rebuilt_directory_has_them_and_a_damaged_one_is_named(self, registry, writer, root):
        add(root)
        revoke(root)
        publishing.rebuild(writer)
        before = _at_the_door(writer)
        Authority.objects.update(allows_sha1=True)
        writer.close()

        assert len(before.certificates) == len(before.revocations) == 1
        assert [(found.key[:1], found.kind) for found in publishing.differences(writer.folder)] == [(b"c", "stale")]
        publishing.publish(writer)
        assert _at_the_door(writer).certificates[0].allows_sha1


def _at_the_door(writer):
    writer.close()
    return Directory(writer.folder).authorities()


class TestExplaining:
    @pytest.fixture
    def explain(self, capsys, tmp_path, root):
        add(root)
        device = make_device(profile=make_profile(identity="required"), mac=MAC)

        def explain(*words, issued=None):
            if issued is not None:
                issued.save(tmp_path, "phone")
                words = ("--certificate", str(tmp_path / "phone.pem"))
            call_command("explain", device.mac, *words)
            return capsys.readouterr().out

        return explain

    def test_the_command_takes_a_certificate(self, explain, root):
        good = explain(issued=root.issue_phone(MPP, mac=MAC, model="CP-8841-3PCC"))
        other = explain(issued=root.issue_phone(MPP, mac="00562B043616", model="CP-8841-3PCC"))
        foreign = explain(issued=Issued.root("Foreign").issue_phone(MPP, mac=MAC))

        assert "is valid" in good
        assert "→ redirected" in good
        assert "✗ identity_mismatch" in other
        assert "No authority" in foreign
        assert "✗ identity_missing" in foreign

    def test_or_the_mac_that_one_proves(self, explain):
        assert "→ redirected" in explain("--certified-mac", MAC)
        assert "✗ identity_missing" in explain()

    def test_a_file_that_is_none_is_said(self, explain, tmp_path):
        (tmp_path / "none").write_text("none")

        assert "cannot be read" in explain("--certificate", str(tmp_path / "none"))
        with pytest.raises(CommandError):
            explain("--certificate", str(tmp_path / "missing"))
