"""A user with a phone in the hand types 16 digits, and the phone is theirs: phone, real processes, partner."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from django.conf import settings
from django.db import connection

from accounts.models import Bucket
from activation.codes import ActivationCode
from activation.models import IssuedCode
from onboarding.models import Device, StateChange
from tests import factories
from tests.flows import databases
from tests.flows.parties import MAC, MODEL, Provider, applied, kind, make_profile
from tests.service import Service, running, wait_until
from virtualphone import activation, edos, swarm
from virtualphone.activation import Entry, Slip
from virtualphone.outcomes import Outcome
from virtualphone.phone import Circumstances
from virtualphone.provider import SampleProvider
from virtualphone.states import State

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

_OLD_KEY, _NEW_KEY = "an-older-key-of-these-tests-0123456789", "a-newer-key-of-these-tests-9876543210"


def _entry(issued: dict[str, str]) -> Entry:
    return Entry.parse(issued["code"])


def test_a_phone_that_nobody_knows_becomes_its_users(data_dir, server, profile, make_phone):
    with running(data_dir, "relay", "worker", "web") as service:
        provider = Provider(service, profile)
        (issued,) = provider.issue(label="Reception")
        phone = make_phone(service)

        assert phone.power_on().state is State.UNAVAILABLE
        applied(service)
        assert phone.activate(Entry.parse(issued["grouped"])).state is State.ACQUIRED

        assert phone.parameters["Profile_Rule"] == f"{server.url}/$MA.xml"
        applied(service)
        assert provider.events() == [
            ("not_found", "sighting"), ("asked", "activation"), ("answered", "activation"), ("acquired", "beacon")
        ]  # fmt: skip
        device = provider.device()
        assert (device["state"], device["proven"], device["profile"]) == ("acquired", False, profile.pk)
        shown = provider.code(issued["id"])
        assert (shown["status"], shown["device"]) == ("redeemed", MAC)
        assert "code" not in shown
        # Anyone could have typed this MAC: it says nothing about whose phone asks the next time.
        assert service.ask(MAC, model=MODEL) == (200, b"")
    assert not Bucket.objects.exists()
    log = (data_dir / "processes.log").read_text(errors="replace")
    assert issued["code"] not in log
    assert issued["grouped"] not in log


def test_the_query_before_the_code_may_be_seen_after_it(data_dir, profile, make_phone):
    with running(data_dir, "relay", "web") as service:
        provider = Provider(service, profile)
        (issued,) = provider.issue()
        phone = make_phone(service)

        assert phone.power_on().state is State.UNAVAILABLE
        assert phone.activate(_entry(issued)).state is State.ACQUIRED
        service.start("worker")
        applied(service)

        assert provider.device()["state"] == "acquired"
        assert set(provider.events()) >= {("answered", "activation"), ("acquired", "beacon")}


def test_a_code_for_this_very_phone_is_good_for_its_next_life_too(data_dir, profile, make_phone):
    with running(data_dir, "relay", "worker", "web") as service:
        provider = Provider(service, profile)
        (issued,) = provider.issue(mac=MAC)
        phone = make_phone(service)

        assert phone.activate(_entry(issued)).state is State.ACQUIRED

        assert provider.device()["proven"] is True
        wait_until(lambda: service.ask(MAC, model=MODEL)[1], what="the phone in the directory")
        phone.factory_reset()
        assert phone.power_on().state is State.ACQUIRED
        applied(service)
        assert provider.device()["state"] == "acquired"


def test_a_code_for_another_phone_is_invalid_and_its_owner_sees_why(data_dir, profile, make_phone):
    with running(data_dir, "web", "relay") as service:
        provider = Provider(service, profile)
        (issued,) = provider.issue(mac="00562B5AFFFF")

        outcome = make_phone(service).activate(_entry(issued))

        assert (outcome.state, kind(outcome)) == (State.OPEN, activation.REFUSED)
        shown = provider.code(issued["id"])
        assert shown["status"] == "issued"
        assert [(refusal["reason"], refusal["mac"]) for refusal in shown["refusals"]] == [("another_mac", MAC)]
        assert provider("GET", f"devices/{MAC}/")[0] == 404


def test_a_user_who_slips_gets_there_and_slips_cost_no_attempt(data_dir, profile, make_phone):
    with running(data_dir, "web", "relay") as service:
        (issued,) = Provider(service, profile).issue()
        code, rng = _entry(issued), random.Random(4)
        slips = [code.mistyped(slip, rng) for slip in (Slip.DIGIT, Slip.SWAP, Slip.MISSING, Slip.EXTRA) * 5]

        outcome = make_phone(service).activate(*slips, code)

    assert outcome.state is State.ACQUIRED
    assert [failure.detail for failure in outcome.failures] == ["HTTP 400"] * 20
    assert not Bucket.objects.exists()


def test_the_pound_sign_is_not_part_of_an_activation_code(data_dir, profile, make_phone):
    with running(data_dir, "web", "relay") as service:
        (issued,) = Provider(service, profile).issue()
        code = _entry(issued)

        outcome = make_phone(service).activate(code.mistyped(Slip.POUND, random.Random(1)), code)

    assert outcome.state is State.ACQUIRED
    assert [failure.what for failure in outcome.failures] == ["short code"]


def test_a_lost_answer_is_given_again_and_happened_once(data_dir, profile, make_phone):
    with running(data_dir, "relay", "worker", "web") as service:
        provider = Provider(service, profile)
        (issued,) = provider.issue()

        outcome = make_phone(service, loses_answer=True).activate(_entry(issued))

        assert outcome.state is State.ACQUIRED
        applied(service)
        assert provider.events() == [("asked", "activation"), ("answered", "activation"), ("acquired", "beacon")]


def test_of_many_phones_with_one_code_one_wins(data_dir, profile, make_phone):
    with running(data_dir, "web", "relay") as service:
        provider = Provider(service, profile)
        (issued,) = provider.issue()
        outcomes: dict[str, Outcome] = {}
        barrier = threading.Barrier(8)

        def type_it(mac: str) -> None:
            # The web process takes a few at once; the others are told to come back in a second.
            phone = make_phone(service, mac, max_retries=50)
            barrier.wait()
            outcomes[mac] = phone.activate(_entry(issued))

        _in_threads(type_it, [f"00562B5A10{number:02X}" for number in range(8)])

        assert Counter(outcome.state for outcome in outcomes.values()) == {State.ACQUIRED: 1, State.OPEN: 7}, outcomes
        (winner,) = [mac for mac, outcome in outcomes.items() if outcome.state is State.ACQUIRED]
        assert provider.code(issued["id"])["device"] == winner
    assert list(Device.objects.values_list("mac", flat=True)) == [winner]


def _in_threads(run: Callable[[str], None], arguments: list[str]) -> None:
    threads = [threading.Thread(target=run, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_wrong_codes_of_every_kind_look_the_same_to_the_phone(data_dir, profile, make_phone):
    with running(data_dir, "web", "relay") as service:
        provider = Provider(service, profile)
        used, revoked, other, expired = provider.issue(4)
        assert make_phone(service, "00562B5A2000").activate(_entry(used)).state is State.ACQUIRED
        assert provider("POST", f"activation-codes/{revoked['id']}/revoke/")[0] == 200
        # What takes its time, or cannot be ordered together with the others.
        IssuedCode.objects.filter(pk=other["id"]).update(model="CP-7832-3PCC")
        IssuedCode.objects.filter(pk=expired["id"]).update(
            issued_at=factories.AT.replace(year=2020), expires_at=factories.AT.replace(year=2021)
        )
        answers = {
            "unknown": _post(service, ActivationCode.random().digits, MAC),
            "used": _post(service, used["code"], MAC),
            "revoked": _post(service, revoked["code"], MAC),
            "for another model": _post(service, other["code"], MAC),
            "expired": _post(service, expired["code"], MAC),
        }

    assert set(answers.values()) == {(404, b'{"code": "invalid_activation_code"}')}, answers


def _post(service: Service, code: str, mac: str, **headers: str) -> tuple[int, bytes]:
    body = json.dumps({"code": code, "mac": mac, "model": MODEL}).encode()
    return service.request("POST", "/gds/activate", body=body, headers={"Content-Type": "application/json", **headers})


def test_phones_are_answered_under_any_host_and_may_send_a_form(data_dir, profile):
    with running(data_dir, "web", "relay") as service:
        provider = Provider(service, profile)
        first, second = provider.issue(2)

        assert _post(service, first["code"], MAC, Host="activation.webex.com")[0] == 200
        form = f"code={second['grouped'].replace(' ', '+')}&mac=00:56:2b:5a:00:02&model={MODEL}".encode()
        status, body = service.request(
            "POST", "/gds/activate", body=form, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )

    assert status == 200
    assert b'<Profile_Rule ua="na">' in body


def test_a_swarm_of_users_is_activated_each_with_a_code_of_its_own(data_dir, profile):
    with running(data_dir, "relay", "worker", "web") as service:
        provider = Provider(service, profile)
        codes = [_entry(issued) for issued in provider.issue(60)]
        plan = swarm.Plan(
            swarm.identities("00562B5A3000", 60, MODEL),
            edos.Service(service.url),
            concurrency=6,
            circumstances=Circumstances(max_retries=100, retry_scale=0.05),
            codes=codes,
            slip_share=0.3,
            seed=2,
        )

        result = swarm.Swarm(plan).run()

        assert result.states == {State.ACQUIRED: 60}, result.errors
        assert result.errors["activation", activation.REFUSED] > 5
        applied(service)
    assert IssuedCode.objects.exclude(redeemed_mac="").values("redeemed_mac").distinct().count() == 60
    assert Counter(Device.objects.values_list("state", "proven")) == {("acquired", False): 60}


def test_a_web_process_killed_at_random_redeems_every_code_once(data_dir, profile, make_phone):
    with running(data_dir, "relay", "worker", "web") as service:
        provider = Provider(service, profile)
        macs = {f"00562B5A40{number:02X}": issued for number, issued in enumerate(provider.issue(48))}
        outcomes: dict[str, Outcome] = {}

        def type_some(start: str) -> None:
            for mac in list(macs)[int(start) :: 4]:
                phone = make_phone(service, mac, max_retries=200, retry_scale=0.00002)
                outcomes[mac] = phone.activate(_entry(macs[mac]))

        users = threading.Thread(target=_in_threads, args=(type_some, ["0", "1", "2", "3"]))
        users.start()
        rng, kills = random.Random(3), 0
        while users.is_alive():
            time.sleep(rng.uniform(0.2, 0.5))
            if kills < 3:
                service.kill("web")
                service.start("web")
                kills += 1
                service.await_door()
        users.join()
        applied(service)

    assert kills == 3
    assert Counter(outcome.state for outcome in outcomes.values()) == {State.ACQUIRED: 48}
    assert IssuedCode.objects.exclude(redeemed_at=None).count() == 48
    for event in ("asked", "answered"):
        rows = StateChange.objects.filter(event=event, source="activation").values_list("mac", flat=True)
        assert Counter(rows) == dict.fromkeys(macs, 1)


def test_keys_rotate_under_traffic(data_dir, profile, make_phone):
    with running(data_dir, "web", "relay", environment={"CODE_KEYS": _OLD_KEY}) as service:
        provider = Provider(service, profile)
        old = provider.issue(4)
        macs = iter(f"00562B5A50{number:02X}" for number in range(16))

        def activates(issued: dict[str, str]) -> bool:
            return make_phone(service, next(macs)).activate(_entry(issued)).state is State.ACQUIRED

        assert activates(old[0])
        service.configure(CODE_KEYS=f"{_NEW_KEY},{_OLD_KEY}")
        _restart(service)
        assert activates(old[1])
        new = provider.issue(2)
        assert activates(new[0])

        resealed = service.manage("reseal_codes")
        assert resealed.returncode == 0, resealed.stderr
        service.configure(CODE_KEYS=_NEW_KEY)
        _restart(service)

        assert activates(old[2])
        assert activates(new[1])
        status, revealed = provider("POST", f"activation-codes/{old[3]['id']}/reveal/")
        assert (status, revealed["code"]) == (200, old[3]["code"])


def _restart(service: Service) -> None:
    service.kill("web")
    service.start("web")
    service.await_door()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a database that can be stopped")
@pytest.mark.any_database
def test_without_the_registry_phones_wait_and_nothing_is_spent(data_dir, make_phone):
    with databases.stoppable() as database, SampleProvider() as server:
        profile = make_profile(server)
        with running(data_dir, "relay", "worker", "web", database_url=database.url()) as service:
            provider = Provider(service, profile)
            (issued,) = provider.issue()
            databases.forget()
            database.stop("immediate")

            outcome = make_phone(service, max_retries=2).activate(_entry(issued))
            slipped = _post(service, str(int(issued["code"]) ^ 1).zfill(16), MAC)
            assert (outcome.state, kind(outcome)) == (State.PENDING, "HTTP 503")
            assert outcome.failure
            assert 5 <= int(outcome.failure.retry_after) <= 30
            assert slipped[0] == 400

            database.start()
            outcome = make_phone(service, max_retries=50).activate(_entry(issued))
            assert outcome.state is State.ACQUIRED
            applied(service)
            assert provider.events() == [("asked", "activation"), ("answered", "activation"), ("acquired", "beacon")]
        assert not Bucket.objects.exists()


def test_the_tests_play_the_service_s_own_path():
    assert settings.DOOR.activation_path == edos.ACTIVATION_PATH
    assert settings.DOOR.short_code_path == edos.SHORT_CODE_PATH
