"""Keys by API: made and shown once, rotated with an overlap, revoked; none gives what it has not itself."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import authentication, keys
from accounts.models import ApiKey, AuditEntry
from tests.factories import ACTOR, make_key
from tests.races import at_once

ORDERS = {"name": "Orders", "scopes": ["devices:read"]}


def works(text):
    # What a process remembers of keys for a moment is not the point here.
    authentication.forget()
    return Client().get("/api/v1/me/", headers={"Authorization": f"Bearer {text}"}).status_code == 200


def test_a_key_is_made_shown_once_listed_and_revoked(partner):
    made = partner("POST", "keys/", ORDERS)

    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    text, shown = made.json()["key"], {name: value for name, value in made.json().items() if name != "key"}
    assert works(text)
    path = f"keys/{shown['id']}/"
    assert made["Location"].endswith(path)
    assert partner("GET", path).json() | {"last_used_at": None} == shown
    for answer in (partner("GET", path), partner("GET", "keys/"), partner("GET", "audit/")):
        assert text.split("_", 2)[2] not in answer.content.decode()
    assert partner("DELETE", path).status_code == 204
    assert not works(text)
    assert partner("GET", path).json()["standing"] == "revoked"
    entries = AuditEntry.objects.filter(thing=f"key:{shown['id']}").order_by("pk")
    assert list(entries.values_list("action", flat=True)) == ["key.created", "key.revoked"]
    assert entries[0].after == {"name": "Orders", "scopes": ["devices:read"], "expires_at": None}


def test_a_key_gives_no_scope_that_it_has_not_itself(partner, keyed):
    weak = keyed(partner.organization, ["organization:admin", "devices:read"])

    refused = weak("POST", "keys/", ORDERS | {"scopes": ["devices:read", "devices:write", "audit:read"]})

    assert (refused.status_code, refused.json()["code"]) == (403, "scope_not_held")
    assert refused.json()["detail"] == "The key in use has not itself audit:read, devices:write."
    assert weak("POST", "keys/", ORDERS).status_code == 201


def test_a_stronger_key_cannot_be_had_by_rotating_it(partner, keyed):
    weak = keyed(partner.organization, ["organization:admin"])

    refused = weak("POST", f"keys/{partner.row.pk}/rotate/", {})

    assert (refused.status_code, refused.json()["code"]) == (403, "scope_not_held")
    partner.row.refresh_from_db()
    assert partner.row.successor is None


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"name": " "}, "invalid_key_request"),
        ({"name": "a\nb"}, "invalid_key_request"),
        ({"name": "x" * 81}, "invalid_input"),
        ({"scopes": []}, "unknown_scope"),
        ({"scopes": ["everything"]}, "unknown_scope"),
        ({"scopes": "devices:read"}, "invalid_input"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "invalid_input"),
        ({"key": "zt_mine"}, "invalid_input"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused_in_words(partner, over, code):
    refused = partner("POST", "keys/", ORDERS | over)

    assert (refused.status_code, refused.json()["code"]) == (400, code)
    assert ApiKey.objects.count() == 1


def test_a_rotated_key_and_its_successor_are_both_good_for_a_while(partner):
    expires_at = timezone.now() + timedelta(days=30)
    row, text = make_key(organization=partner.organization, scopes=["devices:read"], expires_at=expires_at)

    made = partner("POST", f"keys/{row.pk}/rotate/", {"overlap_hours": 2})

    assert made.status_code == 201
    assert works(text)
    assert works(made.json()["key"])
    assert (made.json()["scopes"], made.json()["name"]) == (["devices:read"], row.name)
    old = partner("GET", f"keys/{row.pk}/").json()
    assert (old["standing"], old["successor"]) == ("replaced", made.json()["id"])
    row.refresh_from_db()
    assert row.expires_at is not None
    assert timedelta(hours=1, minutes=59) < row.expires_at - timezone.now() <= timedelta(hours=2)
    successor = ApiKey.objects.get(pk=made.json()["id"])
    assert successor.expires_at is not None
    assert successor.expires_at > timezone.now() + timedelta(days=29)
    ApiKey.objects.filter(pk=row.pk).update(expires_at=timezone.now())
    assert not works(text)
    again = partner("POST", f"keys/{row.pk}/rotate/", {})
    assert (again.status_code, again.json()["code"]) == (409, "key_not_live")


def test_an_overlap_never_makes_a_key_live_longer(partner):
    expires_at = timezone.now() + timedelta(hours=1)
    row, _ = make_key(organization=partner.organization, expires_at=expires_at)

    assert partner("POST", f"keys/{row.pk}/rotate/", {"overlap_hours": 720}).status_code == 201

    row.refresh_from_db()
    assert row.expires_at == expires_at
    assert partner("POST", f"keys/{row.pk}/rotate/", {"overlap_hours": 721}).status_code == 400


def test_without_an_overlap_the_old_key_ends_at_once(partner):
    row, text = make_key(organization=partner.organization)

    partner("POST", f"keys/{row.pk}/rotate/", {"overlap_hours": 0})

    assert not works(text)


def test_keys_are_marked_by_what_should_be_done_about_them(partner):
    now = timezone.now()
    rows = {
        "good": make_key(organization=partner.organization)[0],
        "expiring": make_key(organization=partner.organization, expires_at=now + timedelta(days=10))[0],
        "expired": make_key(organization=partner.organization, expires_at=now)[0],
        "unused": make_key(organization=partner.organization)[0],
        "suspended": make_key(organization=partner.organization)[0],
        "revoked": make_key(organization=partner.organization)[0],
    }
    ApiKey.objects.filter(pk=rows["unused"].pk).update(created_at=now - timedelta(days=61))
    keys.suspend(rows["suspended"], actor=ACTOR, at=now)
    keys.revoke(rows["revoked"], actor=ACTOR, at=now)

    shown = {row["id"]: row["standing"] for row in partner("GET", "keys/").json()["results"]}

    assert {name: shown[row.pk] for name, row in rows.items()} == {name: name for name in rows}


def test_a_suspended_key_is_of_no_use_until_the_operator_resumes_it(partner):
    row, text = make_key(organization=partner.organization)

    keys.suspend(row, actor=ACTOR, at=timezone.now())
    assert not works(text)
    assert partner("POST", f"keys/{row.pk}/rotate/", {}).json()["code"] == "key_not_live"
    keys.resume(row, actor=ACTOR, at=timezone.now())

    assert works(text)
    entries = AuditEntry.objects.filter(thing=f"key:{row.pk}").order_by("pk")
    assert list(entries.values_list("action", flat=True)) == ["key.created", "key.suspended", "key.resumed"]


def test_foreign_keys_answer_as_those_that_do_not_exist(partner, stranger):
    before = ApiKey.objects.values().get(pk=stranger.row.pk)

    assert stranger.row.prefix not in partner("GET", "keys/").content.decode()
    for method, end in (("GET", ""), ("DELETE", ""), ("POST", "rotate/")):
        refused, unknown = (partner(method, f"keys/{number}/{end}", {}) for number in (stranger.row.pk, 2**40))
        assert refused.status_code == 404
        assert refused.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}
    assert ApiKey.objects.values().get(pk=stranger.row.pk) == before


def test_an_organization_has_so_many_keys_and_no_more(partner, monkeypatch):
    monkeypatch.setattr(keys, "MOST_LIVE", 2)
    assert partner("POST", "keys/", ORDERS).status_code == 201

    refused = partner("POST", "keys/", ORDERS)

    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_keys")


@pytest.mark.django_db(transaction=True)
def test_of_two_rotations_at_once_one_makes_a_key(keyed):
    from tests.factories import make_organization

    partner = keyed(make_organization())
    row, _ = make_key(organization=partner.organization)

    answers = at_once(*(lambda: partner("POST", f"keys/{row.pk}/rotate/", {}) for _ in range(3)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    assert ApiKey.objects.filter(organization=partner.organization).count() == 3
