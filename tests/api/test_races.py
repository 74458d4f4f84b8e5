"""Requests at the same moment: one wins, nothing is lost, nothing is written twice."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from onboarding.models import Device, StateChange
from tests.api.conftest import PartnerClient
from tests.factories import make_device, make_organization

URL = "devices/00562B043615/"

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*requests):
    """Send each request from a thread of its own, all at the same moment; gives the answers in order."""
    start = Barrier(len(requests))

    def send(request):
        start.wait()
        try:
            return request()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(send, requests))


def test_of_many_organizations_that_claim_a_device_one_gets_it():
    partners = [PartnerClient(make_organization()) for _ in range(4)]

    answers = at_once(*(lambda p=p: p("PUT", URL, {"model": "CP-8841-3PCC"}) for p in partners))

    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [201, 409, 409, 409]
    assert Device.objects.get().organization == partners[statuses.index(201)].organization
    assert StateChange.objects.count() == 1


def test_a_claim_that_is_repeated_while_it_runs_is_one_claim():
    partner = PartnerClient(make_organization())

    answers = at_once(*[lambda: partner("PUT", URL, {"model": "CP-8841-3PCC"})] * 4)

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert StateChange.objects.count() == 1


def test_of_two_updates_that_read_the_same_etag_one_is_refused():
    partner = PartnerClient(make_organization())
    device = make_device(organization=partner.organization)
    path = f"devices/{device.mac}/"
    tag = partner("GET", path)["ETag"]

    answers = at_once(*(lambda n=n: partner("PATCH", path, {"label": f"label {n}"}, If_Match=tag) for n in range(4)))

    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    assert StateChange.objects.filter(event="changed").count() == 1


def test_patches_of_different_fields_do_not_undo_each_other():
    partner = PartnerClient(make_organization())
    device = make_device(organization=partner.organization)
    path = f"devices/{device.mac}/"

    at_once(
        lambda: partner("PATCH", path, {"label": "Hall"}),
        lambda: partner("PATCH", path, {"serial": "FCH2133E8B9"}),
        lambda: partner("PATCH", path, {"target": "https://own.example.net/"}),
    )

    shown = partner("GET", path).json()
    assert (shown["label"], shown["serial"], shown["target"]) == ("Hall", "FCH2133E8B9", "https://own.example.net/")
