"""The OpenAPI document taken at its word: an outside fuzzer sends what it allows and what it forbids, over WSGI.

Each operation is asked for what exists too, by ids and MACs of rows made beforehand.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accounts import views
from tests.api.conftest import PartnerClient
from tests.factories import make_device, make_profile, make_short_code

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


def untruths(partner: PartnerClient, *, examples: int, number: int = 0) -> list[str]:
    """Ask every operation, in a test's transaction, and tell of each what is not as documented."""
    profile = make_profile(organization=partner.organization)
    device = make_device(profile=profile)
    code = make_short_code(profile=profile)
    present = {"mac": device.mac, "profile_id": profile.pk, "digits": code.code}
    found = []
    with _one_connection():
        for operation in operations(load()):
            try:
                fuzz(operation, key=partner.key, present=present, examples=examples, number=number)
            except (Exception, FailureGroup) as error:
                inner = "".join(f"\n  {type(one).__name__}: {one}" for one in getattr(error, "exceptions", ()))
                found.append(f"{operation.label}: {error}{inner}"[:3000])
    return found


@contextmanager
def _one_connection() -> Iterator[None]:
    """As Django's own test client does: the end of a request must not end the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


def fuzz(
    operation: Any,
    *,
    key: str,
    present: dict[str, Any],
    examples: int,
    number: int = 0,
) -> None:
    """Send so many requests of each kind to one operation; raises what is untrue of the first that shows it.

    `present` has values of path parameters that exist.
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
                if isinstance(case.body, dict) and isinstance(case.body.get("count"), int):
                    # Ten thousand codes are as true as ten, and take longer.
                    case.body["count"] = case.body["count"] % 10 + 1
                case.headers = {name: text for name, text in (case.headers or {}).items() if name not in unwanted}
            # Of all that it asks for, a thousand wrong keys would be refused.
            views.counts().forget()
            case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=checks)

        send()

    run(GenerationMode.POSITIVE, TRUTHS)
    run(GenerationMode.NEGATIVE, [*TRUTHS, negative_data_rejection])
