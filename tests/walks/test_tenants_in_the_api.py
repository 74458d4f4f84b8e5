"""Every operation of the OpenAPI document, asked with another organization's identifiers.

Generated from the document: an operation, a query, or a field of a body that is new is walked too, or fails until the
estate knows what it names. Foreign must look as unknown does, in status and body, and nothing of it may change.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from accounts import mandates
from accounts.keys import SCOPES
from tests.factories import ACTOR, make_device, make_key, make_organization, make_profile
from tests.walks import estate
from tests.walks.estate import Estate

# What says nothing about which row is meant.
PLAIN_QUERIES = frozenset({
    "after", "changed_after", "cursor", "dry_run", "enabled", "file_name", "firmware", "in_force", "kind", "limit",
    "model", "since", "stalled", "state", "status", "type", "action", "certificate_expired", "certified_mac",
    "certified_model",
})  # fmt: skip
PLAIN_FIELDS = frozenset({
    "accepts_expired_certificates", "at", "confirm", "count", "dry_run", "email", "enabled", "event", "expires_at",
    "expires_in_hours", "full_name", "identity", "kind", "label", "match_model", "max_devices", "model", "name", "note",
    "overlap_hours", "parameters", "password", "role", "scopes", "since", "stalled_after_minutes", "target", "targets",
    "types", "unproven_evidence", "url", "username", "valid_from", "valid_until",
})  # fmt: skip
# What is told on purpose (contract, section 4): that a phone or a short code is taken, never by whom.
TOLD = {
    ("put", "/api/v1/devices/{mac}/"): (409, "device_taken"),
    ("put", "/api/v1/short-codes/{digits}/"): (409, "short_code_taken"),
    ("post", "/api/v1/devices/validate/"): (200, None),
}


class Operation(NamedTuple):
    method: str
    path: str
    names: tuple[str, ...]
    queries: tuple[str, ...]
    fields: tuple[str, ...]
    example: dict[str, Any] | None

    @property
    def label(self) -> str:
        return f"{self.method.upper()} {self.path}"


@cache
def operations() -> tuple[Operation, ...]:
    document = SchemaGenerator().get_schema(request=None, public=True)
    return tuple(_read(document))


def _read(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            parameters = said.get("parameters", [])
            content = said.get("requestBody", {}).get("content", {}).get("application/json", {})
            schema = content.get("schema", {})
            schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
            examples = [one["value"] for one in content.get("examples", {}).values()]
            yield Operation(
                method, path,
                tuple(one["name"] for one in parameters if one["in"] == "path"),
                tuple(one["name"] for one in parameters if one["in"] == "query"),
                tuple(schema.get("properties", {})),
                examples[0] if examples else ({} if content else None),
            )  # fmt: skip


def _is_passing(name: str) -> bool:
    """Whether a field differs from one answer to the next: moments, the request's id, the problem's address."""
    return name in ("request_id", "type") or name.endswith(("_at", "_since"))


Ask = Callable[..., Any]


def partner(key: str, **headers: str) -> Ask:
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {key}"} | headers)

    def ask(operation: Operation, values: dict[str, object], query: dict[str, object], body: Any) -> Any:
        path = operation.path.format(**values)
        options: dict[str, Any] = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return client.generic(operation.method.upper(), path, query_params=query or None, **options)

    return ask


# What is new in each answer.
MADE = frozenset({"id", "batch", "code", "grouped", "request_id", "secret", "key", "prefix"})


def shown(response: Any, *identifiers: object) -> tuple[int, Any]:
    """Status and body, without what is new in each answer and without the identifiers that were sent."""
    words = [str(word) for one in identifiers for word in (one if isinstance(one, list) else [one])]

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: _new(name) or plain(inner) for name, inner in value.items() if not _is_passing(name)}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        if isinstance(value, str):
            for word in words:
                value = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", "…", value)
        return value

    def _new(name: str) -> str:
        return "…" if name in MADE and response.status_code < 300 else ""

    text = response.content.decode()
    return response.status_code, plain(json.loads(text)) if text[:1] in "{[" and text else text


def differences(ask: Ask, own: Estate, foreign: Estate) -> list[str]:
    """Ask every operation for what is foreign and for what is unknown; tell where the answers are not the same."""
    found = []
    for operation in operations():
        for what, one, other in _asked(ask, operation, own, foreign):
            told = TOLD.get((operation.method, operation.path))
            if foreign is not own and foreign.mark in str(one[1]):
                found.append(f"{operation.label}, {what}: names what is foreign: {one[1]}")
            elif one != other and not (told and one[0] == told[0] and told[1] in (None, one[1].get("code"))):
                found.append(f"{operation.label}, {what}: foreign {one}, unknown {other}")
            elif one[0] >= 500:
                found.append(f"{operation.label}, {what}: {one}")
    return found


Shown = tuple[int, Any]


def _asked(ask: Ask, operation: Operation, own: Estate, foreign: Estate) -> Iterator[tuple[str, Shown, Shown]]:
    """What was foreign, how that was answered, and how what is unknown was."""

    def both(requests: list[tuple[dict[str, object], dict[str, object], Any]], *said: list[object]) -> list[Shown]:
        """Ask for what is foreign, then for what is unknown; of the second nothing is left."""
        first = ask(operation, *requests[0])
        with transaction.atomic():
            second = ask(operation, *requests[1])
            transaction.set_rollback(True)
        return [shown(first, *said[0]), shown(second, *said[1])]

    mine, theirs, said = own.named(), foreign.named(), foreign.said()
    body = operation.example
    # Each identifier of the path foreign by itself, beside own ones, and all of them.
    turns = [{name} for name in operation.names] + ([set(operation.names)] if len(operation.names) > 1 else [])
    for turn in turns:
        paths = [
            {name: theirs[name][kind] if name in turn else mine[name][0] for name in operation.names} for kind in (0, 1)
        ]
        one, other = both([(values, {}, body) for values in paths], *(list(values.values()) for values in paths))
        yield f"path {sorted(turn)}", one, other
    values = {name: mine[name][0] for name in operation.names}
    for name in sorted(set(operation.queries) & set(said)):
        one, other = both([(values, {name: word}, body) for word in said[name]], *([word] for word in said[name]))
        yield f"query {name}", one, other
    for name in sorted(set(operation.fields) & set(said)):
        bodies = [(values, {}, (body or {}) | {name: word}) for word in said[name]]
        one, other = both(bodies, *([word, mac] for word, mac in zip(said[name], said["mac"], strict=True)))
        yield f"field {name}", one, other


def test_the_walk_knows_what_every_identifier_of_the_document_names(own: Estate) -> None:
    named, said = own.named(), own.said()

    unknown = [
        f"{operation.label}: {kind} {name}"
        for operation in operations()
        for kind, names, known in (
            ("path", operation.names, set(named)),
            ("query", operation.queries, set(said) | PLAIN_QUERIES),
            ("field", operation.fields, set(said) | PLAIN_FIELDS),
        )
        for name in names
        if name not in known
    ]

    assert len(operations()) > 50
    assert not unknown, "Say in tests/walks what these name:\n" + "\n".join(unknown)


def test_a_key_with_every_scope_finds_foreign_things_as_it_finds_unknown_ones(own: Estate, foreign: Estate) -> None:
    before = estate.state_of(foreign.organization)

    found = differences(partner(make_key(organization=own.organization)[1]), own, foreign)

    assert not found, "\n".join(found)
    assert estate.state_of(foreign.organization) == before


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_with_one_scope_finds_foreign_things_as_it_finds_unknown_ones(
    scope: str, own: Estate, foreign: Estate
) -> None:
    before = estate.state_of(foreign.organization)

    found = differences(partner(make_key(organization=own.organization, scopes=[scope])[1]), own, foreign)

    assert not found, "\n".join(found)
    assert estate.state_of(foreign.organization) == before


def mandated(own: Estate) -> Ask:
    """A partner's key that acts for `own`, limited to a profile of its own there."""
    distributor = make_organization(name="Box Logistics", kind="partner")
    limited = make_profile(organization=own.organization, name="Limited")
    make_device(profile=limited)
    mandates.give(
        actor=ACTOR, provider=own.organization, partner=distributor, scopes=list(mandates.SCOPES),
        profile_ids=[limited.pk], at=timezone.now(),
    )  # fmt: skip
    return partner(make_key(organization=distributor)[1], **{"On-Behalf-Of": str(own.organization.pk)})


