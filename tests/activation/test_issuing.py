"""Codes are issued all or none, within their limits; revoked for good; issued anew; read again only on the record."""

from datetime import timedelta

import pytest

from accounts.actors import Actor
from activation import issuing
from activation.codes import ActivationCode
from activation.issuing import CodeNotUsable, InvalidCodeRequest
from activation.models import AuditedReading, IssuedCode
from activation.status import CodeStatus, status
from onboarding.identifiers import MacAddress, SerialNumber
from onboarding.registry import ProfileNotYours
from tests.activation.factories import VAULT, make_code
from tests.factories import ACTOR, make_organization, make_profile

pytestmark = pytest.mark.django_db

MAC = MacAddress.parse("00562B043615")


def issue(profile, at, **over):
    values = {"actor": ACTOR, "organization": profile.organization, "profile": profile, "at": at, "vault": VAULT}
    return issuing.issue(**values | over)


def test_a_code_is_issued_for_a_week_and_for_any_phone_unless_told_otherwise(at):
    profile = make_profile()

    ((row, code),) = issue(profile, at)

    row.refresh_from_db()
    assert ActivationCode.parse(code.grouped) == code
    assert (row.profile, row.organization) == (profile, profile.organization)
    assert (row.model, row.mac, row.serial, row.label, row.email) == ("", "", "", "", "")
    assert row.expires_at - row.issued_at == timedelta(hours=168)
    assert row.issued_by == "api:test-key"
    assert row.mail_due_at is None


