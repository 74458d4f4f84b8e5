"""Partners issue, list, reveal and revoke codes; digits appear twice in a code's life at most, on the record."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from activation.codes import ActivationCode
from activation.models import AuditedReading, IssuedCode
from activation.vault import Vault
from tests.activation.factories import make_code
from tests.factories import make_profile

pytestmark = pytest.mark.django_db


@pytest.fixture
def profile(partner):
    return make_profile(organization=partner.organization)


def issued(profile, **over):
    return make_code(profile=profile, at=over.pop("at", timezone.now()), vault=Vault(settings.CODE_KEYS), **over)


def test_a_code_is_issued_shown_once_and_listed_without_digits(partner, profile):
    answer = partner(
        "POST", "activation-codes/", {"profile": profile.pk, "label": "Reception", "mac": "00:56:2b:04:36:15"}
    )

    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    (row,) = answer.json()["results"]
    assert ActivationCode.parse(row["code"]).grouped == row["grouped"]
    assert (row["label"], row["status"], row["profile"], row["device"]) == ("Reception", "issued", profile.pk, None)
    assert row["mac"] == "00562B043615"

    listed = partner("GET", "activation-codes/")
    assert listed.json()["results"] == [{name: row[name] for name in row if name not in {"code", "grouped"}}]
    assert row["code"] not in listed.content.decode()
    one = partner("GET", f"activation-codes/{row['id']}/")
    assert one.json() == listed.json()["results"][0]
    assert one["ETag"]


def test_many_are_issued_at_once_and_found_again_by_their_batch(partner, profile):
    issued(profile)

    answer = partner("POST", "activation-codes/", {"profile": profile.pk, "count": 25, "expires_in_hours": 0.5})

    rows = answer.json()["results"]
    assert len({row["code"] for row in rows}) == 25
    assert IssuedCode.objects.filter(expires_at__lt=timezone.now() + timedelta(minutes=31)).count() == 25
    location = answer["Location"].split("/api/v1/")[1]
    assert [row["id"] for row in partner("GET", location).json()["results"]] == [row["id"] for row in reversed(rows)]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_input", "profile"),
        ({"profile": "1"}, "invalid_input", "profile"),
        ({"profile": 2**40}, "unknown_profile", "profile"),
        ({"profile": True}, "invalid_input", "profile"),
        ({"count": 10_001}, "invalid_input", "count"),
        ({"count": 0}, "invalid_input", "count"),
        ({"count": 2, "mac": "00562B043615"}, "invalid_code_request", "count"),
        ({"mac": "nonsense"}, "invalid_mac", "mac"),
        ({"model": "a b\n"}, "invalid_model", "model"),
        ({"serial": "!!"}, "invalid_serial", "serial"),
        ({"email": "nonsense"}, "invalid_code_request", "email"),
        ({"expires_in_hours": 0}, "invalid_input", "expires_in_hours"),
        ({"expires_in_hours": 8761}, "invalid_input", "expires_in_hours"),
        ({"expires_in_hours": "24"}, "invalid_input", "expires_in_hours"),
        ({"code": "1234567890123456"}, "invalid_input", "code"),
    ],
)
def test_a_wrong_order_names_the_field_and_issues_nothing(partner, profile, body, code, field):
    given = {"profile": profile.pk} | body if body else {}

    answer = partner("POST", "activation-codes/", given)

    assert (answer.status_code, answer.json()["code"], list(answer.json()["errors"])) == (400, code, [field])
    assert not IssuedCode.objects.exists()


def test_the_list_is_cut_by_status_profile_and_phone(partner, profile):
    now = timezone.now()
    used = {"redeemed_at": now, "redeemed_mac": "00562B043615"}
    ids = {
        "issued": issued(profile)[0].pk,
        "expired": issued(profile, at=now - timedelta(hours=2), lifetime=timedelta(hours=1))[0].pk,
        "redeemed": issued(profile, columns=used)[0].pk,
        "revoked": issued(profile, columns={"revoked_at": now})[0].pk,
    }
    elsewhere = issued(make_profile(organization=partner.organization))[0].pk

    def found(query):
        return [row["id"] for row in partner("GET", f"activation-codes/?{query}").json()["results"]]

    assert found("status=issued") == [elsewhere, ids["issued"]]
    for status in ("expired", "redeemed", "revoked"):
        assert found(f"status={status}") == [ids[status]]
    assert found(f"profile={profile.pk}&status=issued") == [ids["issued"]]
    assert found("device=00:56:2B:04:36:15") == [ids["redeemed"]]
    assert partner("GET", "activation-codes/?status=lost").status_code == 400


def test_pages_follow_each_other_newest_first(partner, profile):
    rows = [issued(profile)[0].pk for _ in range(5)]

    first = partner("GET", "activation-codes/?limit=3").json()
    second = partner("GET", f"activation-codes/?limit=3&cursor={first['next']}").json()

    assert [row["id"] for row in first["results"] + second["results"]] == rows[::-1]
    assert second["next"] is None


def test_revealing_gives_the_digits_and_leaves_a_record(partner, profile):
    row, code = issued(profile)

    answer = partner("POST", f"activation-codes/{row.pk}/reveal/")

    assert (answer.status_code, answer.json()["code"]) == (200, code.digits)
    assert answer["Cache-Control"] == "no-store"
    reading = AuditedReading.objects.get()
    assert (reading.issued_code_id, reading.source, reading.reader) == (row.pk, "api", partner.row.prefix)


def test_a_code_of_no_use_is_not_revealed(partner, profile):
    row, _ = issued(profile, columns={"revoked_at": timezone.now()})

    answer = partner("POST", f"activation-codes/{row.pk}/reveal/")

    assert (answer.status_code, answer.json()["code"]) == (409, "code_not_usable")


@pytest.mark.parametrize(("method", "suffix", "status"), [("DELETE", "", 204), ("POST", "revoke/", 200)])
def test_a_code_is_revoked_either_way_and_again_without_harm(partner, profile, method, suffix, status):
    row, _ = issued(profile)

    for _ in range(2):
        assert partner(method, f"activation-codes/{row.pk}/{suffix}").status_code == status

    assert partner("GET", f"activation-codes/{row.pk}/").json()["status"] == "revoked"


def test_a_stale_condition_revokes_nothing(partner, profile):
    row, _ = issued(profile)

    assert partner("DELETE", f"activation-codes/{row.pk}/", If_Match='"stale"').status_code == 412

    row.refresh_from_db()
    assert row.revoked_at is None


@pytest.mark.parametrize(
    ("method", "suffix", "scope"),
    [
        ("GET", "", "codes:read"),
        ("GET", "{id}/", "codes:read"),
        ("POST", "", "codes:issue"),
        ("DELETE", "{id}/", "codes:issue"),
        ("POST", "{id}/revoke/", "codes:issue"),
        ("POST", "{id}/reveal/", "codes:reveal"),
    ],
)
def test_each_operation_needs_its_own_scope(partner, keyed, method, suffix, scope):
    others = {"codes:read", "codes:issue", "codes:reveal", "devices:write", "organization:admin"} - {scope}
    lacking, having = keyed(partner.organization, sorted(others)), keyed(partner.organization, [scope])
    profile = make_profile(organization=partner.organization)
    path = "activation-codes/" + suffix.format(id=issued(profile)[0].pk)
    body = {"profile": profile.pk} if suffix == "" and method == "POST" else None

    assert lacking(method, path, body).status_code == 403
    assert having(method, path, body).status_code < 300


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("DELETE", ""), ("POST", "revoke/"), ("POST", "reveal/")])
def test_a_foreign_code_answers_as_one_that_does_not_exist(partner, stranger, method, suffix):
    row, _ = issued(make_profile(organization=stranger.organization))

    refused = partner(method, f"activation-codes/{row.pk}/{suffix}")
    unknown = partner(method, f"activation-codes/{2**40}/{suffix}")

    assert refused.status_code == 404
    assert refused.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}
    row.refresh_from_db()
    assert row.revoked_at is None
    assert not AuditedReading.objects.exists()


def test_foreign_codes_are_in_no_list_whatever_the_filter(partner, stranger):
    profile = make_profile(organization=stranger.organization)
    used = {"redeemed_at": timezone.now(), "redeemed_mac": "00562B043615"}
    row, _ = issued(profile, columns=used)
    issued(profile)

    for query in ("", "status=redeemed", f"profile={profile.pk}", "device=00562B043615", f"batch={row.batch}"):
        assert partner("GET", f"activation-codes/?{query}").json()["results"] == [], query
    cursor = stranger("GET", "activation-codes/?limit=1").json()["next"]
    assert partner("GET", f"activation-codes/?cursor={cursor}").json()["code"] == "invalid_cursor"


def test_no_code_is_issued_for_a_foreign_profile(partner, stranger):
    profile = make_profile(organization=stranger.organization)

    answer = partner("POST", "activation-codes/", {"profile": profile.pk})

    assert answer.json()["code"] == "unknown_profile"
    assert not IssuedCode.objects.exists()
