"""Idempotency keys when requests meet, and when the process that answers is killed."""

import threading

import pytest
from django.db import connection, transaction

from accounts.models import KeptAnswer
from onboarding.models import Device, RedirectProfile, StateChange
from tests.api.conftest import PartnerClient
from tests.factories import make_device, make_organization
from tests.races import at_once
from tests.service import Service, wait_until

BODY = {"name": "Head office", "targets": ["https://cfg.example.net/$MA.xml"]}
KEY = {"Idempotency_Key": "6f7f6f0c-5f0d-4f0e-9f0a-2d3c4b5a6978"}

pytestmark = pytest.mark.django_db(transaction=True)


def test_of_many_equal_requests_one_has_the_effect_and_all_that_are_answered_get_its_answer():
    partner = PartnerClient(make_organization())
    first = partner("PUT", "devices/00562B043615/", {"model": "CP-8841-3PCC"}, Idempotency_Key="warm")
    assert first.status_code == 201

    answers = at_once(*[lambda: partner("POST", "profiles/", BODY, **KEY)] * 50)

    done = [answer for answer in answers if answer.status_code == 201]
    waiting = [answer for answer in answers if answer.status_code != 201]
    assert RedirectProfile.objects.count() == 1
    assert done
    assert len({answer.content for answer in done}) == 1
    assert sum("Idempotent-Replayed" not in answer for answer in done) == 1
    for answer in waiting:
        assert (answer.status_code, answer.json()["code"]) == (409, "request_in_progress")
        assert int(answer["Retry-After"]) >= 1
    assert partner("POST", "profiles/", BODY, **KEY).content == done[0].content


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer: the second waits for the first")
def test_while_the_first_is_running_the_second_is_told_to_wait():
    partner = PartnerClient(make_organization())
    device = make_device(organization=partner.organization)
    path = f"devices/{device.mac}/"
    answers = []

    def send():
        answers.append(partner("PATCH", path, {"label": "one"}, **KEY))
        connection.close()

    first = threading.Thread(target=send)
    with transaction.atomic():
        Device.objects.select_for_update().get(pk=device.pk)
        first.start()
        wait_until(_somebody_waits, what="the first request's wait")
        second = partner("PATCH", path, {"label": "one"}, **KEY)
        other_body = partner("PATCH", path, {"label": "two"}, **KEY)
    first.join()
    third = partner("PATCH", path, {"label": "one"}, **KEY)

    assert [(answer.status_code, answer.json()["code"]) for answer in (second, other_body)] == [
        (409, "request_in_progress")
    ] * 2
    assert int(second["Retry-After"]) >= 1
    assert answers[0].status_code == 200
    assert (third.content, third["Idempotent-Replayed"]) == (answers[0].content, "true")
    assert StateChange.objects.filter(device=device, event="changed").count() == 1


def _somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0]


@pytest.mark.processes
def test_a_killed_process_has_done_nothing_and_leaves_no_lock(tmp_path):
    partner = PartnerClient(make_organization())
    device = make_device(organization=partner.organization)
    path = f"/api/v1/devices/{device.mac}/"
    headers = {
        "Authorization": f"Bearer {partner.key}", "Content-Type": "application/json", "Idempotency-Key": "order 1",
    }  # fmt: skip
    body = b'{"label": "after"}'

    def alive():
        try:
            return service.request("GET", "/healthz")[0] == 200
        except OSError:
            return False

    with Service(tmp_path / "data") as service:
        service.start("web")
        wait_until(alive, what="the start")
        # Known to the process before the database is held, so that the request gets as far as the device.
        assert service.request("GET", path, headers=headers)[0] == 200
        failed = []

        def send():
            try:
                service.request("PATCH", path, body=body, headers=headers, timeout=30.0)
            except OSError as error:
                failed.append(error)

        with transaction.atomic():
            Device.objects.select_for_update().get(pk=device.pk)
            sender = threading.Thread(target=send)
            sender.start()
            if connection.vendor == "postgresql":
                wait_until(_somebody_waits, what="the request's wait")
            else:
                sender.join(0.5)
            service.kill("web")
            sender.join()
        assert failed
        device.refresh_from_db()
        assert device.label == ""
        assert not KeptAnswer.objects.exists()

        service.start("web")
        wait_until(alive, what="the second start")
        # PostgreSQL lets go of a killed connection's locks as soon as it notices.
        status, _ = wait_until(
            lambda: (
                (answer := service.request("PATCH", path, body=body, headers=headers, timeout=20.0))[0] != 409
                and answer
            ),
            what="the repeated request",
        )

    assert status == 200
    device.refresh_from_db()
    assert device.label == "after"
    assert StateChange.objects.filter(device=device, event="changed").count() == 1
