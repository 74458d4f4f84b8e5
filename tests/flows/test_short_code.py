"""A user types `#` and a provider's short code: any number of phones, while the registry is down, proving nothing."""

import itertools
import random
import time
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from onboarding.models import CodeGuessing, Device, StateChange
from tests.flows import databases, parties
from tests.flows.parties import MAC, MODEL, Provider, applied, kind
from tests.service import Service, running, wait_until
from virtualphone import activation, edos, swarm
from virtualphone.activation import Entry, Slip
from virtualphone.phone import Circumstances
from virtualphone.provider import SampleProvider
from virtualphone.states import State

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

PATH = "/software/edos/callhome/cda"
CODE = Entry.parse("#447700")


def _enable(provider: Provider, digits: str = CODE.digits, **values: object) -> dict:
    status, answer = provider("PUT", f"short-codes/{digits}/", {"profile": provider.profile.pk, **values})
    assert status in {200, 201}, answer
    return answer


# Looking whether a code works yet is guessing, too: each look comes from a network of its own.
_LOOKS = (f"2001:db8:{number:x}::1" for number in itertools.count(1))
_BEHIND_A_PROXY = {"TRUSTED_PROXIES": "127.0.0.1/32"}


def _status(service: Service, digits: str = CODE.digits) -> int:
    # HEAD leaves no trace in the history.
    path = f"{PATH}?code=%23{digits}&id=00562B5AEEEE:{MODEL}"
    return service.request("HEAD", path, headers={"X-Forwarded-For": next(_LOOKS)})[0]


def _await_status(service: Service, status: int, digits: str = CODE.digits) -> None:
    wait_until(lambda: _status(service, digits) == status, what=f"a {status} at the door")


def test_any_number_of_phones_become_the_providers_and_prove_nothing(data_dir, server, profile, make_phone):
    with running(data_dir, "relay", "worker", "web", environment=_BEHIND_A_PROXY) as service:
        provider = Provider(service, profile)
        _enable(provider)
        _await_status(service, 200)
        macs = [f"00562B5A60{number:02X}" for number in range(5)]

        for mac in macs:
            phone = make_phone(service, mac)
            assert phone.power_on().state is State.UNAVAILABLE
            assert phone.activate(CODE).state is State.ACQUIRED
            assert phone.parameters["Profile_Rule"] == f"{server.url}/$MA.xml"

        applied(service)
        for mac in macs:
            device = provider.device(mac)
            assert (device["state"], device["proven"], device["profile"]) == ("acquired", False, profile.pk)
            assert [event for event, _ in provider.events(mac)][-3:] == ["asked", "answered", "acquired"]
            assert service.ask(mac, model=MODEL) == (200, b"")
        (shown,) = provider("GET", "short-codes/")[1]["results"]
        assert (shown["code"], shown["enabled"], shown["devices"]) == (CODE.digits, True, 5)


def test_the_provider_makes_the_phone_its_own_by_claiming_it(data_dir, profile, make_phone):
    with running(data_dir, "relay", "worker", "web", environment=_BEHIND_A_PROXY) as service:
        provider = Provider(service, profile)
        _enable(provider)
        _await_status(service, 200)
        phone = make_phone(service)
        assert phone.activate(CODE).state is State.ACQUIRED
        applied(service)
        phone.factory_reset()
        assert phone.power_on().state is State.UNAVAILABLE

        status, device = provider("PUT", f"devices/{MAC}/", {"model": MODEL, "profile": profile.pk})
        assert (status, device["proven"]) == (200, True)
        wait_until(lambda: service.ask(MAC, model=MODEL)[1], what="the phone in the directory")
        assert phone.power_on().state is State.ACQUIRED


def test_another_provider_claims_the_phone_as_if_it_were_free(data_dir, server, profile, make_phone):
    other_profile = parties.make_profile(server)
    with running(data_dir, "relay", "worker", "web", environment=_BEHIND_A_PROXY) as service:
        provider, other = Provider(service, profile), Provider(service, other_profile)
        _enable(provider)
        _await_status(service, 200)
        assert make_phone(service).activate(CODE).state is State.ACQUIRED
        applied(service)
        assert provider.device()["proven"] is False

        status, device = other("PUT", f"devices/{MAC}/", {"model": MODEL, "profile": other_profile.pk})

        assert (status, device["proven"]) == (201, True)
        assert provider("GET", f"devices/{MAC}/")[0] == 404
        assert all(source != "door" for _, source in other.events())


