"""Every error under `/api/` is a problem document, with its status and what to do about it."""

import importlib
import logging
import pkgutil

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client

import accounts
import onboarding
from config.problems import STATUSES
from onboarding.errors import OnboardingError

FIELDS = {"type", "title", "status", "code", "detail", "remedy", "errors", "request_id"}
URL = "devices/00562B043615/"
# Refusals of verbs that only pages of the admin site call, which show them in their own way.
ON_PAGES_ALONE = {
    "invalid_filter", "model_missing", "not_as_it_was", "phones_move", "product_code_scanned", "serial_missing",
    "unreachable", "unreadable_scan",
}  # fmt: skip


def assert_problem(answer, status, code):
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == FIELDS
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"].endswith(f"/api/problems/#{code}")
    assert problem["request_id"] == answer["X-Request-Id"]
    assert problem["remedy"]
    assert problem["detail"] or status == 500
    return problem


def test_the_request_id_of_the_caller_comes_back(partner):
    answer = partner("GET", URL, X_Request_Id="order-20261122")

    assert assert_problem(answer, 404, "not_found")["request_id"] == "order-20261122"


def test_no_key_is_401_with_a_challenge(db):
    answer = Client().get("/api/v1/devices/")

    assert_problem(answer, 401, "not_authenticated")
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "devices/", "devices:read"),
        ("HEAD", "devices/", "devices:read"),
        ("GET", URL, "devices:read"),
        ("PUT", URL, "devices:write"),
        ("PATCH", URL, "devices:write"),
        ("DELETE", URL, "devices:write"),
        ("GET", f"{URL}timeline/", "devices:read"),
        ("POST", f"{URL}events/", "devices:write"),
        ("POST", "devices/validate/", "devices:write"),
        ("GET", "explain/", "devices:read"),
        ("GET", "profiles/", "profiles:read"),
        ("POST", "profiles/", "profiles:write"),
        ("GET", "profiles/1/", "profiles:read"),
        ("PUT", "profiles/1/", "profiles:write"),
        ("PATCH", "profiles/1/", "profiles:write"),
        ("DELETE", "profiles/1/", "profiles:write"),
    ],
)
def test_each_method_needs_its_scope_and_no_other(keyed, partner, method, path, needed):
    others = [scope for scope in partner.row.scopes if scope != needed]

    refused = keyed(partner.organization, others)(method, path)
    let_in = keyed(partner.organization, [needed])(method, path)

    assert refused.status_code == 403
    if method != "HEAD":
        assert needed in assert_problem(refused, 403, "insufficient_scope")["detail"]
    assert let_in.status_code not in {401, 403}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "devices/", "GET, HEAD"),
        ("POST", URL, "GET, PUT, PATCH, DELETE, HEAD"),
        ("OPTIONS", f"{URL}events/", "POST"),
        ("GET", f"{URL}events/", "POST"),
        ("OPTIONS", "devices/", "GET, HEAD"),
        ("TRACE", "devices/", "GET, HEAD"),
        ("DELETE", "me/", "GET, HEAD"),
    ],
)
def test_other_methods_are_405_and_name_the_right_ones(partner, method, path, allowed):
    answer = partner(method, path)

    assert_problem(answer, 405, "method_not_allowed")
    assert answer["Allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing/", "/api/v1/devices", "/api/v1/", "/api/", "/api/v2/devices/", "/api/v1/profiles/abc/"]
)
@pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
def test_unknown_paths_are_404_for_every_method(db, path, method):
    assert_problem(getattr(Client(), method)(path), 404, "not_found")


def test_what_cannot_be_accepted_is_406(partner):
    assert_problem(partner("GET", "devices/", Accept="text/html"), 406, "not_acceptable")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_other_media_types_are_415(partner, kind):
    answer = Client().put(
        f"/api/v1/{URL}", b"model=CP-8841-3PCC", content_type=kind, headers={"Authorization": f"Bearer {partner.key}"}
    )

    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"model": NaN}',
        b"\xff\xfe",
        b'{"model": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"model": "CP"} x',
    ],
)
def test_what_is_not_json_is_400(partner, body):
    answer = Client().put(
        f"/api/v1/{URL}", body, content_type="application/json", headers={"Authorization": f"Bearer {partner.key}"}
    )

    assert_problem(answer, 400, "invalid_json")


def test_an_empty_body_is_400_and_names_what_is_missing(partner):
    assert "model" in assert_problem(partner("PUT", URL), 400, "invalid_input")["errors"]


def test_a_body_above_one_mebibyte_is_413(partner):
    fits = partner("PUT", URL, {"model": "x" * (1024 * 1024 - 100)})
    above = partner("PUT", URL, {"model": "x" * (1024 * 1024)})

    assert fits.status_code == 400
    assert_problem(above, 413, "body_too_large")


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
@pytest.mark.parametrize(("method", "path"), [("GET", "devices/"), ("PUT", URL), ("GET", "me/")])
def test_a_database_that_is_down_is_503_with_retry_after(partner, error, method, path):
    def down(*_):
        raise error("connection to server at 10.0.0.1 failed")

    with connection.execute_wrapper(down):
        answer = partner(method, path, {"model": "CP-8841-3PCC"} if method == "PUT" else None)

    assert "10.0.0.1" not in answer.content.decode()
    assert_problem(answer, 503, "unavailable")
    assert int(answer["Retry-After"]) > 0


def test_a_mistake_of_ours_is_500_without_detail_and_logged(partner, caplog):
    def broken(*_):
        raise RuntimeError("secret of the house")

    with connection.execute_wrapper(broken), caplog.at_level(logging.ERROR):
        answer = partner("GET", "devices/")

    assert_problem(answer, 500, "internal_error")
    assert "secret of the house" not in answer.content.decode()
    assert "secret of the house" in caplog.text


def test_an_unknown_host_is_400_and_tells_partner_and_operator_what_to_do(partner, caplog, settings):
    answers = [partner("GET", "devices/", Host="other.example.org") for _ in range(3)]

    assert settings.PUBLIC_URL in assert_problem(answers[0], 400, "unknown_host")["remedy"]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "config.problems"]
    assert "other.example.org" in line
    assert "ALLOWED_HOSTS" in line


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"model": "?"}, "invalid_model"),
        ({"model": "CP-8841-3PCC", "serial": "1"}, "invalid_serial"),
        ({}, "invalid_input"),
    ],
)
def test_a_field_that_cannot_be_read_brings_its_remedy(partner, body, code):
    assert_problem(partner("PUT", URL, body), 400, code)


def test_too_many_parameters_are_400(partner):
    answer = partner("GET", "devices/?" + "&".join(f"a{n}=1" for n in range(1001)))

    assert_problem(answer, 400, "invalid_request")


def test_every_refusal_of_our_own_has_a_status():
    for package in (accounts, onboarding):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # What the API calls; the admin's edges show refusals in their own way.
            if not any(part in module.name for part in (".migrations", ".admin", ".management", ".tasks")):
                importlib.import_module(module.name)
    refusals, waiting = set(), [OnboardingError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        refusals |= {kind} - {OnboardingError}

    reachable = {kind.code for kind in refusals if kind.__module__.startswith(("onboarding.", "accounts.keys"))}
    assert reachable
    assert reachable - ON_PAGES_ALONE <= set(STATUSES)


def test_the_type_of_a_problem_leads_to_its_description(db):
    page = Client().get("/api/problems/").content.decode()

    for code, status in STATUSES.items():
        assert f'id="{code}"' in page
        assert f"<td>{status}<" in page
