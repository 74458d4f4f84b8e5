"""The audit by API: everything that changes anything is in it, and only its own organization reads it."""

from datetime import timedelta
from urllib.parse import quote

import pytest

from accounts import auditing, chaining
from accounts.models import AuditEntry
from tests.factories import ACTOR, AT, make_profile

PROFILE = {"name": "Main", "targets": ["https://cfg.example.net/$MA.xml"]}


def actions(partner, query=""):
    return [row["action"] for row in partner("GET", f"audit/{query}").json()["results"]]


def record(partner, count=1, **over):
    told = {"organization_id": partner.organization.pk, "action": "x.y", "subject": "x", "at": AT} | over
    for _ in range(count):
        auditing.record(ACTOR, **told)


def test_every_kind_of_change_by_api_leaves_its_entry(partner):
    profile = partner("POST", "profiles/", PROFILE).json()["id"]
    partner("PATCH", f"profiles/{profile}/", {"enabled": False})
    partner("PATCH", f"profiles/{profile}/", {"enabled": False})
    partner("PUT", "short-codes/123456/", {"profile": profile})
    partner("PUT", "short-codes/123456/", {"profile": profile, "max_devices": 5})
    partner("PUT", "short-codes/123456/", {"profile": profile, "max_devices": 5})
    partner("DELETE", "short-codes/123456/")
    codes = partner("POST", "activation-codes/", {"profile": profile, "count": 3}).json()["results"]
    partner("POST", f"activation-codes/{codes[0]['id']}/reveal/")
    partner("DELETE", f"activation-codes/{codes[0]['id']}/")
    partner("POST", f"activation-codes/{codes[0]['id']}/revoke/")
    spare = partner("POST", "profiles/", PROFILE | {"name": "Spare"}).json()["id"]
    partner("DELETE", f"profiles/{spare}/")

    found = list(reversed(actions(partner)))

    assert found[0] == "key.created"
    assert found[1:] == [
        "profile.created", "profile.changed", "short_code.enabled", "short_code.changed", "short_code.disabled",
        "code.issued", "code.revealed", "code.revoked", "profile.created", "profile.deleted",
    ]  # fmt: skip
    (changed,) = partner("GET", "audit/?action=profile.changed").json()["results"]
    assert (changed["before"], changed["after"]) == ({"enabled": True}, {"enabled": False})
    assert (changed["source"], changed["name"]) == ("api", partner.row.prefix)
    for code in codes:
        assert code["code"] not in partner("GET", "audit/").content.decode()


def test_an_entry_tells_the_request_and_where_it_came_from(partner):
    answer = partner("POST", "profiles/", PROFILE, X_Request_Id="order-4711")

    assert answer.status_code == 201
    (entry,) = partner("GET", "audit/?action=profile.created").json()["results"]
    assert (entry["request_id"], entry["address"]) == ("order-4711", "127.0.0.1")


def test_a_refused_change_leaves_no_entry(partner):
    before = AuditEntry.objects.count()

    partner("POST", "profiles/", PROFILE | {"targets": ["ftp://x/"]})
    partner("POST", "keys/", {"name": "x", "scopes": ["nothing"]})
    partner("POST", "activation-codes/", {"profile": 2**40})

    assert AuditEntry.objects.count() == before


def test_pages_go_back_in_time_and_new_entries_do_not_shift_them(partner):
    record(partner, 5)
    first = partner("GET", "audit/?limit=4").json()
    record(partner, 3)

    rest = partner("GET", f"audit/?limit=4&cursor={first['next']}").json()

    ids = [row["id"] for row in (*first["results"], *rest["results"])]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), rest["next"]) == (6, None)


def test_the_list_is_filtered_by_action_and_time(partner):
    record(partner, action="a.b", at=AT)
    record(partner, action="a.b", at=AT + timedelta(days=1))
    record(partner, action="c.d", at=AT + timedelta(days=1))

    since = quote((AT + timedelta(hours=1)).isoformat())
    assert actions(partner, "?action=a.b") == ["a.b", "a.b"]
    assert actions(partner, f"?since={since}&action=a.b") == ["a.b"]
    assert actions(partner, "?action=no.such") == []


@pytest.mark.parametrize("query", ["action=x", "action=A.B", "action=%00.a", "since=yesterday", "what=1", "limit=0"])
def test_what_cannot_be_asked_is_refused(partner, query):
    assert partner("GET", f"audit/?{query}").status_code == 400


def test_nobody_elses_audit_is_read(partner, stranger):
    record(stranger, subject="Secret")
    auditing.record(ACTOR, organization_id=None, action="x.y", subject="Secret", at=AT)
    cursor = stranger("GET", "audit/?limit=1").json()["next"]

    assert "Secret" not in partner("GET", "audit/").content.decode()
    assert partner("GET", f"audit/?cursor={cursor}").json()["code"] == "invalid_cursor"


def test_it_takes_the_scope_and_no_other_method(partner, keyed):
    weak = keyed(partner.organization, ["organization:admin"])

    assert weak("GET", "audit/").json()["code"] == "insufficient_scope"
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert partner(method, "audit/", {}).status_code == 405


def test_the_place_in_the_chain_is_told_once_there_is_one(partner):
    make_profile(organization=partner.organization)
    assert partner("GET", "audit/").json()["results"][0]["position"] is None

    chaining.extend(at=AT)

    (row,) = partner("GET", "audit/").json()["results"]
    assert row["position"] == 1
    assert len(row["digest"]) == 64
