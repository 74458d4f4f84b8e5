"""Idempotency keys: a write that is sent again has its effect once, and is given the same answer."""

import json
from datetime import datetime, timedelta

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts import idempotency
from accounts.models import AuditEntry, KeptAnswer
from accounts.views import WRITES, KeyedView
from activation.models import IssuedCode
from onboarding.models import Device, RedirectProfile, StateChange
from tests.api.conftest import PartnerClient
from tests.factories import make_device, make_profile

BODY = {"name": "Head office", "targets": ["https://cfg.example.net/$MA.xml"]}
KEY = {"Idempotency_Key": "6f7f6f0c-5f0d-4f0e-9f0a-2d3c4b5a6978"}
# What belongs to the answer itself. The others tell of this request.
ANSWER = ("Content-Type", "ETag", "Location", "Cache-Control", "Allow", "Vary")


def same(one, other):
    return (one.status_code, one.content, [one.get(n) for n in ANSWER]) == (
        other.status_code, other.content, [other.get(n) for n in ANSWER],
    )  # fmt: skip


def problem(answer):
    return answer.status_code, answer.json()["code"]


def test_a_repeated_write_has_its_effect_once_and_the_same_answer(partner):
    first = partner("POST", "profiles/", BODY, **KEY)
    again = partner("POST", "profiles/", BODY, **KEY)

    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert same(first, again)
    assert RedirectProfile.objects.count() == 1


def test_every_kind_of_write_takes_a_key(partner):
    profile = make_profile(organization=partner.organization)
    mac, path = "00562B043615", "devices/00562B043615/"
    for number, (method, asked, body, status) in enumerate(
        [
            ("PUT", path, {"model": "CP-8841-3PCC", "profile": profile.pk}, 201),
            ("PATCH", path, {"label": "Reception"}, 200),
            ("POST", f"{path}events/", {"event": "acquired"}, 202),
            ("POST", "devices/validate/", {"rows": [{"mac": mac}]}, 200),
            ("PUT", "short-codes/20480016/", {"profile": profile.pk}, 201),
            ("DELETE", "short-codes/20480016/", None, 204),
            ("POST", "activation-codes/", {"profile": profile.pk, "count": 3}, 201),
            ("DELETE", path, None, 204),
        ]
    ):
        first, again = (partner(method, asked, body, Idempotency_Key=f"key {number}") for _ in range(2))
        assert first.status_code == status, (method, asked, first.content)
        assert same(first, again), (method, asked)
        assert again["Idempotent-Replayed"] == "true"
    assert IssuedCode.objects.count() == 3


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "profiles/", BODY | {"name": "Another"}),
        ("POST", "profiles/?x=1", BODY),
        ("POST", "devices/validate/", BODY),
        ("PUT", "profiles/1/", BODY),
    ],
)
def test_the_key_of_another_request_is_refused(partner, method, path, body):
    partner("POST", "profiles/", BODY, **KEY)

    answer = partner(method, path, body, **KEY)

    assert problem(answer) == (422, "idempotency_key_reused")
    assert RedirectProfile.objects.count() == 1


def test_keys_belong_to_the_api_key_that_sent_them(partner, stranger):
    colleague = PartnerClient(partner.organization)

    answers = [who("POST", "profiles/", BODY, **KEY) for who in (partner, stranger, colleague)]

    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert not any("Idempotent-Replayed" in answer for answer in answers)


def test_a_refusal_is_kept_too_and_what_it_undid_stays_undone(partner, stranger):
    device = make_device(organization=stranger.organization)
    body = {"model": "CP-8841-3PCC"}
    first = partner("PUT", f"devices/{device.mac}/", body, **KEY)
    stranger("DELETE", f"devices/{device.mac}/")

    again = partner("PUT", f"devices/{device.mac}/", body, **KEY)

    assert problem(first) == (409, "device_taken")
    assert same(first, again)
    assert not Device.objects.exists()
    assert AuditEntry.objects.filter(action="device.taken_refused").count() == 1


