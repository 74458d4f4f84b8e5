"""The OpenAPI description of each operation: what it takes, everything it may answer, and which scope it needs.

The statuses that any operation may answer stand here once; what is particular stands at the view.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers

from onboarding.api import shapes

Method = TypeVar("Method", bound=Callable[..., Any])

# Each with the example that documents show of it.
_REFUSALS = {
    400: (
        "Invalid input: the body, the query, the path's MAC or the cursor.",
        "invalid_input",
        "model: This is required.",
    ),
    401: (
        "No key, or one that is wrong, expired, revoked or of a suspended organization.",
        "invalid_key",
        "The API key is not valid.",
    ),
    403: ("The key lacks the scope.", "insufficient_scope", "The API key lacks the scope devices:write."),
    404: ("No such resource among yours.", "not_found", "There is nothing at this address."),
    406: (
        "The media types in Accept cannot be given.",
        "not_acceptable",
        "None of the accepted media types can be given.",
    ),
    409: (
        "In conflict with what there is, or with a request of the same Idempotency-Key that still runs: see `code`.",
        "device_taken",
        "00562B043615 is registered by another organization.",
    ),
    410: (
        "The cursor is older than what is kept.",
        "cursor_expired",
        "The events after this cursor are no longer known.",
    ),
    412: (
        "The resource is not the one that If-Match names, or is one that If-None-Match excludes.",
        "precondition_failed",
        "The resource is not the one that If-Match names.",
    ),
    413: ("The body is longer than 1 MiB.", "body_too_large", "The body is longer than 1048576 bytes."),
    422: (
        "The Idempotency-Key was used for another request.",
        "idempotency_key_reused",
        "This Idempotency-Key was used for another method, path or body.",
    ),
    429: (
        "A quota is used up; repeat after Retry-After seconds.",
        "too_many_requests",
        "The key has had its 6000 requests of this minute.",
    ),
    415: ("The body is not sent as application/json.", "unsupported_media_type", 'Unsupported media type "text/csv".'),
    500: ("A mistake of this service, logged with the request_id.", "internal_error", ""),
    503: (
        "The registry is down; repeat after Retry-After seconds.",
        "unavailable",
        "The registry is not available at the moment.",
    ),
}
_PROBLEM_TYPE = "application/problem+json"


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    """`Authorization: Bearer KEY`; drf-spectacular finds this class by its target."""

    target_class = "accounts.authentication.ApiKeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, as `zt_…`. Each operation names its scope.",
        }


def operation(
    name: str,
    summary: str,
    *,
    answers: Mapping[int, type[serializers.Serializer[Any]] | None],
    scope: str,
    body: type[serializers.Serializer[Any]] | None = None,
    query: type[serializers.Serializer[Any]] | None = None,
    refusals: tuple[int, ...] = (),
    paged: bool = False,
    tagged: bool = False,
    missing: bool | None = None,
    more: str = "",
) -> Callable[[Method], Method]:
    """Describe one method of a view: `paged` lists, resources `tagged` with an ETag, `missing` ones answer 404."""
    kind, _, verb = name.partition("_")
    listed = {status: _page(shape) if paged and shape else shape for status, shape in answers.items()}
    statuses = {401, 403, 406, 429, 500, 503, *refusals}
    if body or query or kind == "devices" or (kind == "shortcodes" and verb in _ON_ONE):
        statuses.add(400)
    if body:
        statuses |= {413, 415}
    if missing if missing is not None else verb in _ON_ONE:
        statuses.add(404)
    guarded = tagged and verb in _GUARDED
    if guarded:
        statuses.add(412)
    if tagged and verb == "read":
        listed[304] = None
    responses: dict[Any, Any] = {
        status: OpenApiResponse(shape, description=_MEANINGS[status], examples=_examples(answers.get(status), paged))
        for status, shape in listed.items()
    }
    for status in sorted(statuses):
        responses[status, _PROBLEM_TYPE] = _refusal(status)
    scoped = f"Needs the scope `{scope}`." if scope else "Every key may ask."
    return extend_schema(
        operation_id=name,
        summary=summary,
        description=" ".join(filter(None, [more, scoped])),
        tags=[kind],
        request=body,
        responses=responses,
        parameters=[
            *([query] if query else []),
            *([_MAC] if kind == "devices" and verb not in {"list", "validate"} else []),
            *([_DIGITS] if kind == "shortcodes" and verb in _ON_ONE else []),
            *([_IF_MATCH] if guarded else []),
            *([_IF_NONE_MATCH] if tagged and verb in {"read", "put"} else []),
            *([_etag(list(set(answers) - {204}))] if tagged and set(answers) != {204} else []),
            *([_LOCATION] if 201 in answers else []),
            _RETRY_AFTER, _CHALLENGE,
        ],
    )  # fmt: skip


_ON_ONE = {"read", "put", "patch", "delete", "release", "timeline", "events"}
_GUARDED = {"put", "patch", "delete", "release"}
_MEANINGS = {
    200: "Done.",
    201: "Created.",
    202: "Accepted.",
    204: "Done; nothing to show.",
    304: "As the caller has it.",
}


def _page(shape: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    component = shape._spectacular_annotation["component_name"]  # type: ignore[attr-defined]
    return inline_serializer(
        f"{component}Page",
        {
            "results": shape(many=True),
            "next": serializers.CharField(allow_null=True, help_text="The cursor of the next page; null at the end."),
        },
    )


def _examples(shape: type[serializers.Serializer[Any]] | None, paged: bool) -> list[OpenApiExample]:
    """A page with the example of its rows; other shapes bring their own."""
    if not paged or shape is None:
        return []
    row = shape._spectacular_annotation["examples"][0].value  # type: ignore[attr-defined]
    return [OpenApiExample("A page", value={"results": [row], "next": None}, response_only=True)]


def _refusal(status: int) -> OpenApiResponse:
    description, *_ = _REFUSALS[status]
    shown = OpenApiExample("A problem", value=_example(status), response_only=True, status_codes=[str(status)])
    return OpenApiResponse(shapes.Problem, description=description, examples=[shown])


def _example(status: int) -> dict[str, Any]:
    _, code, detail = _REFUSALS[status]
    return {
        "type": f"https://activate.example.net/api/problems/#{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "remedy": "…",
        "errors": {"model": ["Required."]} if status == 400 else {},
        "request_id": "8a3c7d0f0c4e4f5e9d4f6f3a2b1c0d9e",
    }


def _header(name: str, description: str, *, on: list[int] | None = None, kind: type = str) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.HEADER, description=description, response=on or False)


_MAC = OpenApiParameter("mac", str, OpenApiParameter.PATH, description="A MAC address in any usual notation.")
_DIGITS = OpenApiParameter("digits", str, OpenApiParameter.PATH, description="3 to 16 digits, without the #.")
_IF_MATCH = _header("If-Match", "The ETag that the resource must still have.")
_IF_NONE_MATCH = _header("If-None-Match", "ETags (or `*`) that the resource must not have.")
_LOCATION = _header("Location", "The path of what was created.", on=[201])
_RETRY_AFTER = _header("Retry-After", "Seconds to wait.", on=[429, 503], kind=int)
_CHALLENGE = _header("WWW-Authenticate", "The scheme: Bearer.", on=[401])


def _etag(statuses: list[int]) -> OpenApiParameter:
    return _header("ETag", "Changes with whatever is shown.", on=statuses)


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """What holds for every operation, whoever wrote it: quotas on all answers, mandates, Idempotency-Key on all writes.

    drf-spectacular calls it with the whole document (POSTPROCESSING_HOOKS).
    """
    result["components"]["headers"] = _HEADERS
    for path, methods in result["paths"].items():
        for method, described in methods.items():
            answers = described["responses"]
            if "{" in path:
                answers.setdefault("404", _written_refusal(404))
            described.setdefault("parameters", []).append(_ON_BEHALF_OF)
            if method in _WRITES:
                described["parameters"].append(_IDEMPOTENCY_KEY)
                for status in _OF_IDEMPOTENCY:
                    answers.setdefault(str(status), _written_refusal(status))
                answers["409"].setdefault("headers", {})["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
            for answer in answers.values():
                headers = answer.setdefault("headers", {})
                for name in _QUOTA if method not in _WRITES else (*_QUOTA, "Idempotent-Replayed"):
                    headers[name] = {"$ref": f"#/components/headers/{name}"}
            described["responses"] = dict(sorted(answers.items()))
    return result


_WRITES = {"post", "put", "patch", "delete"}
# What an Idempotency-Key may be answered with: unusable, in use, its body too long to be compared, used otherwise.
_OF_IDEMPOTENCY = (400, 409, 413, 422)
_QUOTA = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "description": "Makes repeating safe: within 24 hours the same request with the same key has its effect once, and "
    "is given the same answer again. Take a new one, as a random UUID, for each thing to be done.",
}
_ON_BEHALF_OF = {
    "in": "header",
    "name": "On-Behalf-Of",
    "schema": {"type": "integer", "minimum": 1},
    "description": "The id of the organization that is acted for under its mandate. Default: the key's own.",
}
_HEADERS: dict[str, Any] = {
    "RateLimit-Limit": {"schema": {"type": "integer"}, "description": "Requests of the key in a minute."},
    "RateLimit-Remaining": {"schema": {"type": "integer"}, "description": "How many of them are left."},
    "RateLimit-Reset": {"schema": {"type": "integer"}, "description": "In how many seconds all are there again."},
    "Idempotent-Replayed": {
        "schema": {"type": "string", "enum": ["true"]},
        "description": "There if the answer is that of an earlier request with the same Idempotency-Key.",
    },
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait, where waiting helps."},
}


def _written_refusal(status: int) -> dict[str, Any]:
    """As drf-spectacular writes what `_refusal` gives."""
    description, *_ = _REFUSALS[status]
    media = {
        "schema": {"$ref": "#/components/schemas/Problem"},
        "examples": {"AProblem": {"value": _example(status), "summary": "A problem"}},
    }
    return {"content": {_PROBLEM_TYPE: media}, "description": description}
