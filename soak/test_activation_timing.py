"""Time tells nobody whether a code exists: every code that does not work is refused after the same time.

What it costs to find out why differs, so each refusal waits until the same moment. Measured at the view, the cases in
turn so that whatever disturbs the machine disturbs all of them, and the medians compared: what an attacker could learn
by asking as often. He cannot: each of these answers costs him an attempt.
"""

import json
import random
import statistics
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from accounts.models import Bucket
from activation import issuing, views
from activation.codes import ActivationCode
from activation.models import IssuedCode
from onboarding.answers import Links
from tests.activation.factories import VAULT, make_code
from tests.factories import ACTOR, make_device, make_mac, make_profile

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 200
# Seconds between medians. A limit of ten tries, then four an hour, leaves nobody the thousands of samples that it takes
# to see this through a network.
TOLERANCE = 0.001

View = Callable[[HttpRequest], HttpResponse]


@pytest.fixture
def view() -> View:
    return views.endpoint(vault=VAULT, make_links=lambda query, at: Links("", ""), trusted_proxies=())


@pytest.fixture
def cases() -> dict[str, HttpRequest]:
    """One request for each way in which a code does not work, among many that do."""
    now = timezone.now()
    profile = make_profile()
    issuing.issue(actor=ACTOR, organization=profile.organization, profile=profile, count=5000, at=now, vault=VAULT)
    mac = make_mac()
    make_device(mac=mac)
    hour = timedelta(hours=1)
    columns = {
        "expired": {"issued_at": now - 2 * hour, "expires_at": now - hour},
        "used": {"redeemed_at": now - hour, "redeemed_mac": str(make_mac()), "device_id": 1},
        "revoked": {"revoked_at": now},
        "of another phone": {"mac": str(make_mac())},
        # Its phone is proven by another organization.
        "foreign": {},
    }
    codes = {case: make_code(profile=profile, at=now, columns=fields)[1] for case, fields in columns.items()}
    codes["unknown"] = ActivationCode.random()
    return {case: _request(code, str(mac)) for case, code in codes.items()}


def _request(code: ActivationCode, mac: str) -> HttpRequest:
    body = json.dumps({"code": code.digits, "mac": mac, "model": "CP-8841-3PCC", "serial": "FCH2133E8B9"})
    return RequestFactory().post("/gds/activate", body, content_type="application/json")


def _medians(view: View, cases: dict[str, HttpRequest], rounds: int) -> dict[str, float]:
    order = list(cases)
    taken: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(rounds):
        random.shuffle(order)
        Bucket.objects.all().delete()
        for case in order:
            began = time.perf_counter()
            response = view(cases[case])
            taken[case].append(time.perf_counter() - began)
            assert response.status_code == 404
    return {case: statistics.median(times) for case, times in taken.items()}


def test_every_code_that_does_not_work_is_refused_after_the_same_time(
    view: View, cases: dict[str, HttpRequest]
) -> None:
    _medians(view, cases, 5)

    medians = _medians(view, cases, ROUNDS)

    apart = {case: round(median - medians["unknown"], 6) for case, median in medians.items()}
    assert all(abs(difference) <= TOLERANCE for difference in apart.values()), apart
    assert IssuedCode.objects.filter(redeemed_at=None).count() >= 5000


def test_the_wait_is_longer_than_the_work_that_it_hides(
    view: View, cases: dict[str, HttpRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "REFUSAL_SECONDS", 0.0)

    medians = _medians(view, cases, ROUNDS)

    # And the measurement itself: without the wait, the work that a foreign phone makes would show.
    assert medians["foreign"] > medians["unknown"] + TOLERANCE / 4, medians
    monkeypatch.undo()
    assert max(medians.values()) < views.REFUSAL_SECONDS / 2, medians