def test_an_error_of_the_service_is_not_kept_and_the_same_key_succeeds_later(partner):
    def down(execute, sql, *rest):
        if "INSERT" in sql and "redirectprofile" in sql:
            raise OperationalError("gone")
        return execute(sql, *rest)

    with connection.execute_wrapper(down):
        assert problem(partner("POST", "profiles/", BODY, **KEY)) == (503, "unavailable")
    later = partner("POST", "profiles/", BODY, **KEY)

    assert later.status_code == 201
    assert "Idempotent-Replayed" not in later


def test_an_effect_whose_answer_cannot_be_kept_is_undone(partner):
    def down(execute, sql, *rest):
        if "INSERT" in sql and "keptanswer" in sql:
            raise OperationalError("gone")
        return execute(sql, *rest)

    with connection.execute_wrapper(down):
        assert partner("POST", "profiles/", BODY, **KEY).status_code == 503

    assert not RedirectProfile.objects.exists()


def test_a_refusal_for_too_many_requests_is_not_kept(partner, settings):
    settings.API_REQUESTS_PER_MINUTE = 1
    partner("GET", "me/")
    assert partner("POST", "profiles/", BODY, **KEY).status_code == 429
    settings.API_REQUESTS_PER_MINUTE = 100

    assert partner("POST", "profiles/", BODY, **KEY).status_code == 201


def test_an_answer_is_kept_for_a_day_and_then_pruned(partner):
    partner("POST", "profiles/", BODY, **KEY)
    now = timezone.now()
    KeptAnswer.objects.update(at=now - timedelta(hours=24, seconds=1))

    anew = partner("POST", "profiles/", BODY, **KEY)

    assert problem(anew) == (409, "profile_name_taken")
    assert idempotency.prune(at=now + timedelta(hours=23)) == 0
    assert idempotency.prune(at=now + timedelta(hours=25)) == 1
    assert not KeptAnswer.objects.exists()


def test_pruning_takes_the_oldest_first_and_not_all_at_once(partner):
    now = timezone.now()
    for age in (30, 40, 50, 1):
        KeptAnswer.objects.create(
            digest=str(age), fingerprint="", status=200, answer=b"", at=now - timedelta(hours=age)
        )

    assert idempotency.prune(at=now, limit=2) == 2
    assert set(KeptAnswer.objects.values_list("digest", flat=True)) == {"30", "1"}


@pytest.mark.parametrize("text", ["", "x" * 256, "Schlüssel", "a\tb"])
def test_a_key_of_another_form_is_refused(partner, text):
    answer = partner("POST", "profiles/", BODY, Idempotency_Key=text)

    assert problem(answer) == (400, "invalid_idempotency_key")
    assert not RedirectProfile.objects.exists()


@pytest.mark.parametrize("text", ["x", "x" * 255, '"quoted; as=the draft"', "a b"])
def test_any_printable_key_is_taken(partner, text):
    answers = [partner("POST", "profiles/", BODY, Idempotency_Key=text) for _ in range(2)]

    assert same(*answers)
    assert answers[0].status_code == 201


