"""Quotas: how many requests a key may send, how many strangers may try, and how often a taken device is told of."""

import pytest
from django.test import Client

from accounts import quotas, views
from accounts.models import AuditEntry
from accounts.quotas import Counts, Limit
from accounts.views import STRANGERS, TAKEN, counts
from onboarding.models import Device
from tests.api.conftest import PartnerClient
from tests.factories import make_device
from tests.races import at_once

HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
MODEL = {"model": "CP-8841-3PCC"}


def stood(answer):
    return tuple(int(answer[name]) for name in HEADERS)


def test_every_answer_tells_how_the_quota_stands(partner, settings):
    settings.API_REQUESTS_PER_MINUTE = 100
    answers = [
        partner("GET", "devices/"), partner("GET", "me/"), partner("PUT", "devices/00562B043615/", MODEL),
        partner("PUT", "devices/nonsense/", MODEL), partner("DELETE", "me/"), partner("GET", "devices/1/"),
        partner("GET", "devices/", Accept="text/html"), partner("DELETE", "devices/00562B043615/"),
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [200, 200, 201, 400, 405, 400, 406, 204]
    assert [stood(answer)[:2] for answer in answers] == [(100, 99 - number) for number in range(8)]
    assert all(0 < stood(answer)[2] <= 60 for answer in answers)


def test_a_key_beyond_its_quota_waits_until_it_is_whole_again(partner, settings):
    settings.API_REQUESTS_PER_MINUTE = 2
    answers = [partner("PUT", "devices/00562B043615/", MODEL) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 200, 429]
    refused = answers[-1]
    assert refused.json()["code"] == "too_many_requests"
    assert refused.json()["remedy"]
    assert stood(refused)[:2] == (2, 0)
    assert refused["Retry-After"] == refused["RateLimit-Reset"]


def test_each_key_has_its_own_quota(partner, settings):
    settings.API_REQUESTS_PER_MINUTE = 1
    colleague = PartnerClient(partner.organization)

    assert [who("GET", "me/").status_code for who in (partner, colleague, partner)] == [200, 200, 429]


def test_me_tells_the_same(partner, settings):
    settings.API_REQUESTS_PER_MINUTE = 10
    partner("GET", "devices/")

    answer = partner("GET", "me/")

    limits = answer.json()["limits"]
    assert (limits["requests_per_minute"], limits["requests_remaining"], limits["requests_reset_seconds"]) == stood(
        answer
    )
    assert (limits["device_taken_per_hour"], limits["device_taken_remaining"]) == (100, 100)


def test_wrong_keys_from_one_network_are_not_even_looked_at_after_a_while(partner):
    def knock(header, address="198.51.100.7"):
        return Client(REMOTE_ADDR=address).get("/api/v1/me/", headers={"Authorization": header})

    first = knock("Bearer wrong")
    assert (first.status_code, stood(first)[:2]) == (401, (STRANGERS.most, STRANGERS.most - 1))
    for number in range(STRANGERS.most - 1):
        assert knock(f"Bearer wrong{number}").status_code == 401

    refused = knock("Bearer wrong again")

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert int(refused["Retry-After"]) > 0
    # A right key that was not seen lately would be a guess that hit.
    assert knock(f"Bearer {partner.key}").status_code == 429
    assert knock(f"Bearer {partner.key}", address="198.51.100.8").status_code == 200
    # Now it is known to be good, and nobody's broken script locks it out.
    assert knock(f"Bearer {partner.key}").status_code == 200


def test_requests_without_a_key_count_as_strangers(db):
    answers = [Client(REMOTE_ADDR="2001:db8::1").get("/api/v1/me/") for _ in range(STRANGERS.most)]
    neighbour = Client(REMOTE_ADDR="2001:db8:0:9::1").get("/api/v1/me/")

    assert {answer.status_code for answer in answers} == {401}
    assert neighbour.status_code == 429


def test_a_taken_device_is_told_of_so_often_in_an_hour_and_then_nothing_is(partner, stranger, monkeypatch):
    monkeypatch.setattr(views, "TAKEN", TAKEN._replace(most=2))
    own = make_device(organization=partner.organization)
    foreign = [make_device(organization=stranger.organization) for _ in range(3)]
    paths = [f"devices/{device.mac}/" for device in foreign]

    answers = [partner("PUT", path, MODEL) for path in paths]

    assert [answer.status_code for answer in answers] == [409, 409, 429]
    assert answers[0].json()["code"] == "device_taken"
    assert 3500 < int(answers[2]["Retry-After"]) <= 3600
    # A free one is refused alike: else the refusal itself would tell.
    free = partner("PUT", "devices/00562B0F0001/", MODEL)
    assert free.json() | {"request_id": ""} == answers[2].json() | {"request_id": ""}
    assert partner("POST", "devices/validate/", {"rows": [{"mac": "00562B0F0001"}]}).status_code == 429
    # One's own go on, and so do other organizations.
    assert partner("PUT", f"devices/{own.mac}/", MODEL).status_code == 200
    assert stranger("PUT", "devices/00562B0F0001/", MODEL).status_code == 201
    assert partner("GET", "me/").json()["limits"]["device_taken_remaining"] == 0


def test_the_taken_ones_of_a_validation_count_too(partner, stranger, monkeypatch):
    monkeypatch.setattr(views, "TAKEN", TAKEN._replace(most=5))
    foreign = [make_device(organization=stranger.organization).mac for _ in range(4)]
    rows = [{"mac": mac} for mac in [*foreign, foreign[0], "00562B0F0001"]]

    answers = [partner("POST", "devices/validate/", {"rows": rows}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [row["status"] for row in answers[0].json()["results"]] == ["taken"] * 4 + ["duplicate", "available"]


def test_who_was_told_of_a_taken_device_stands_in_the_audit(partner, stranger):
    one, other = (make_device(organization=stranger.organization).mac for _ in range(2))
    partner("PUT", f"devices/{one}/", MODEL, X_Request_Id="order-4711")
    partner("POST", "devices/validate/", {"rows": [{"mac": one}, {"mac": other}, {"mac": "00562B0F0001"}]})

    first, second = AuditEntry.objects.filter(action="device.taken_refused").order_by("id")

    assert (first.organization, first.name) == (partner.organization, partner.row.prefix)
    assert (first.subject, first.request_id) == (f"Device {one}", "order-4711")
    assert (second.subject, second.after) == ("2 devices", {"macs": [one, other]})
    assert Device.objects.count() == 2


@pytest.fixture
def fresh(tmp_path):
    return Counts(tmp_path)


LIMIT = Limit("test", most=3, seconds=10)


def test_a_quota_is_whole_again_when_its_time_is_over(fresh):
    stood = [fresh.spend(LIMIT, "a", at=at) for at in (100.0, 101.0, 109.0, 109.9, 110.0)]

    assert [(s.remaining, s.is_over) for s in stood] == [(2, False), (1, False), (0, False), (0, True), (2, False)]
    assert [s.resets_in for s in stood] == pytest.approx([10, 9, 1, 0.1, 10])
    assert fresh.look(LIMIT, "a", at=111.0).used == 1
    assert fresh.look(LIMIT, "b", at=111.0).used == 0


def test_a_clock_that_is_set_back_locks_nobody_out(fresh):
    for _ in range(5):
        fresh.spend(LIMIT, "a", at=1_000_000.0)

    assert not fresh.spend(LIMIT, "a", at=5.0).is_over


@pytest.mark.parametrize("subject", ["", "a" * 5000, "ü"])
def test_any_text_is_a_subject(fresh, subject):
    fresh.spend(LIMIT, subject, at=1.0)

    assert fresh.look(LIMIT, subject, at=1.0).used == 1


def test_uses_at_the_same_moment_are_all_counted(fresh):
    at_once(*[lambda: [fresh.spend(LIMIT, "a", at=1.0) for _ in range(200)]] * 8)

    assert fresh.look(LIMIT, "a", at=1.0).used == 1600


def test_however_many_ask_the_counts_stay_bounded(fresh, monkeypatch):
    monkeypatch.setattr(quotas, "_MOST_SUBJECTS", 50)
    for number in range(500):
        fresh.spend(LIMIT, str(number), at=float(number))

    assert sum(fresh.look(LIMIT, str(number), at=499.0).used for number in range(500)) <= 50
    assert fresh.look(LIMIT, "499", at=499.0).used == 1


def test_without_its_memory_everybody_is_let_through(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    broken = Counts(tmp_path / "file" / "below")

    assert broken.spend(LIMIT, "a").remaining == 3
    assert not broken.look(LIMIT, "a").is_over
    assert "cannot be" in caplog.text


def test_counts_are_of_all_processes(tmp_path):
    import subprocess
    import sys

    program = (
        "import sys; from pathlib import Path; from accounts.quotas import Counts, Limit;"
        "counts = Counts(Path(sys.argv[1]));"
        "[counts.spend(Limit('test', 3, 10), 'a', at=1.0) for _ in range(100)]"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(30) for process in running] == [0, 0, 0]

    assert Counts(tmp_path).look(LIMIT, "a", at=1.0).used == 300


def test_the_counts_of_the_service_lie_in_its_data_directory(settings):
    assert counts() is counts()
    counts().spend(LIMIT, "a")
    assert any((settings.DATA_DIR / "quotas").rglob("data.mdb"))
