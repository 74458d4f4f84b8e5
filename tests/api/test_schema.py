"""The OpenAPI document is valid, true and complete, and its pages need no other host."""

import re

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from config.problems import STATUSES
from tests.factories import make_device, make_profile

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document():
    """The document as partners download it."""
    answer = Client().get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi"})
    assert answer.status_code == 200
    return yaml.safe_load(answer.content)


def operations(document):
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            if method in METHODS:
                yield path, method, described


def test_it_is_valid_and_drawn_without_a_warning(tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))


def test_it_describes_every_path_and_method(document):
    def mounted(resolver, prefix=""):
        for pattern in resolver.url_patterns:
            path = prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
            if isinstance(pattern, URLResolver):
                yield from mounted(pattern, path)
            elif isinstance(pattern, URLPattern) and path.startswith("api/v1/"):
                yield f"/{path}", {m for m in METHODS if hasattr(pattern.callback.cls, m)}  # type: ignore[attr-defined]

    described = {path: METHODS & set(methods) for path, methods in document["paths"].items()}
    assert described == dict(mounted(get_resolver()))


def test_it_is_openapi_3_1_with_a_bearer_key_on_every_operation(document):
    assert document["openapi"].startswith("3.1")
    (name, scheme), *others = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"], others) == ("http", "bearer", [])
    for path, method, described in operations(document):
        assert described["security"] == [{name: []}], (path, method)
        assert described["summary"]
        assert "scope" in described["description"] or path.endswith("/me/")


def test_every_refusal_is_a_problem_and_common_ones_are_everywhere(document):
    for path, method, described in operations(document):
        statuses = set(described["responses"])
        assert statuses >= {"401", "403", "406", "500", "503"}, (path, method)
        assert "requestBody" not in described or statuses >= {"400", "413", "415"}, (path, method)
        for status, answer in described["responses"].items():
            if int(status) >= 400:
                (kind, content), *others = answer["content"].items()
                assert (kind, others) == ("application/problem+json", [])
                assert content["schema"]["$ref"].endswith("/Problem")
                (example,) = content["examples"].values()
                assert STATUSES[example["value"]["code"]] == int(status)
        assert "Retry-After" in described["responses"]["503"]["headers"]


def test_lists_describe_their_cursor_and_single_resources_their_etag(document):
    for path in ("/api/v1/devices/", "/api/v1/profiles/", "/api/v1/devices/{mac}/timeline/"):
        names = {parameter["name"] for parameter in document["paths"][path]["get"]["parameters"]}
        assert names >= {"limit", "cursor"}
    for path in ("/api/v1/devices/{mac}/", "/api/v1/profiles/{profile_id}/"):
        for method in ("get", "put", "patch"):
            described = document["paths"][path][method]
            assert "ETag" in described["responses"]["200"]["headers"]
            if method != "get":
                assert "If-Match" in {parameter["name"] for parameter in described["parameters"]}
                assert "412" in described["responses"]


def test_what_is_answered_is_what_is_described(document, partner):
    profile = make_profile(organization=partner.organization, confirm="beacon")
    device = make_device(profile=profile)
    body = {"model": "CP-8841-3PCC"}
    named = {"mac": device.mac, "profile_id": profile.pk}

    for method, path, sent, query in (
        ("get", "/api/v1/devices/", None, "?limit=1"),
        ("get", "/api/v1/devices/{mac}/", None, ""),
        ("put", "/api/v1/devices/{mac}/", body, ""),
        ("patch", "/api/v1/devices/{mac}/", {"label": "x"}, ""),
        ("put", "/api/v1/devices/{mac}/", {"nothing": 1}, ""),
        ("get", "/api/v1/devices/{mac}/timeline/", None, "?limit=1"),
        ("post", "/api/v1/devices/{mac}/events/", {"event": "factory_reset"}, ""),
        ("post", "/api/v1/devices/validate/", {"rows": [{"mac": device.mac}, {}]}, ""),
        ("get", "/api/v1/explain/", None, f"?mac={device.mac}"),
        ("get", "/api/v1/profiles/", None, ""),
        ("get", "/api/v1/profiles/{profile_id}/", None, ""),
        ("post", "/api/v1/profiles/", {"name": "New", "targets": ["https://new.example.net/"]}, ""),
        ("get", "/api/v1/me/", None, ""),
    ):
        answer = partner(method, path.removeprefix("/api/v1/").format(**named) + query, sent)
        described = document["paths"][path][method]["responses"][str(answer.status_code)]
        schema = described["content"][answer["Content-Type"].partition(";")[0]]["schema"]
        jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json())
        shown = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
        assert set(answer.json()) == set(shown), (method, path)


def test_every_example_fits_its_schema(document):
    seen = 0
    for _, _, described in operations(document):
        contents = [described.get("requestBody", {}), *described["responses"].values()]
        for content in (media for holder in contents for media in holder.get("content", {}).values()):
            for example in content.get("examples", {}).values():
                schema = {**content["schema"], "components": document["components"]}
                jsonschema.Draft202012Validator(schema).validate(example["value"])
                seen += 1
    assert seen > 50


@pytest.mark.parametrize("path", ["/api/docs/", "/api/redoc/"])
def test_the_pages_load_only_what_this_service_serves_and_the_policy_allows(path):
    answer = Client().get(path)
    page = answer.content.decode()

    assert answer.status_code == 200
    assert not re.findall(r"https?://", page)
    for script in re.findall(r"<script[^>]*>", page):
        assert 'src="' in script  # inline scripts are not allowed by the policy
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        assert finders.find(address.removeprefix("/static/")), address
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self';" in policy + ";"
    assert "default-src 'none'" in policy


def test_the_script_of_the_page_is_served_as_one():
    answer = Client().get("/api/docs/?script=")

    assert answer["Content-Type"].startswith("application/javascript")
    assert "SwaggerUIBundle" in answer.content.decode()


def test_every_write_takes_an_idempotency_key_and_tells_what_may_come_of_it(document):
    for path, method, described in operations(document):
        names = {parameter["name"] for parameter in described.get("parameters", ())}
        answers = described["responses"]
        if method == "get":
            assert "Idempotency-Key" not in names
            continue
        assert "Idempotency-Key" in names, (path, method)
        assert set(answers) >= {"400", "409", "413", "422", "429"}, (path, method)
        assert "Retry-After" in answers["409"]["headers"]
        for status, answer in answers.items():
            assert "Idempotent-Replayed" in answer["headers"], (path, method, status)


def test_every_answer_tells_the_quota_and_too_many_requests_when_to_come_back(document):
    declared = document["components"]["headers"]
    for path, method, described in operations(document):
        assert "Retry-After" in described["responses"]["429"]["headers"], (path, method)
        for status, answer in described["responses"].items():
            assert set(answer["headers"]) >= {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}, (
                path,
                status,
            )
            for header in answer["headers"].values():
                assert "schema" in header or header["$ref"].rpartition("/")[2] in declared


def test_every_single_resource_has_an_etag_and_every_list_a_cursor(document):
    for path, methods in document["paths"].items():
        if "get" not in methods:
            continue
        described = methods["get"]
        shown = described["responses"]["200"]
        names = {parameter["name"] for parameter in described.get("parameters", ())}
        if path.endswith("}/"):
            assert "ETag" in shown["headers"], path
            assert {"If-None-Match"} <= names, path
            assert "304" in described["responses"], path
        else:
            (reference,) = {media["schema"]["$ref"] for media in shown["content"].values()}
            properties = document["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
            assert "next" not in properties or {"limit"} < names & {"limit", "cursor", "after"}, path