def test_a_phone_that_another_provider_has_proven_stays_untouched(data_dir, server, profile, make_phone):
    owner_profile = parties.make_profile(server)
    with running(data_dir, "relay", "worker", "web", environment=_BEHIND_A_PROXY) as service:
        provider, owner = Provider(service, profile), Provider(service, owner_profile)
        assert owner("PUT", f"devices/{MAC}/", {"model": MODEL, "profile": owner_profile.pk})[0] == 201
        _enable(provider)
        _await_status(service, 200)
        wait_until(lambda: service.ask(MAC, model=MODEL)[1], what="the phone in the directory")
        applied(service)
        before = owner.events(), owner.device()

        make_phone(service).activate(CODE)

        applied(service)
        # That the phone was seen is told; its beacon, without a token of its owner's, is hearsay.
        after = owner.events(), owner.device() | {"last_seen": before[1]["last_seen"]}
        assert after == before
        assert provider("GET", f"devices/{MAC}/")[0] == 404


def test_a_disabled_code_is_invalid_at_once_and_all_that_do_not_work_look_the_same(data_dir, profile, make_phone):
    with running(data_dir, "relay", "worker", "web", environment=_BEHIND_A_PROXY) as service:
        provider = Provider(service, profile)
        _enable(provider)
        _enable(provider, "447701")
        _await_status(service, 200)
        _await_status(service, 200, "447701")

        assert provider("DELETE", f"short-codes/{CODE.digits}/")[0] == 204
        _await_status(service, 404)
        outcome = make_phone(service).activate(CODE)

        assert (outcome.state, kind(outcome)) == (State.OPEN, activation.REFUSED)
        asked = {
            "disabled": _get(service, "%23447700"),
            "unknown": _get(service, "%23998877"),
            "without #": _get(service, "447701"),
            "no digits": _get(service, "%2344x"),
            "too short": _get(service, "%2344"),
            "empty": _get(service, ""),
        }
        assert set(asked.values()) == {(404, b"")}, asked
        assert _get(service, "%23447701")[0] == 200


def _get(service: Service, code: str) -> tuple[int, bytes]:
    return service.request("GET", f"{PATH}?code={code}&id={MAC}:{MODEL}")


def test_a_taken_code_is_refused_without_its_owner_s_name(data_dir, server, profile):
    other_profile = parties.make_profile(server)
    with running(data_dir, "relay", "web", environment=_BEHIND_A_PROXY) as service:
        provider, other = Provider(service, profile), Provider(service, other_profile)
        _enable(provider)

        status, problem = other("PUT", f"short-codes/{CODE.digits}/", {"profile": other_profile.pk})

        assert (status, problem["code"]) == (409, "short_code_taken")
        assert profile.organization.name not in str(problem)
        assert other("GET", "short-codes/")[1]["results"] == []


def test_sixteen_digits_are_either_kind_and_the_pound_sign_tells_them_apart(data_dir, profile, make_phone):
    with running(data_dir, "relay", "worker", "web", environment=_BEHIND_A_PROXY) as service:
        provider = Provider(service, profile)
        (issued,) = provider.issue()
        code = Entry.parse(issued["code"])
        _enable(provider, code.digits)
        _await_status(service, 200, code.digits)

        by_short_code = make_phone(service, "00562B5A7001").activate(code.mistyped(Slip.POUND, random.Random(1)))
        by_activation = make_phone(service, "00562B5A7002").activate(code)

        assert (by_short_code.state, by_activation.state) == (State.ACQUIRED, State.ACQUIRED)
        applied(service)
        assert provider.code(issued["id"])["device"] == "00562B5A7002"