def test_ten_thousand_codes_come_at_once_each_of_its_own(at):
    issued = issue(make_profile(), at, count=10_000, label="  Branch offices ")

    assert len({code.digits for _, code in issued}) == 10_000
    assert len({row.batch for row, _ in issued}) == 1
    assert IssuedCode.objects.filter(label="Branch offices").count() == 10_000


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"count": 0}, "count"),
        ({"count": 10_001}, "count"),
        ({"count": 2, "mac": MAC}, "count"),
        ({"count": 2, "serial": SerialNumber("FCH2133E8B9")}, "count"),
        ({"count": 2, "email": "anna@example.net"}, "count"),
        ({"lifetime": timedelta(seconds=59)}, "lifetime"),
        ({"lifetime": timedelta(days=365, seconds=1)}, "lifetime"),
        ({"lifetime": timedelta(seconds=-1)}, "lifetime"),
        ({"label": "x" * 121}, "label"),
        ({"label": "two\nlines"}, "label"),
        ({"label": "nul\x00"}, "label"),
        ({"email": "anna"}, "email"),
        ({"email": "anna@example.net\nBcc: all@example.net"}, "email"),
        ({"email": "anna@example.net, berta@example.net"}, "email"),
        ({"email": f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 60}"}, "email"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_issued(at, over, field):
    profile = make_profile()

    with pytest.raises(InvalidCodeRequest) as caught:
        issue(profile, at, **over)

    assert caught.value.field == field
    assert not IssuedCode.objects.exists()


@pytest.mark.parametrize("lifetime", [timedelta(minutes=1), timedelta(days=365)])
def test_the_shortest_and_the_longest_life_are_allowed(at, lifetime):
    ((row, _),) = issue(make_profile(), at, lifetime=lifetime)

    assert row.expires_at == at + lifetime


def test_a_foreign_profile_is_no_profile(at):
    profile = make_profile()

    with pytest.raises(ProfileNotYours):
        issue(profile, at, organization=make_organization())

    assert not IssuedCode.objects.exists()


def test_an_order_that_draws_a_number_twice_is_drawn_again(at, monkeypatch):
    profile = make_profile()
    _, present = make_code(profile=profile)
    drawn = iter([present, ActivationCode.random()])
    monkeypatch.setattr(ActivationCode, "random", lambda: next(drawn))

    ((_, code),) = issue(profile, at)

    assert code != present
    assert IssuedCode.objects.count() == 2


def test_the_status_follows_from_the_times_and_lists_agree_with_it(at):
    profile = make_profile()
    hour, used = timedelta(hours=1), {"redeemed_at": at, "redeemed_mac": "00562B043615"}
    rows = {
        CodeStatus.ISSUED: make_code(profile=profile, at=at, lifetime=hour * 2)[0],
        # At the very moment of its expiry a code is expired.
        CodeStatus.EXPIRED: make_code(profile=profile, at=at, lifetime=hour)[0],
        CodeStatus.REDEEMED: make_code(profile=profile, at=at, lifetime=hour, columns=used)[0],
        CodeStatus.REVOKED: make_code(profile=profile, at=at, lifetime=hour, columns={"revoked_at": at} | used)[0],
    }

    assert {kind: status(row, at=at + hour) for kind, row in rows.items()} == {kind: kind for kind in CodeStatus}
    for kind, row in rows.items():
        assert list(IssuedCode.objects.with_status(kind, at=at + hour)) == [row]
    assert status(rows[CodeStatus.EXPIRED], at=at + hour - timedelta(microseconds=1)) == CodeStatus.ISSUED


def test_revoking_notes_who_and_when_once_and_stops_the_mail(at):
    row, _ = make_code(email="anna@example.net")

    issuing.revoke(actor=Actor("admin", "ann"), code=row, at=at)
    issuing.revoke(actor=Actor("admin", "bob"), code=row, at=at + timedelta(hours=1))

    row.refresh_from_db()
    assert (row.revoked_at, row.revoked_by, row.mail_due_at) == (at, "admin:ann", None)


def test_a_code_issued_anew_is_for_the_same_phone_and_person_and_replaces_the_old_one(at):
    old, digits = make_code(mac=MAC, model="CP-8841-3PCC", label="Anna", email="anna@example.net")

    new, code = issuing.reissue(actor=ACTOR, code=old, at=at, vault=VAULT)

    old.refresh_from_db()
    kept = ("organization_id", "profile_id", "mac", "model", "serial", "label", "email")
    assert [getattr(new, name) for name in kept] == [getattr(old, name) for name in kept]
    assert code != digits
    assert status(old, at=at) == CodeStatus.REVOKED
    assert status(new, at=at) == CodeStatus.ISSUED


def test_a_redeemed_code_is_not_issued_anew(at):
    row, _ = make_code(columns={"redeemed_at": at, "redeemed_mac": str(MAC)})

    with pytest.raises(CodeNotUsable):
        issuing.reissue(actor=ACTOR, code=row, at=at, vault=VAULT)

    assert IssuedCode.objects.count() == 1


def test_codes_are_pruned_once_they_ended_long_ago(at):
    day, week = timedelta(days=1), timedelta(days=7)
    used = {"redeemed_at": at + 3 * day, "redeemed_mac": str(MAC)}
    kept = [
        make_code(at=at, lifetime=week)[0],
        make_code(at=at, lifetime=day, columns=used)[0],
        make_code(at=at + day, lifetime=day)[0],
    ]
    for columns in ({}, {"revoked_at": at}, used | {"redeemed_at": at}):
        make_code(at=at, lifetime=day, columns=columns)

    assert issuing.prune(before=at + day + timedelta(seconds=1)) == 3
    assert issuing.prune(before=at + day + timedelta(seconds=1)) == 0

    assert list(IssuedCode.objects.order_by("pk")) == kept


def test_reading_codes_again_is_written_down(at):
    profile = make_profile()
    made = [make_code(profile=profile) for _ in range(3)]

    read = issuing.reveal(
        actor=Actor("admin", "ann"), codes=[row for row, _ in made], purpose="print", at=at, vault=VAULT
    )

    assert [code for _, code in read] == [code for _, code in made]
    readings = AuditedReading.objects.order_by("id")
    assert [reading.issued_code_id for reading in readings] == [row.pk for row, _ in made]
    assert {(r.organization, r.at, r.source, r.reader, r.purpose) for r in readings} == {
        (profile.organization, at, "admin", "ann", "print")
    }


@pytest.mark.parametrize("columns", [{"revoked_at"}, {"redeemed_at"}, {"expires_at"}])
def test_codes_of_no_use_are_not_read_again(at, columns):
    good, _ = make_code(at=at)
    bad, _ = make_code(at=at)
    if columns == {"expires_at"}:
        issued = {"issued_at": at - timedelta(hours=2), "expires_at": at}
        IssuedCode.objects.filter(pk=bad.pk).update(**issued)
    else:
        more = {"redeemed_mac": str(MAC)} if columns == {"redeemed_at"} else {}
        IssuedCode.objects.filter(pk=bad.pk).update(**dict.fromkeys(columns, at), **more)
    bad.refresh_from_db()

    with pytest.raises(CodeNotUsable):
        issuing.reveal(actor=ACTOR, codes=[good, bad], at=at, vault=VAULT)

    assert not AuditedReading.objects.exists()
