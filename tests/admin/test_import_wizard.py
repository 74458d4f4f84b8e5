"""The import wizard and what leads to operations from the devices' list: without scripts, as a browser sends it."""

import json
from datetime import datetime
from io import BytesIO
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import reverse

from accounts import mandates
from accounts.models import Organization
from onboarding.models import Device
from operations.models import Operation, Sheet
from tests.admin.conftest import browser
from tests.factories import ACTOR, make_device, make_organization, make_profile, make_user
from tests.operations.work import run_all

IMPORT = "admin:operations_operation_import"
FILE = "admin:operations_operation_file"
CHOSEN = "admin:operations_operation_chosen"
LIST = "MAC Address;S/N;PID;Location;Colour\n00:56:2b:04:36:15;FCH2133E8B9;CP-8841-3PCC;Reception;black\n5;;;;\n"


def upload(client: Client, text: str = LIST, **more: object) -> str:
    """Hand a file in by the plain form; gives the sheet's address."""
    file = BytesIO(text.encode())
    file.name = "shipment.csv"
    response = client.post(reverse(IMPORT), {"file": file, **more})
    assert response.status_code == 302, response.content.decode()
    return response["Location"]


def start(client: Client, sheet: str, **said: object) -> Operation:
    response = client.post(sheet, {"kind": "import", "try": "", **said})
    assert response.status_code == 302, response.content.decode()
    run_all()
    return Operation.objects.latest("pk")


def page(client: Client, operation: Operation, **asked: str) -> str:
    address = reverse("admin:operations_operation_change", args=(operation.pk,))
    response = client.get(address, asked)
    assert response.status_code == 200
    return response.content.decode()


def do(client: Client, operation: Operation, what: str) -> int:
    return client.post(reverse("admin:operations_operation_do", args=(operation.pk,)), {"do": what}).status_code


def test_the_short_address_leads_to_the_wizard(staff: Client) -> None:
    assert staff.get("/admin/import/")["Location"] == reverse(IMPORT)


def test_a_sheet_is_shown_as_it_was_understood(provider: Organization, staff: Client) -> None:
    text = staff.get(upload(staff)).content.decode()

    for seen in ("MAC Address", "PID", "Location", "Passed over", "Colour", "FCH2133E8B9", "1 of these rows"):
        assert seen in text


def test_from_the_file_to_the_revert(provider: Organization, staff: Client) -> None:
    profile = make_profile(organization=provider)
    sheet = upload(staff)

    tried = start(staff, sheet, profile=profile.pk)
    assert "would be registered" in page(staff, tried)
    assert not Device.objects.exists()

    assert do(staff, tried, "run") == 302
    run_all()
    real = Operation.objects.latest("pk")
    device = Device.objects.get()
    assert (device.label, device.profile, real.created, real.failed) == ("Reception", profile, 1, 1)
    assert "is not a MAC" in page(staff, real, status="failed")
    assert "00:56:2B:04:36:15" not in page(staff, real, status="failed")
    assert "Revert" in page(staff, real)

    assert do(staff, real, "revert") == 302
    run_all()
    real.refresh_from_db()
    assert real.status == "reverted"
    assert not Device.objects.exists()


def test_pasted_rows_are_a_list_too(provider: Organization, staff: Client) -> None:
    response = staff.post(reverse(IMPORT), {"text": "mac,model\n00562b043615,CP-8841-3PCC\n"})

    operation = start(staff, response["Location"])

    assert operation.created == 1


def test_a_file_can_be_the_whole_body(provider: Organization, staff: Client) -> None:
    response = staff.post(f"{reverse(FILE)}?name=list.csv", LIST.encode(), content_type="text/csv")

    sheet = Sheet.objects.get()
    assert response.json() == {"address": reverse("admin:operations_operation_sheet", args=(sheet.pk,))}
    assert (sheet.file_name, sheet.total) == ("list.csv", 2)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "The file is empty"),
        (b"mac\n", "no rows"),
        (b"PK\x03\x04...", "Excel workbook"),
        (b"a,b\n1,2\n", "MAC"),
        (b"\xff\xff\xff", ""),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_words(
    body: bytes, said: str, provider: Organization, staff: Client
) -> None:
    response = staff.post(reverse(FILE), body, content_type="text/csv")

    assert response.status_code == 400
    assert said in json.loads(response.content)["problem"] or not said
    assert not Sheet.objects.exists()


def test_nothing_handed_in_is_said_at_the_field(provider: Organization, staff: Client) -> None:
    assert "Choose a file, or paste rows." in staff.post(reverse(IMPORT), {"text": "  "}).content.decode()


def test_the_results_are_a_file_to_download(provider: Organization, staff: Client) -> None:
    operation = start(staff, upload(staff))

    response = staff.get(reverse("admin:operations_operation_results", args=(operation.pk,)))

    lines = b"".join(response.streaming_content).decode("utf-8-sig").splitlines()  # type: ignore[attr-defined]
    assert lines[0] == "row,mac,status,code,detail"
    assert [line.split(",")[2] for line in lines[1:]] == ["created", "failed"]
    assert "attachment" in response["Content-Disposition"]


def test_an_operation_that_waits_can_be_cancelled(provider: Organization, staff: Client) -> None:
    sheet = upload(staff)
    staff.post(sheet, {"kind": "import", "for_real": ""})
    operation = Operation.objects.get()

    assert do(staff, operation, "cancel") == 302

    operation.refresh_from_db()
    assert operation.status == "cancelled"
    assert not Device.objects.exists()


