"""API keys: who is let in, what a key tells of itself, and how one is made."""

import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, Organization
from tests.factories import ACTOR, make_key, make_organization


def ask(header):
    return Client().get("/api/v1/me/", headers={"Authorization": header})


def test_wrong_expired_revoked_and_suspended_keys_look_alike(db):
    organization = make_organization()
    _, good = make_key(organization=organization)
    _, expired = make_key(organization=organization, expires_at=timezone.now() - timedelta(seconds=1))
    revoked_row, revoked = make_key(organization=organization)
    keys.revoke(revoked_row, actor=ACTOR, at=timezone.now())
    _, suspended = make_key(organization=make_organization(suspended_at=timezone.now()))
    wrong_secret = good[:-4] + "AAAA"
    wrong_prefix = good.replace(good[3:11], "zzzzzzzz")

    answers = [
        ask(header)
        for header in (
            f"Bearer {expired}", f"Bearer {revoked}", f"Bearer {suspended}", f"Bearer {wrong_secret}",
            f"Bearer {wrong_prefix}", "Bearer x", "Bearer", f"Basic {good}", "Bearer ü", f"Bearer {good} {good}",
        )
    ]  # fmt: skip

    assert {answer.status_code for answer in answers} == {401}
    assert len({str({**answer.json(), "request_id": ""}) for answer in answers}) == 1
    assert ask(f"Bearer {good}").status_code == 200
    assert ask(f"bearer {good}").status_code == 200


def test_a_key_stops_at_the_moment_it_expires(db):
    expires_at = timezone.now() + timedelta(seconds=0.4)
    _, key = make_key(organization=make_organization(), expires_at=expires_at)
    assert ask(f"Bearer {key}").status_code == 200

    time.sleep(max(0.0, (expires_at - timezone.now()).total_seconds()))

    assert ask(f"Bearer {key}").status_code == 401


def test_a_key_that_another_process_stopped_is_refused_within_a_second(db):
    rows = [make_key(organization=make_organization()) for _ in range(2)]
    assert {ask(f"Bearer {key}").status_code for _, key in rows} == {200}

    ApiKey.objects.filter(pk=rows[0][0].pk).update(revoked_at=timezone.now())
    Organization.objects.filter(pk=rows[1][0].organization_id).update(suspended_at=timezone.now())
    time.sleep(1.0)

    assert [ask(f"Bearer {key}").status_code for _, key in rows] == [401, 401]


def test_me_tells_the_organization_the_key_and_the_limits(db):
    expires_at = timezone.now() + timedelta(days=3)
    organization = make_organization(name="Provider X")
    row, key = make_key(organization=organization, scopes=["devices:read"], name="ci", expires_at=expires_at)

    shown = ask(f"Bearer {key}").json()

    assert shown["organization"] == {"id": organization.pk, "name": "Provider X", "kind": "provider"}
    assert shown["mandates"] == []
    assert shown["key"] == {
        "name": "ci", "prefix": row.prefix, "scopes": ["devices:read"],
        "expires_at": expires_at.isoformat().replace("+00:00", "Z"),
    }  # fmt: skip
    limits = shown["limits"]
    assert 0 < limits.pop("requests_reset_seconds") <= 60
    assert 0 < limits.pop("device_taken_reset_seconds") <= 3600
    assert limits == {
        "list_rows": 1000, "validate_rows": 1000, "body_bytes": 1024 * 1024, "requests_per_minute": 6000,
        "requests_remaining": 5999, "device_taken_per_hour": 100, "device_taken_remaining": 100,
    }  # fmt: skip
    assert key not in ask(f"Bearer {key}").content.decode()


def test_the_command_prints_a_key_that_works(db):
    make_organization(name="Provider X")
    out, notes = StringIO(), StringIO()

    call_command(
        "create_api_key", "--organization", "Provider X", "--name", "ci", "--scope", "devices:read", "codes:read",
        "--scope", "profiles:read", "--expires-days", "7", stdout=out, stderr=notes,
    )  # fmt: skip

    key = out.getvalue().strip()
    assert ask(f"Bearer {key}").json()["key"]["scopes"] == ["codes:read", "devices:read", "profiles:read"]
    row = ApiKey.objects.get()
    assert row.expires_at is not None
    assert timedelta(days=6, hours=23) < row.expires_at - timezone.now() <= timedelta(days=7)
    assert key not in notes.getvalue()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--organization", "Nobody", "--name", "ci"], "Nobody"),
        (["--organization", "Provider X", "--name", "ci", "--scope", "everything"], "everything"),
        (["--organization", "Provider X", "--name", " "], "name"),
        (["--organization", "Provider X", "--name", "ci", "--expires-days", "0"], "expires-days"),
        (["--organization", "Provider X", "--name", "ci", "--expires-days", "x"], "expires-days"),
        (["--organization", "Provider X"], "--name"),
    ],
)
def test_the_command_refuses_what_it_cannot_make(db, arguments, named):
    Organization.objects.create(name="Provider X")

    with pytest.raises(CommandError, match=named):
        call_command("create_api_key", *arguments, stdout=StringIO(), stderr=StringIO())

    assert not ApiKey.objects.exists()