def test_reading_with_a_key_is_reading(partner):
    answers = [partner("GET", "me/", **KEY) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert not KeptAnswer.objects.exists()


def test_a_key_without_the_scope_gets_nothing_that_was_kept(partner, keyed):
    partner("POST", "profiles/", BODY, **KEY)
    partner.row.scopes = ["devices:read"]
    partner.row.save(update_fields=["scopes"])
    from accounts import authentication

    authentication.forget()

    assert problem(partner("POST", "profiles/", BODY, **KEY)) == (403, "insufficient_scope")


def test_digits_of_codes_are_given_again_and_lie_nowhere_in_clear(partner):
    profile = make_profile(organization=partner.organization)
    first = partner("POST", "activation-codes/", {"profile": profile.pk, "label": "Reception"}, **KEY)
    again = partner("POST", "activation-codes/", {"profile": profile.pk, "label": "Reception"}, **KEY)

    assert same(first, again)
    assert again["Cache-Control"] == "no-store"
    (code,) = first.json()["results"]
    row = KeptAnswer.objects.values().get()
    kept = json.dumps(row, default=lambda value: str(value) if isinstance(value, datetime) else bytes(value).decode())
    for secret in (code["code"], code["grouped"], "Reception", KEY["Idempotency_Key"], partner.key, partner.row.prefix):
        assert secret not in kept


def test_a_large_answer_is_kept_whole(partner):
    profile = make_profile(organization=partner.organization)
    body = {"profile": profile.pk, "count": 2000}

    first, again = (partner("POST", "activation-codes/", body, **KEY) for _ in range(2))

    assert same(first, again)
    assert len(again.json()["results"]) == 2000 == IssuedCode.objects.count()


def test_an_answer_that_is_too_long_to_be_kept_is_not_repeated(partner, monkeypatch):
    monkeypatch.setattr(idempotency, "MOST_ANSWER_OCTETS", 10)
    first, again = (partner("POST", "profiles/", BODY, **KEY) for _ in range(2))

    assert first.status_code == 201
    assert problem(again) == (409, "answer_not_kept")
    assert RedirectProfile.objects.count() == 1


def test_a_body_that_is_too_long_is_refused_as_without_a_key(partner):
    body = {"model": "x" * 3_000_000}

    assert problem(partner("PUT", "devices/00562B043615/", body, **KEY)) == (413, "body_too_large")
    assert problem(partner("PUT", "devices/00562B043615/", body)) == (413, "body_too_large")


def test_nothing_is_paid_without_a_key(partner):
    partner("GET", "me/")

    with CaptureQueriesContext(connection) as queries:
        partner("PUT", "devices/00562B043615/", {"model": "CP-8841-3PCC"})

    assert not any("keptanswer" in query["sql"] for query in queries)


def test_a_key_costs_few_statements(partner):
    partner("GET", "me/")
    with CaptureQueriesContext(connection) as without:
        partner("PUT", "devices/00562B043615/", {"model": "CP-8841-3PCC"})
    with CaptureQueriesContext(connection) as with_key:
        partner("PUT", "devices/00562B043616/", {"model": "CP-8841-3PCC"}, **KEY)

    # Its transaction and savepoint, the lock, the look for the answer, and keeping it.
    assert len(with_key) - len(without) <= 7


def test_the_history_has_one_row_of_a_repeated_event(partner):
    device = make_device(organization=partner.organization, state="custom_pending")
    for _ in range(3):
        partner("POST", f"devices/{device.mac}/events/", {"event": "acquired"}, **KEY)

    assert StateChange.objects.filter(device=device, event="acquired").count() == 1


def test_no_write_under_the_api_is_without_it():
    def mounted(resolver, prefix=""):
        for pattern in resolver.url_patterns:
            if isinstance(pattern, URLResolver):
                yield from mounted(pattern, prefix + str(pattern.pattern))
            elif isinstance(pattern, URLPattern) and (prefix + str(pattern.pattern)).startswith("api/v1/"):
                yield pattern.callback.cls  # type: ignore[attr-defined]

    views = list(mounted(get_resolver()))

    assert len(views) > 10
    for view in views:
        writes = [name for name in WRITES if hasattr(view, name.lower())]
        assert not writes or issubclass(view, KeyedView), view


def test_what_cannot_be_opened_any_more_is_not_done_again(partner, settings):
    partner("POST", "profiles/", BODY, **KEY)
    settings.CODE_KEYS = ["quite-another-key-of-more-than-32-characters"]

    assert problem(partner("POST", "profiles/", BODY, **KEY)) == (500, "seal_broken")
    assert RedirectProfile.objects.count() == 1


def test_a_rotated_key_still_opens_what_was_kept(partner, settings):
    first = partner("POST", "profiles/", BODY, **KEY)
    settings.CODE_KEYS = ["quite-another-key-of-more-than-32-characters", *settings.CODE_KEYS]

    assert same(first, partner("POST", "profiles/", BODY, **KEY))


def test_a_body_that_is_no_json_is_compared_as_it_is(partner):
    headers = {"Authorization": f"Bearer {partner.key}", "Idempotency-Key": "x"}
    answers = [
        Client().post("/api/v1/profiles/", body, content_type="application/json", headers=headers)
        for body in (b"{", b"{", b"{ ")
    ]

    assert [answer.status_code for answer in answers] == [400, 400, 422]
