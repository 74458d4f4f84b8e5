"""`/devices/validate/`: what would become of rows, without touching anything."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from onboarding.models import Device, StateChange
from tests.factories import make_device


def judged(partner, rows):
    answer = partner("POST", "devices/validate/", {"rows": rows})
    assert answer.status_code == 200
    return answer.json()["results"]


def test_each_row_is_judged_in_order(partner, stranger):
    own, taken = make_device(organization=partner.organization), make_device(organization=stranger.organization)
    rows = [
        {"mac": "00:56:2b:0f:00:01", "model": "CP-8841-3PCC", "serial": "FCH2133E8B9"},
        {"mac": own.mac, "model": "CP-8841-3PCC"},
        {"mac": taken.mac, "model": "CP-8841-3PCC"},
        {"mac": "nonsense", "model": "CP-8841-3PCC"},
        {"mac": "00562B0F0001", "model": "CP-8841-3PCC"},
        {"mac": own.mac.lower()},
    ]

    results = judged(partner, rows)

    assert [row["status"] for row in results] == ["available", "yours", "taken", "invalid", "duplicate", "duplicate"]
    assert [row["row"] for row in results] == [1, 2, 3, 4, 5, 6]
    assert [row["mac"] for row in results] == ["00562B0F0001", own.mac, taken.mac, "nonsense", "00562B0F0001", own.mac]
    assert [bool(row["detail"]) for row in results] == [False, False, False, True, False, False]


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"model": "CP-8841-3PCC"},
        {"mac": None},
        {"mac": 5},
        {"mac": "x" * 5000},
        {"mac": "00562B0F0001", "model": "?"},
        {"mac": "00562B0F0001", "serial": "1"},
        {"mac": "00562B0F0001", "serial": 12345},
        {"mac": "00562B0F0001", "colour": "red"},
    ],
)
def test_a_wrong_row_is_invalid_and_says_why_without_stopping_the_others(partner, row):
    results = judged(partner, [row, {"mac": "00562B0F0001", "serial": None, "model": ""}])

    assert [result["status"] for result in results] == ["invalid", "available"]
    assert results[0]["detail"]


def test_it_changes_nothing_and_asks_the_database_once(partner):
    rows = [{"mac": f"00562B0{number:05X}", "model": "CP-8841-3PCC"} for number in range(1000)]
    # The key is read now, and known for a moment.
    partner("GET", "me/")

    with CaptureQueriesContext(connection) as queries:
        results = judged(partner, rows)

    assert {result["status"] for result in results} == {"available"}
    assert len(queries) == 1
    assert not Device.objects.exists()
    assert not StateChange.objects.exists()


@pytest.mark.parametrize(
    "body", [{}, {"rows": "x"}, {"rows": [1]}, {"rows": [{}] * 1001}, {"rows": [], "dry_run": True}]
)
def test_a_body_of_another_shape_is_refused(partner, body):
    assert partner("POST", "devices/validate/", body).status_code == 400
