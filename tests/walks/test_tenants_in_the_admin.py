"""Every page of the admin site, asked with another organization's identifiers, by each kind of person.

Generated from the URLconf and from the admin's own registry: a page, a filter, an action or a field that is new is
walked too, or fails until it is said here what it takes. Foreign must look as unknown does: status, where it leads,
body and messages; and nothing of it may change.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.messages import get_messages
from django.core import signing
from django.db import transaction
from django.db.models import ForeignKey
from django.test import Client
from django.urls import URLPattern, get_resolver
from django.utils import timezone

from accounts import mandates
from onboarding.models import Device, Sighting
from tests.admin.conftest import browser
from tests.factories import ACTOR, make_device, make_organization, make_profile, make_user
from tests.walks import estate
from tests.walks.estate import NO_MAC, NONE, Estate

# Pages about the person who asks, or about nothing: they take no identifier of a row.
PLAIN = frozenset({
    "", "index", "login", "logout", "second_factor", "passkey", "passkey_options", "account", "require_factor",
    "confirm", "app", "remove_app", "add_passkey", "recovery_codes", "end_sessions", "password_change",
    "password_change_done", "jsi18n", "onboarding_device_saved", "app_list", "new_password",
})  # fmt: skip
PLAIN_FILTERS = frozenset({
    "action", "enabled", "event", "failing", "in_force", "is_active", "is_superuser", "kind", "model", "proven",
    "refused", "role", "seen", "since", "source", "stalled", "standing", "state", "status", "targets", "thing",
    "type", "waiting", "who", "window",
})  # fmt: skip


class Page(NamedTuple):
    name: str
    route: str
    names: tuple[str, ...]

    def address(self, values: dict[str, object]) -> str:
        return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(values[found[1]]), self.route)


@cache
def pages() -> tuple[Page, ...]:
    return tuple(_pages(get_resolver(), ""))


def _pages(resolver: Any, prefix: str) -> Iterator[Page]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if not isinstance(pattern, URLPattern):
            yield from _pages(pattern, route)
        elif route.startswith("admin/") and "(?P" not in route:
            # Django writes `<path:object_id>` where the number of a row is meant.
            yield Page(pattern.name or "", route, tuple(re.findall(r"<(?:\w+:)?(\w+)>", route)))


def path_values(page: Page, theirs: Estate) -> list[dict[str, object]] | None:
    """The values of a page's path, foreign and unknown; None where nobody said what they name."""
    named = theirs.named()
    given: list[dict[str, object]] = [{}, {}]
    for name in page.names:
        pair: tuple[object, object] | None = named.get(name)
        if name in ("object_id", "id"):
            model = next((model for model in theirs.rows if page.route.startswith(_root(model))), None)
            pair = (theirs.rows[model].pk, NONE) if model else None
        if page.name == "view_on_site":
            pair = {"content_type_id": (7, 7), "object_id": (theirs.device.pk, NONE)}[name]
        if page.name == "new_password":
            pair = {"uidb64": ("MQ", "OTg3NjU0MzIx"), "token": ("x-y", "x-y")}[name]
        if pair is None:
            return None
        for kind in (0, 1):
            given[kind][name] = pair[kind]
    return given


def _root(model: Any) -> str:
    return f"admin/{model._meta.app_label}/{model._meta.model_name}/"


