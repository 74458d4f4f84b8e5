"""The OpenAPI document taken at its word: an outside fuzzer sends what it allows and what it forbids, over WSGI.

Each operation is asked for what exists too, by ids and MACs of rows made beforehand.
"""

from collections.abc import Callable, Iterator
from typing import Any

import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

TRUTHS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip
_GATES = {"On-Behalf-Of", "If-Match", "If-None-Match", "Idempotency-Key"}


def load() -> Any:
    """The document as the service gives it, its requests sent to the service."""
    return schemathesis.openapi.from_wsgi("/api/schema/", WSGIHandler())


def operations(schema: Any) -> Iterator[Any]:
    for found in schema.get_all_operations():
        yield found.ok()


def fuzz(
    operation: Any,
    *,
    key: str,
    present: dict[str, Any],
    examples: int,
    number: int = 0,
    before: Callable[[], object] = lambda: None,
) -> None:
    """Send so many requests of each kind to one operation; raises what is untrue of the first that shows it.

    `present` has values of path parameters that exist. `before` is called before each request.
    """

    def run(mode: GenerationMode, checks: list[Any]) -> None:
        known = {name: value for name, value in present.items() if f"{{{name}}}" in operation.path}

        @seed(number)
        @settings(
            max_examples=examples, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
        def send(case: Case, real: bool) -> None:
            if real and known and mode is GenerationMode.POSITIVE:
                case.path_parameters = {**(case.path_parameters or {}), **known}
            if mode is GenerationMode.POSITIVE:
                # Made-up mandates, ETags and keys of other requests would end most requests at the gate.
                unwanted = _GATES if real else {"On-Behalf-Of"}
                case.headers = {name: text for name, text in (case.headers or {}).items() if name not in unwanted}
            if isinstance(case.body, dict) and isinstance(case.body.get("count"), int):
                # Ten thousand codes are as true as ten, and take longer.
                case.body["count"] %= 11
            before()
            case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=checks)

        send()

    run(GenerationMode.POSITIVE, TRUTHS)
    run(GenerationMode.NEGATIVE, [*TRUTHS, negative_data_rejection])