def test_a_swarm_types_one_code_while_the_worker_dies(data_dir, profile):
    with running(data_dir, "relay", "worker", "web", environment=_BEHIND_A_PROXY) as service:
        provider = Provider(service, profile)
        _enable(provider)
        _await_status(service, 200)
        plan = swarm.Plan(
            swarm.identities("00562B5A8000", 150, MODEL),
            edos.Service(service.url),
            concurrency=4,
            circumstances=Circumstances(max_retries=20, retry_scale=0.01),
            codes=[CODE] * 150,
        )
        run = swarm.Swarm(plan)
        killed: list[float] = []

        def kill_the_worker(result: swarm.Result) -> None:
            if result.phones >= 50 and not killed:
                service.kill("worker")
                killed.append(time.monotonic())
                service.start("worker")

        result = run.run(kill_the_worker)

        assert result.states == {State.ACQUIRED: 150}, result.errors
        assert killed
        applied(service)
        (shown,) = provider("GET", "short-codes/")[1]["results"]
        assert shown["devices"] == 150
    assert Counter(Device.objects.values_list("state", "proven")) == {("acquired", False): 150}
    for event in ("asked", "answered"):
        assert set(Counter(StateChange.objects.filter(event=event).values_list("mac", flat=True)).values()) == {1}


def test_who_tries_one_code_after_another_is_slowed_down_and_seen(data_dir, profile, make_phone):
    with running(data_dir, "relay", "worker", "web", environment=_BEHIND_A_PROXY) as service:
        provider = Provider(service, profile)
        _enable(provider)
        _await_status(service, 200)
        phone = make_phone(service)
        kinds: Counter[str] = Counter()
        for number in range(1000):
            kinds[kind(phone.activate(Entry(f"{100_000 + number}", is_short=True)))] += 1
            if kinds[activation.NOT_TRIED]:
                break

        assert kinds[activation.NOT_TRIED] == 1
        # The others were told that theirs is wrong; each of the web's processes lets so many through.
        assert kinds.keys() == {activation.REFUSED, activation.NOT_TRIED}
        applied(service)
        assert CodeGuessing.objects.filter(organization=None).count() == 1
    assert not Device.objects.exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a database that can be stopped")
@pytest.mark.any_database
def test_short_codes_work_while_the_registry_is_down(data_dir, make_phone):
    with databases.stoppable() as database, SampleProvider() as server:
        profile = parties.make_profile(server)
        with running(
            data_dir, "relay", "worker", "web", database_url=database.url(), environment=_BEHIND_A_PROXY
        ) as service:
            provider = Provider(service, profile)
            _enable(provider)
            _await_status(service, 200)
            databases.forget()
            database.stop("immediate")

            assert make_phone(service).activate(CODE).state is State.ACQUIRED

            database.start()
            applied(service)
            assert provider.device()["state"] == "acquired"
            assert provider.device()["proven"] is False


def test_an_expired_code_and_one_of_a_disabled_profile_do_not_work(data_dir, profile):
    with running(data_dir, "relay", "web", environment=_BEHIND_A_PROXY) as service:
        provider = Provider(service, profile)
        _enable(provider)
        _await_status(service, 200)
        soon = timezone.now() + timedelta(seconds=3)
        _enable(provider, valid_until=soon.isoformat())
        _await_status(service, 404)
        assert timezone.now() >= soon

        _enable(provider)
        _await_status(service, 200)
        assert provider("PATCH", f"profiles/{profile.pk}/", {"enabled": False})[0] == 200
        _await_status(service, 404)


def test_released_digits_rest_for_others_but_not_for_their_last_owner(data_dir, server, profile):
    other_profile = parties.make_profile(server)
    with running(data_dir, "relay", "web", environment=_BEHIND_A_PROXY) as service:
        provider, other = Provider(service, profile), Provider(service, other_profile)
        _enable(provider)
        assert provider("DELETE", f"short-codes/{CODE.digits}/")[0] == 204

        status, problem = other("PUT", f"short-codes/{CODE.digits}/", {"profile": other_profile.pk})
        assert (status, problem["code"]) == (409, "short_code_taken")
        _enable(provider)
        _await_status(service, 200)