def beside_the_path(own: Estate, theirs: Estate) -> dict[str, list[tuple[str, list[dict[str, Any]]]]]:
    """What pages take in queries and forms: method, then the data with what is foreign and with what is unknown."""
    row = {model.__name__: instance for model, instance in theirs.rows.items()}
    batch = {"batch": str(row["IssuedCode"].batch)}, {"batch": "7d1c1ad6-0000-4000-8000-000000000000"}
    code = {"code": row["IssuedCode"].pk}, {"code": NONE}
    tokens = [
        {"undo": signing.dumps(
            {"device": pk, "changed_at": theirs.device.changed_at.isoformat(), "before": None},
            salt="onboarding.bench.undo", compress=True,
        )} for pk in (theirs.device.pk, NONE)
    ]  # fmt: skip
    scans = [{"profile": pk, "scan": "00562BEEEE01", "model": "CP-8841-3PCC"} for pk in (theirs.profile.pk, NONE)]
    sheet = "mac,model\n00562BEEEE02,CP-8841-3PCC\n"
    organizations = [theirs.organization.pk, NONE]
    return {
        "bench": [("get", [{"profile": theirs.profile.pk}, {"profile": NONE}])],
        "bench_scan": [("json", scans)],
        "bench_undo": [("json", tokens)],
        "bench_labels": [("post", [{"macs": theirs.device.mac}, {"macs": NO_MAC}])],
        "search": [("get", [{"q": text} for text in (theirs.mark, "nosuchthing")]),
                   ("get", [{"q": text} for text in (theirs.device.mac, NO_MAC)])],
        "onboarding_device_find": [("get", [{"q": text} for text in (theirs.mark, "nosuchthing")]),
                                   ("get", [{"q": text} for text in (theirs.device.mac, NO_MAC)])],
        "activation_issuedcode_print": [("post", list(batch)), ("post", list(code))],
        "activation_issuedcode_export": [("post", list(batch)), ("post", list(code))],
        "activation_issuedcode_locked_out": [
            (method, [{"mac": mac} for mac in (theirs.device.mac, NO_MAC)]) for method in ("get", "post")
        ],
        "operations_operation_import": [("post", [{"organization": pk, "text": sheet} for pk in organizations])],
        "operations_operation_file": [("sheet", [{"organization": pk, "name": "x"} for pk in organizations])],
        "operations_operation_chosen": [
            (method, [{"kind": kind, "device": pk, "profile": theirs.profile.pk} for pk in (theirs.device.pk, NONE)])
            for method in ("get", "post") for kind in ("assign", "release")
        ],
        "autocomplete": [
            ("get", [{"app_label": model._meta.app_label, "model_name": model._meta.model_name,
                      "field_name": column.name, "term": term} for term in (theirs.mark, "nosuchthing")])
            for model in apps.get_models() for column in model._meta.get_fields() if isinstance(column, ForeignKey)
            and model._meta.app_label in estate.OURS
        ],
        "events_webhookendpoint_again": [
            ("own", [{"delivery": row["WebhookDelivery"].pk}, {"delivery": NONE}]),
        ],
    }  # fmt: skip


FORM = {"post": "yes", "do": "revert", "since": "2026-01-01T00:00", "delivery": "1"}


def shown(response: Any, words: set[str]) -> tuple[object, ...]:
    """What a person sees, without the tokens of forms and without what was asked for."""

    def plain(text: str) -> str:
        text = re.sub(r"\b[A-Za-z0-9]{64}\b", "T", text)
        # Before the times: parts of a MAC look like one.
        for word in sorted(words, key=len, reverse=True):
            text = re.sub(rf"(?<![\w]){re.escape(word)}(?![\w])", "…", text, flags=re.IGNORECASE)
        text = re.sub(r"(\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d[.\d]*", "…", text)
        return re.sub(r"/sheet/\d+/", "/sheet/…/", text)

    octets = b"".join(response.streaming_content) if response.streaming else response.content
    said = [plain(str(message)) for message in get_messages(response.wsgi_request)]
    return response.status_code, plain(response.get("Location", "")), plain(octets.decode()), said


Ask = Callable[[str, str, dict[str, Any]], Any]


def asker(client: Client) -> Ask:
    client.raise_request_exception = False

    def ask(method: str, address: str, data: dict[str, Any]) -> Any:
        client.cookies.pop("messages", None)
        if method == "get":
            return client.get(address, data)
        if method == "json":
            return client.post(address, json.dumps(data), content_type="application/json")
        if method == "sheet":
            sheet = "mac,model\n00562BEEEE03,CP-8841-3PCC\n"
            return client.generic("POST", address, sheet, content_type="text/csv", query_params=data)
        return client.post(address, data)

    return ask