def test_readers_see_and_do_nothing(provider: Organization, staff: Client, reader: Client) -> None:
    sheet = upload(staff)
    operation = start(staff, sheet)

    assert "Do it for real" not in page(reader, operation)
    assert do(reader, operation, "run") == 403
    assert reader.get(reverse(IMPORT)).status_code == 403
    assert reader.get(sheet).status_code == 404
    assert reader.post(reverse(FILE), b"mac\n", content_type="text/csv").status_code == 403


def test_foreign_sheets_and_operations_are_not_there(
    provider: Organization, other: Organization, staff: Client, operator: Client
) -> None:
    sheet = upload(operator, organization=other.pk)
    operation = start(operator, sheet)

    assert staff.get(sheet).status_code == 404
    for name in ("standing", "results"):
        address = reverse(f"admin:operations_operation_{name}", args=(operation.pk,))
        assert staff.get(address).status_code == 404
    assert do(staff, operation, "run") == 404


def test_a_foreign_profile_cannot_be_chosen(provider: Organization, other: Organization, staff: Client) -> None:
    sheet = upload(staff)
    foreign = make_profile(organization=other)

    page = staff.post(sheet, {"kind": "import", "profile": foreign.pk})

    assert page.status_code == 200
    assert not Operation.objects.exists()


def chosen(client: Client, kind: str, asked: list[tuple[str, object]], **said: object) -> Operation:
    form = {"kind": kind, **said}
    for name, value in asked:
        form.setdefault(name, []).append(value)  # type: ignore[attr-defined]
    response = client.post(reverse(CHOSEN), form)
    assert response.status_code == 302, response.content.decode()
    run_all()
    return Operation.objects.latest("pk")


def test_ticked_devices_are_given_a_profile_after_a_look(provider: Organization, staff: Client) -> None:
    profile = make_profile(organization=provider)
    devices = [make_device(organization=provider) for _ in range(3)]
    ticked = {"action": "assign_selected", "_selected_action": [device.pk for device in devices[:2]]}

    asked = staff.post(reverse("admin:onboarding_device_changelist"), ticked, follow=True).content.decode()
    operation = chosen(staff, "assign", [("device", device.pk) for device in devices[:2]], profile=profile.pk)

    assert "Assign 2 devices" in asked
    assert (operation.dry_run, operation.changed) == (True, 2)
    assert not Device.objects.filter(profile=profile).exists()
    do(staff, operation, "run")
    run_all()
    assert set(Device.objects.filter(profile=profile)) == set(devices[:2])


def test_all_that_a_list_shows_are_released_after_a_look(provider: Organization, staff: Client) -> None:
    profile = make_profile(organization=provider)
    for number in range(60):
        make_device(profile=profile, label=f"Room {number}", state="acquired" if number % 2 else None)
    query = urlencode({"q": "room", "state": "acquired"})

    asked = staff.get(reverse(CHOSEN), {"kind": "release", "list": query}).content.decode()
    operation = chosen(staff, "release", [("list", query)])

    assert "Release 30 devices" in asked
    assert (operation.dry_run, operation.released) == (True, 30)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"kind": "release"}, "No device is chosen"),
        ({"kind": "release", "device": "999999"}, "None of these devices"),
        ({"kind": "release", "list": "q=nothing"}, "None of these devices"),
        ({"kind": "release", "list": "nonsense=1&p=x"}, "None of these devices"),
        ({"kind": "release", "list": "state=nonsense"}, "None of these devices"),
    ],
)
def test_nothing_chosen_is_said(asked: dict[str, str], said: str, provider: Organization, staff: Client) -> None:
    assert said in staff.get(reverse(CHOSEN), asked, follow=True).content.decode()


def test_foreign_devices_cannot_be_chosen(provider: Organization, other: Organization, staff: Client) -> None:
    foreign = make_device(organization=other)

    page = staff.get(reverse(CHOSEN), {"kind": "release", "device": foreign.pk}, follow=True).content.decode()

    assert "None of these devices can be changed by you" in page


def test_devices_of_several_organizations_are_not_one_operation(
    provider: Organization, other: Organization, operator: Client
) -> None:
    pks = [make_device(organization=owner).pk for owner in (provider, other)]

    page = operator.get(reverse(CHOSEN), {"kind": "release", "device": pks}, follow=True).content.decode()

    assert "several organizations" in page


def test_a_kind_that_is_not_offered_is_refused(provider: Organization, staff: Client, reader: Client) -> None:
    device = make_device(organization=provider)

    assert staff.get(reverse(CHOSEN), {"kind": "import", "device": device.pk}).status_code == 403
    assert reader.get(reverse(CHOSEN), {"kind": "release", "device": device.pk}).status_code == 403


def test_who_is_limited_to_some_profiles_does_no_bulk_work(provider: Organization, at: datetime) -> None:
    partner = make_organization(kind="partner")
    profile = make_profile(organization=provider)
    device = make_device(profile=profile)
    mandates.give(
        actor=ACTOR, provider=provider, partner=partner, scopes=["devices:read", "devices:write"],
        profile_ids=[profile.pk], at=at,
    )  # fmt: skip
    client = browser(make_user(organization=partner))

    assert client.get(reverse("admin:onboarding_device_change", args=(device.pk,))).status_code == 200
    page = client.get(reverse(CHOSEN), {"kind": "release", "device": device.pk}, follow=True).content.decode()
    assert "None of these devices can be changed by you" in page
    assert provider.name not in client.get(reverse(IMPORT)).content.decode()


@pytest.mark.parametrize(("names", "chosen"), [(("Head office",), True), (("Head office", "Branches"), False)])
def test_the_only_profile_is_what_rows_without_one_get(
    provider: Organization, staff: Client, names: tuple[str, ...], chosen: bool
) -> None:
    profiles = [make_profile(organization=provider, name=name) for name in names]

    text = staff.get(upload(staff)).content.decode()

    assert (f'<option value="{profiles[0].pk}" selected' in text) is chosen
