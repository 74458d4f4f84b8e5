"""Codes are mailed once, tried again while the server is away, and never mailed when they are of no use any more."""

import smtplib
from datetime import timedelta
from io import StringIO

import pytest
from django.conf import settings
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import CommandError, call_command

from accounts.models import Organization
from activation import issuing, mailing, tasks
from activation.models import IssuedCode
from activation.vault import Vault
from config import env
from tests.activation.factories import VAULT, make_code
from tests.factories import ACTOR, make_profile

pytestmark = pytest.mark.django_db


class Broken(EmailBackend):
    """A mail server that refuses as the test says."""

    error: Exception = OSError()

    def send_messages(self, messages):
        raise self.error


@pytest.fixture
def broken(settings):
    def breaks(error):
        Broken.error = error
        settings.EMAIL_BACKEND = f"{Broken.__module__}.Broken"

    return breaks


def test_the_person_gets_the_digits_and_what_to_do_with_them_once(at):
    row, code = make_code(label="Anna", email="anna@example.net")

    assert mailing.send_due(at=at, vault=VAULT) == 1
    assert mailing.send_due(at=at + timedelta(days=1), vault=VAULT) == 0

    (sent,) = mail.outbox
    assert sent.to == ["anna@example.net"]
    assert code.grouped in sent.body
    assert "29 November 2026" in sent.body
    assert not any(digit.isdigit() for digit in str(sent.subject))
    row.refresh_from_db()
    assert (row.mailed_at, row.mail_due_at, row.mail_error) == (at, None, "")


def test_a_code_without_an_address_is_mailed_to_nobody(at):
    make_code()

    assert mailing.send_due(at=at, vault=VAULT) == 0
    assert mail.outbox == []


@pytest.mark.parametrize("ending", ["revoked", "redeemed", "expired", "suspended"])
def test_a_code_of_no_use_is_not_mailed(at, ending):
    row, _ = make_code(email="anna@example.net")
    if ending == "revoked":
        issuing.revoke(actor=ACTOR, code=row, at=at)
    elif ending == "redeemed":
        IssuedCode.objects.filter(pk=row.pk).update(redeemed_at=at, redeemed_mac="00562B043615")
    elif ending == "suspended":
        Organization.objects.filter(pk=row.organization_id).update(suspended_at=at)
    moment = at + timedelta(days=8) if ending == "expired" else at

    assert mailing.send_due(at=moment, vault=VAULT) == 0

    row.refresh_from_db()
    assert mail.outbox == []
    assert (row.mail_due_at, row.mailed_at) == (None, None)


def test_while_the_server_is_away_it_is_tried_again_later_and_then_given_up(at, broken, settings):
    row, code = make_code(email="anna@example.net")
    broken(smtplib.SMTPServerDisconnected("gone"))

    tries, moment = 0, at
    while (row := IssuedCode.objects.get(pk=row.pk)).mail_due_at is not None:
        moment, tries = row.mail_due_at, tries + 1
        assert mailing.send_due(at=moment - timedelta(seconds=1), vault=VAULT) == 0
        assert IssuedCode.objects.get(pk=row.pk).mail_tries == tries - 1
        mailing.send_due(at=moment, vault=VAULT)

    assert tries == 5
    assert "SMTPServerDisconnected" in row.mail_error
    assert code.digits not in row.mail_error
    assert moment - at < timedelta(hours=24)


def test_a_server_that_comes_back_gets_what_waited(at, broken, settings):
    make_code(email="anna@example.net")
    present = settings.EMAIL_BACKEND
    broken(ConnectionRefusedError())
    mailing.send_due(at=at, vault=VAULT)
    settings.EMAIL_BACKEND = present

    assert mailing.send_due(at=at + timedelta(minutes=10), vault=VAULT) == 1
    assert len(mail.outbox) == 1


def test_while_the_server_is_away_no_more_than_one_mail_is_tried_at_a_time(at, broken):
    profile = make_profile()
    for name in ("anna", "berta", "carla"):
        make_code(profile=profile, email=f"{name}@example.net")
    broken(TimeoutError())

    mailing.send_due(at=at, vault=VAULT)

    assert sorted(IssuedCode.objects.values_list("mail_tries", flat=True)) == [0, 0, 1]
    assert not IssuedCode.objects.filter(mail_due_at__lte=at).exists()