def test_a_partner_finds_foreign_things_as_unknown_ones_under_a_limited_mandate(own: Estate, foreign: Estate) -> None:
    before = estate.state_of(foreign.organization)

    found = differences(mandated(own), own, foreign)

    assert not found, "\n".join(found)
    assert estate.state_of(foreign.organization) == before


def test_a_partner_finds_what_is_outside_its_mandates_profiles_as_unknown(own: Estate) -> None:
    ask = mandated(own)
    before = estate.state_of(own.organization)

    found = differences(ask, own, own)

    assert not found, "\n".join(found)
    after = estate.state_of(own.organization)
    assert {name: [row for row in rows if row not in after[name]] for name, rows in before.items()} == {
        name: [] for name in before
    }


def test_nobody_is_answered_alike_whatever_is_asked_for(own: Estate, foreign: Estate) -> None:
    client = Client(raise_request_exception=False)
    before = estate.state_of(foreign.organization)
    values = {name: pair[0] for name, pair in foreign.named().items()}

    for operation in operations():
        answers = [
            client.generic(operation.method.upper(), operation.path.format(**values), headers=headers)
            for headers in ({}, {"Authorization": "Bearer ok_wrongwrong_wrong"})
        ]
        assert {answer.status_code for answer in answers} <= {401, 429}, operation.label

    assert estate.state_of(foreign.organization) == before


def test_no_list_of_the_api_has_anything_foreign_in_it(own: Estate, foreign: Estate) -> None:
    ask = partner(make_key(organization=own.organization)[1])

    for operation in operations():
        if operation.method == "get" and not operation.names:
            needed = {"mac": own.device.mac, "model": "CP-1"} if operation.path.endswith("/explain/") else {}
            answer = ask(operation, {}, needed, None)
            assert answer.status_code == 200, operation.label
            assert foreign.mark not in answer.content.decode(), operation.label
