"""`/operations/` as partners use it: rows as JSON and as files, progress, results, cancelling, reverting, isolation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from accounts.models import Organization
from config.wsgi import MOST_FILE_OCTETS
from onboarding.models import Device
from operations.models import Operation, Sheet
from tests.api.conftest import PartnerClient
from tests.factories import make_device, make_mac, make_organization, make_profile
from tests.operations.work import run_all
from tests.operations.work import start as start_directly

pytestmark = pytest.mark.django_db

_SHAPE = {"id", "kind", "status", "dry_run", "total", "processed", "succeeded", "failed"}


@pytest.fixture(scope="module", autouse=True)
def _static_files() -> None:
    """WhiteNoise warns where `make run` has not yet collected the static files."""
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


@pytest.fixture
def partner() -> PartnerClient:
    return PartnerClient(make_organization())


@pytest.fixture
def stranger() -> PartnerClient:
    return PartnerClient(make_organization())


def _post_file(partner: PartnerClient, text: str | bytes, query: str = "kind=import", **headers: str) -> Any:
    return Client(raise_request_exception=False).post(
        f"/api/v1/operations/?{query}",
        data=text.encode() if isinstance(text, str) else text,
        content_type="text/csv",
        headers={"Authorization": f"Bearer {partner.key}"} | headers,
    )


def test_rows_are_taken_as_json_done_in_the_background_and_told_one_by_one(partner: PartnerClient) -> None:
    macs = [make_mac(), make_mac()]
    profile = make_profile(organization=partner.organization)
    rows = [
        {"mac": macs[0].colons, "model": "cp-8841-3pcc", "profile": profile.pk, "label": None, "Carton": 7},
        {"mac": "nonsense", "model": "CP-8841-3PCC"},
        {"mac": str(macs[1]), "model": 8841},
    ]

    started = partner("POST", "operations/", {"kind": "import", "rows": rows})
    assert started.status_code == 202, started.content
    shown = started.json()
    assert set(shown) >= _SHAPE
    assert (shown["status"], shown["total"], shown["ignored"], shown["dry_run"]) == ("queued", 3, ["Carton"], False)
    assert started["Location"].endswith(f"/api/v1/operations/{shown['id']}/")
    run_all()

    done = partner("GET", f"operations/{shown['id']}/")
    assert done["ETag"]
    assert (done.json()["status"], done.json()["succeeded"], done.json()["failed"]) == ("done", 1, 2)
    assert (done.json()["progress"], done.json()["seconds_left"]) == (1.0, None)
    results = partner("GET", f"operations/{shown['id']}/results/").json()
    assert results["next"] is None
    assert [(row["row"], row["mac"], row["status"], row["code"]) for row in results["results"]] == [
        (1, str(macs[0]), "created", ""),
        (2, "nonsense", "failed", "invalid_mac"),
        (3, str(macs[1]), "failed", "invalid_row"),
    ]
    assert set(results["results"][0]) == {"row", "mac", "status", "code", "detail"}
    assert Device.objects.get().profile_id == profile.pk


def test_a_file_is_taken_with_its_kind_in_the_query(partner: PartnerClient) -> None:
    profile = make_profile(organization=partner.organization)
    mac = make_mac()

    answer = _post_file(
        partner,
        f"S/N;Ethernet MAC;PID\nFCH2133E8B9;{mac.colons};CP-8841\n",
        f"kind=import&dry_run=true&profile={profile.pk}",
    )
    assert answer.status_code == 202, answer.content
    assert (answer.json()["dry_run"], answer.json()["profile"]) == (True, profile.pk)
    assert answer.json()["columns"] == {"serial": "S/N", "mac": "Ethernet MAC", "model": "PID"}
    run_all()

    results = partner("GET", f"operations/{answer.json()['id']}/results/?status=created").json()["results"]
    assert [(row["row"], row["mac"]) for row in results] == [(2, str(mac))]
    assert not Device.objects.exists()


def test_results_are_paged_by_a_cursor_of_their_own(partner: PartnerClient) -> None:
    operation = start_directly(
        partner.organization, "mac,model\n" + "".join(f"{make_mac()},CP-8841\n" for _ in range(5))
    )
    run_all()
    rows, path = [], f"operations/{operation.pk}/results/?limit=2"

    page = partner("GET", path).json()
    while page["next"]:
        rows += page["results"]
        page = partner("GET", f"{path}&cursor={page['next']}").json()
    rows += page["results"]

    assert [row["row"] for row in rows] == [2, 3, 4, 5, 6]
    assert partner("GET", f"{path}&cursor=nonsense").json()["code"] == "invalid_cursor"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"kind": "import", "rows": []}, "invalid_input"),
        ({"kind": "import", "rows": ["x"]}, "invalid_input"),
        ({"kind": "import"}, "invalid_input"),
        ({"kind": "destroy", "rows": [{"mac": "00562B043615"}]}, "invalid_input"),
        ({"kind": "revert", "rows": [{"mac": "00562B043615"}]}, "invalid_input"),
        ({"kind": "import", "rows": [{"serial": "FCH2133E8B9"}]}, "invalid_sheet"),
        ({"kind": "assign", "rows": [{"mac": "00562B043615"}]}, "invalid_sheet"),
        ({"kind": "import", "rows": [{"mac": "00562B043615"}], "profile": 999_999}, "unknown_profile"),
    ],
)
def test_what_cannot_be_started_is_refused_and_leaves_nothing(partner: PartnerClient, body: Any, code: str) -> None:
    answer = partner("POST", "operations/", body)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert not Operation.objects.exists()
    assert not Sheet.objects.exists()


@pytest.mark.parametrize(
    ("text", "query", "code"),
    [
        ("mac,model\n00562B043615,CP-8841\n", "", "invalid_sheet"),
        ("mac,model\n00562B043615,CP-8841\n", "kind=import&profile=x", "invalid_input"),
        ("serial\nFCH2133E8B9\n", "kind=import", "invalid_sheet"),
        ("mac\n", "kind=import", "invalid_sheet"),
        (b"\xff\xfe\x00", "kind=import", "invalid_sheet"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_leaves_nothing(
    partner: PartnerClient, text: str | bytes, query: str, code: str
) -> None:
    answer = _post_file(partner, text, query)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["remedy"]
    assert not Sheet.objects.exists()


def test_a_repeated_file_with_one_idempotency_key_is_started_once(partner: PartnerClient) -> None:
    text = f"mac,model\n{make_mac()},CP-8841\n"

    first = _post_file(partner, text, **{"Idempotency-Key": "list-4711"})
    second = _post_file(partner, text, **{"Idempotency-Key": "list-4711"})
    other = _post_file(partner, text + f"{make_mac()},CP-8841\n", **{"Idempotency-Key": "list-4711"})

    assert (first.status_code, second.status_code, other.status_code) == (202, 202, 422)
    assert first.json()["id"] == second.json()["id"]
    assert (Operation.objects.count(), Sheet.objects.count()) == (1, 1)


def test_an_operation_is_cancelled_and_another_reverted(partner: PartnerClient) -> None:
    mac = make_mac()
    first, second = (
        start_directly(partner.organization, f"mac,model\n{mac},CP-8841\n"),
        start_directly(partner.organization, f"mac\n{mac}\n", kind="release"),
    )

    cancelled = partner("POST", f"operations/{second.pk}/cancel/")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    run_all()
    assert partner("POST", f"operations/{first.pk}/cancel/").json()["code"] == "operation_over"
    reverting = partner("POST", f"operations/{first.pk}/revert/")
    assert (reverting.status_code, reverting.json()["kind"], reverting.json()["reverts"]) == (202, "revert", first.pk)
    run_all()

    assert partner("GET", f"operations/{first.pk}/").json()["status"] == "reverted"
    assert partner("POST", f"operations/{first.pk}/revert/").json()["code"] == "not_revertible"
    assert not Device.objects.exists()


def test_texts_that_no_database_keeps_make_a_row_wrong_and_stop_nothing(partner: PartnerClient) -> None:
    rows = [
        {"m\0ac": "00562B\0", "model": "CP-8841", "profile": "x\0", "n\0": 1},
        {"m\0ac": str(make_mac()), "model": "CP-8841"},
    ]

    operation_id = partner("POST", "operations/", {"kind": "import", "rows": rows}).json()["id"]
    run_all()

    results = partner("GET", f"operations/{operation_id}/results/").json()["results"]
    assert [row["code"] for row in results] == ["invalid_row", ""]


def test_operations_of_others_are_not_there(partner: PartnerClient, stranger: PartnerClient) -> None:
    operation = start_directly(partner.organization, f"mac,model\n{make_mac()},CP-8841\n")

    for method, path in (
        ("GET", ""), ("GET", "results/"), ("POST", "cancel/"), ("POST", "revert/"),
    ):  # fmt: skip
        assert stranger(method, f"operations/{operation.pk}/{path}").status_code == 404
    assert stranger("GET", "operations/").json()["results"] == []
    assert [row["id"] for row in partner("GET", "operations/").json()["results"]] == [operation.pk]


def test_others_devices_and_profiles_cannot_be_touched(partner: PartnerClient, stranger: PartnerClient) -> None:
    theirs = make_device(organization=stranger.organization, label="Theirs")
    profile = make_profile(organization=stranger.organization)
    rows = [{"mac": theirs.mac, "model": "CP-8841", "label": "Mine", "profile": profile.name}]

    for kind in ("import", "assign", "release"):
        partner("POST", "operations/", {"kind": kind, "rows": rows})
    run_all()

    assert [operation.failed for operation in Operation.objects.order_by("pk")] == [1, 1, 1]
    assert Device.objects.get().label == "Theirs"
    assert Device.objects.get().organization_id == stranger.organization.pk


def test_reading_keys_cannot_start_anything() -> None:
    organization: Organization = make_organization()
    reader = PartnerClient(organization, scopes=["devices:read"])

    answer = reader("POST", "operations/", {"kind": "import", "rows": [{"mac": "00562B043615"}]})

    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert reader("GET", "operations/").status_code == 200


def _call(application: Callable[..., Any], path: str, length: int) -> str:
    said = []
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_LENGTH": str(length), "QUERY_STRING": "kind=import",
        "CONTENT_TYPE": "text/csv", "wsgi.input": _Untouchable(), "SERVER_NAME": "localhost", "SERVER_PORT": "80",
        "wsgi.url_scheme": "http", "HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.1", "wsgi.errors": None,
        "SERVER_PROTOCOL": "HTTP/1.1",
    }  # fmt: skip
    b"".join(application(environ, lambda status, headers: said.append(status)))
    return said[0].partition(" ")[0]


class _Untouchable:
    def read(self, *_: int) -> bytes:
        raise AssertionError("the body was read")

    readline = read


def test_large_bodies_are_let_through_for_files_alone_and_not_read_without_a_key() -> None:
    from config.wsgi import application

    large = 100 * 1024 * 1024
    assert _call(application, "/api/v1/devices/validate/", large) == "413"
    assert _call(application, "/api/v1/operations/", MOST_FILE_OCTETS + 1) == "413"
    assert _call(application, "/api/v1/operations/", large) == "401"


def test_the_results_of_an_operation_are_no_formulas_to_a_spreadsheet() -> None:
    from operations import reporting

    organization = make_organization()
    operation = start_directly(organization, 'mac,model\n=HYPERLINK(""),CP-8841\n@SUM(1),CP-8841\n')
    run_all()

    text = b"".join(reporting.results_csv(operation)).decode("utf-8-sig")

    assert text.splitlines()[0] == "row,mac,status,code,detail"
    assert ",'=HYPERLINK" in text.replace('"', "")
    assert ",'@SUM(1)," in text