def test_a_mail_that_is_not_accepted_does_not_keep_the_next(at, broken):
    profile = make_profile()
    for name in ("anna", "berta"):
        make_code(profile=profile, email=f"{name}@example.net")
    broken(smtplib.SMTPDataError(451, b"later"))

    mailing.send_due(at=at, vault=VAULT)

    assert list(IssuedCode.objects.values_list("mail_tries", flat=True)) == [1, 1]


def test_a_refused_address_is_not_tried_again(at, broken):
    row, _ = make_code(email="anna@example.net")
    broken(smtplib.SMTPRecipientsRefused({}))

    mailing.send_due(at=at, vault=VAULT)

    row.refresh_from_db()
    assert (row.mail_due_at, row.mail_error) == (None, "the mail server refuses the address")


def test_one_that_fails_does_not_keep_the_others(at):
    spoilt, _ = make_code(email="anna@example.net", vault=Vault(["a key that nobody has any more, 0123456789"]))
    make_code(email="berta@example.net")

    assert mailing.send_due(at=at, vault=VAULT) == 1

    spoilt.refresh_from_db()
    assert spoilt.mail_error == "its seal cannot be opened"


def test_without_a_mail_server_codes_wait(settings):
    settings.SENDS_MAIL = False
    row, _ = make_code(email="anna@example.net")

    assert tasks.send_mail() == 0

    row.refresh_from_db()
    assert row.mail_due_at is not None
    assert row.mail_tries == 0


def test_the_command_issues_codes_and_prints_them_as_a_table():
    profile = make_profile(name="Head office")
    out = StringIO()

    call_command("issue_codes", organization=profile.organization.name, profile="Head office", count=3, stdout=out)

    lines = out.getvalue().splitlines()
    assert lines[0].startswith("id,code,label")
    opened = {Vault(settings.CODE_KEYS).open(bytes(row.seal)).grouped for row in IssuedCode.objects.all()}
    assert {line.split(",")[1] for line in lines[1:]} == opened
    assert len(opened) == 3


@pytest.mark.parametrize(
    "over",
    [
        {"organization": "Nobody"},
        {"profile": "Nothing"},
        {"count": 0},
        {"hours": 0.0},
        {"hours": float("nan")},
        {"mac": "x"},
    ],
)
def test_the_command_names_what_is_wrong_and_issues_nothing(over):
    profile = make_profile(name="Head office")
    given = {"organization": profile.organization.name, "profile": "Head office"} | over

    with pytest.raises(CommandError):
        call_command("issue_codes", **given)

    assert not IssuedCode.objects.exists()


def test_the_command_reseals_and_says_how_many():
    make_code(vault=Vault(settings.CODE_KEYS))
    out = StringIO()

    call_command("reseal_codes", stdout=out)

    assert out.getvalue() == "1 codes, 0 of them sealed anew.\n"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://anna:p%40ss@mail.example.net", ("mail.example.net", 587, "p@ss", True, False)),
        ("smtps://mail.example.net:4650", ("mail.example.net", 4650, "", False, True)),
        ("smtp+plain://127.0.0.1", ("127.0.0.1", 25, "", False, False)),
    ],
)
def test_a_mail_server_is_named_by_its_url(monkeypatch, url, expected):
    monkeypatch.setenv("EMAIL_URL", url)

    read = env.mail("EMAIL_URL", "phones@example.net")

    names = ("EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_PASSWORD", "EMAIL_USE_TLS", "EMAIL_USE_SSL")
    assert tuple(read[name] for name in names) == expected


@pytest.mark.parametrize(
    "url", ["mail.example.net", "http://mail.example.net", "smtp://", "smtp://a:secret@b:99999", "smtp://h/x"]
)
def test_a_url_that_is_none_stops_the_start_and_is_not_printed(monkeypatch, url):
    monkeypatch.setenv("EMAIL_URL", url)

    with pytest.raises(env.ConfigurationError, match=r"^EMAIL_URL: ") as caught:
        env.mail("EMAIL_URL", "phones@example.net")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("sender", ["nobody", "a@b\nBcc: c@d", "<a@b>"])
def test_a_sender_that_is_no_address_stops_the_start(monkeypatch, sender):
    monkeypatch.setenv("EMAIL_URL", "smtp://mail.example.net")
    monkeypatch.setenv("EMAIL_FROM", sender)

    with pytest.raises(env.ConfigurationError, match=r"^EMAIL_FROM: "):
        env.mail("EMAIL_URL", "phones@example.net")