def differences(client: Client, own: Estate, theirs: Estate) -> list[str]:
    ask, found = asker(client), []
    beside = beside_the_path(own, theirs)

    def compare(what: str, method: str, addresses: list[str], data: list[dict[str, Any]], said: set[str]) -> None:
        first = ask(method, addresses[0], data[0])
        with transaction.atomic():
            second = ask(method, addresses[1], data[1])
            transaction.set_rollback(True)
        one, other = shown(first, said), shown(second, said)
        if first.status_code >= 500 or second.status_code >= 500:
            found.append(f"{what}: {first.status_code}, {second.status_code}")
        elif one != other:
            found.append(f"{what}: foreign {_first_difference(one, other)}")
        if theirs is not own and theirs.mark.lower() in str(one).lower():
            found.append(f"{what}: names what is foreign")

    for page in pages():
        values = path_values(page, theirs)
        if page.names and page.name not in PLAIN and values is not None:
            said = {str(value) for pair in values for value in pair.values()}
            addresses = [page.address(one) for one in values]
            for method in ("get", "post"):
                compare(f"{method} {page.route}", method, addresses, [FORM if method == "post" else {}] * 2, said)
        for method, data in beside.get(page.name, ()):
            said = {str(value) for pair in data for value in pair.values() if len(str(value)) > 3 or value == NONE}
            said |= {str(value) for value in data[0].values()} if method != "json" else set()
            said |= {":".join(re.findall("..", word)) for word in (theirs.device.mac, NO_MAC)}
            at = page.address(
                {"webhook_id": next(w.pk for m, w in own.rows.items() if m.__name__ == "WebhookEndpoint")}
            )
            compare(
                f"{method} {page.route} {sorted(data[0])}", "post" if method == "own" else method, [at] * 2, data, said
            )
    if theirs is not own:
        found += list(_in_lists(ask, theirs))
    return found


def _in_lists(ask: Ask, theirs: Estate) -> Iterator[str]:
    """Searches, filters and actions of every list."""
    foreign = {"profile": theirs.profile.pk, "organization": theirs.organization.pk, "device__exact": theirs.device.pk,
               "batch": str(next(c for m, c in theirs.rows.items() if m.__name__ == "IssuedCode").batch)}  # fmt: skip
    words = (theirs.mark.lower(), theirs.device.mac.lower(), ":".join(re.findall("..", theirs.device.mac)).lower())
    for model, pages_of in admin.site._registry.items():
        if model not in theirs.rows:
            continue
        address, row = f"/{_root(model)}", theirs.rows[model]
        queries: list[dict[str, Any]] = [{}, {"q": theirs.mark[:5]}, {"q": theirs.device.mac[-6:]}]
        for offered in pages_of.list_filter:
            name = getattr(offered, "parameter_name", str(offered))
            if name in foreign:
                queries.append({name: foreign[name]})
        for query in queries:
            answer = ask("get", address, query)
            text = answer.content.decode().lower()
            if answer.status_code not in (200, 302, 403) or any(word in text for word in words):
                yield f"list {address} {query}: {answer.status_code}, or foreign rows in it"
        for action in pages_of.actions or ():
            data = {"action": str(action), "_selected_action": [row.pk], "post": "yes"}
            answer = ask("post", address, data)
            octets = b"".join(answer.streaming_content) if answer.streaming else answer.content
            if any(word in octets.decode().lower() for word in words):
                yield f"action {action} of {address}: foreign rows in it"


def _first_difference(one: tuple[Any, ...], other: tuple[Any, ...]) -> str:
    for left, right in zip(map(str, one), map(str, other), strict=True):
        if left != right:
            at = next((at for at, pair in enumerate(zip(left, right, strict=False)) if len(set(pair)) > 1), 0)
            around = slice(max(0, at - 80), at + 120)
            return f"{one[0]} …{left[around]!r}, unknown {other[0]} …{right[around]!r}"
    return ""


def test_the_walk_knows_what_every_page_takes(own: Estate) -> None:
    beside = beside_the_path(own, own)

    unknown = [
        f"page {page.route}"
        for page in pages()
        if page.name not in PLAIN
        and not page.name.endswith(("_changelist", "_add"))
        and (path_values(page, own) is None if page.names else page.name not in beside)
    ]
    unknown += [f"list of {model.__name__}" for model in admin.site._registry if model not in own.rows]
    known = PLAIN_FILTERS | {"profile", "organization", "device__exact", "batch"}
    for model, pages_of in admin.site._registry.items():
        for offered in pages_of.list_filter:
            name = getattr(offered, "parameter_name", str(offered))
            if name not in known:
                unknown.append(f"filter {name} of {model.__name__}")

    assert len(pages()) > 100
    assert not unknown, "Say in tests/walks what these take:\n" + "\n".join(unknown)


@pytest.mark.parametrize("role", ["admin", "staff", "reader"])
def test_people_find_foreign_things_as_unknown_ones(role: str, own: Estate, foreign: Estate) -> None:
    before = estate.state_of(foreign.organization)
    person = browser(make_user(organization=own.organization, role=role, username="walker"))

    found = differences(person, own, foreign)

    assert not found, "\n".join(found)
    assert estate.state_of(foreign.organization) == before


def of_a_partner(own: Estate) -> Client:
    """Somebody of a partner that holds a mandate limited to one profile of `own`."""
    distributor = make_organization(name="Box Logistics", kind="partner")
    limited = make_profile(organization=own.organization, name="Limited")
    make_device(profile=limited)
    mandates.give(
        actor=ACTOR, provider=own.organization, partner=distributor, scopes=list(mandates.SCOPES),
        profile_ids=[limited.pk], at=timezone.now(),
    )  # fmt: skip
    return browser(make_user(organization=distributor, role="admin", username="walker"))


def test_a_partners_people_find_foreign_things_as_unknown_ones(own: Estate, foreign: Estate) -> None:
    before = estate.state_of(foreign.organization)

    found = differences(of_a_partner(own), own, foreign)

    assert not found, "\n".join(found)
    assert estate.state_of(foreign.organization) == before


def test_a_partners_people_find_what_is_outside_their_mandates_profiles_as_unknown(own: Estate) -> None:
    person = of_a_partner(own)
    before = estate.state_of(own.organization)

    found = differences(person, own, own)
    for address in ("device", "redirectprofile", "statechange", "shortcode"):
        page = person.get(f"/admin/onboarding/{address}/").content.decode()
        assert own.device.label not in page, address
        assert own.profile.name not in page, address

    assert not found, "\n".join(found)
    after = estate.state_of(own.organization)
    assert {name: [row for row in rows if row not in after[name]] for name, rows in before.items()} == {
        name: [] for name in before
    }


def test_nobody_is_sent_to_the_sign_in_page_by_every_page(own: Estate) -> None:
    before = estate.state_of(own.organization)
    stranger = Client(raise_request_exception=False)
    open_to_all = {"login", "logout", "jsi18n", "passkey", "passkey_options", "new_password", "second_factor", ""}

    for page in pages():
        values = path_values(page, own)
        if page.name in open_to_all or values is None:
            continue
        for method in (stranger.get, stranger.post):
            response = method(page.address(values[0]), FORM)
            assert response.status_code == 302, page.route
            assert response["Location"].startswith("/admin/login/"), page.route

    assert estate.state_of(own.organization) == before
    assert Device.objects.count() == 1
    assert Sighting.objects.count() == 1
