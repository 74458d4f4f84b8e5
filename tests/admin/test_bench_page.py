"""The bench: what one scan does, what is refused and how it is said, taking back, labels. See tests/browser too."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Organization
from accounts.tenancy import Viewer
from onboarding import bench
from onboarding.bench import Box
from onboarding.identifiers import MacAddress
from onboarding.models import Device, RedirectProfile, StateChange
from onboarding.registry import DeviceTaken
from tests.admin.conftest import browser
from tests.factories import ACTOR, AT, OWN, make_device, make_profile, make_user

MAC, SERIAL, MODEL = "00562B043615", "FCH2133E8B9", "CP-8841-3PCC"

Scanner = Callable[..., dict[str, Any]]


@pytest.fixture
def profile(provider: Organization) -> RedirectProfile:
    return make_profile(organization=provider, name="Vienna")


def send(client: Client, name: str, body: Any) -> Any:
    return client.post(reverse(name), json.dumps(body), content_type="application/json")


@pytest.fixture
def scan(staff: Client, profile: RedirectProfile) -> Scanner:
    """One scan by the staff; gives the answer's JSON."""

    def scan(text: str, *, client: Client = staff, **over: Any) -> dict[str, Any]:
        body = {"scan": text, "profile": profile.pk, "model": MODEL, "label": "", "with_serial": False} | over
        answer = send(client, "bench_scan", body)
        assert answer.status_code == 200
        said: dict[str, Any] = answer.json()
        return said

    return scan


def test_one_scan_registers_a_phone_with_the_profile(scan: Scanner, profile: RedirectProfile) -> None:
    said = scan("00:56:2b:04:36:15", label="Desk 7")

    device = Device.objects.get()
    assert said["outcome"] == "registered"
    assert (said["row"]["mac"], said["row"]["shown"], said["row"]["status"]) == (MAC, "00:56:2B:04:36:15", "claimed")
    assert (device.mac, device.model, device.label, device.profile, device.proven) == (
        MAC, MODEL, "Desk 7", profile, True,
    )  # fmt: skip
    claimed = StateChange.objects.get()
    assert (claimed.event, claimed.source, claimed.evidence["by"]) == ("claimed", "admin", "stan")


def test_a_2d_code_says_it_all(scan: Scanner) -> None:
    scan(f"MAC:{MAC};SN:{SERIAL};PID:CP-7841-3PCC-K9")

    device = Device.objects.get()
    assert (device.mac, device.serial, device.model) == (MAC, SERIAL, "CP-7841-3PCC")


@pytest.mark.parametrize("order", [(MAC, SERIAL), (SERIAL, MAC), ("23S" + MAC, "S" + SERIAL), (MAC, "88012BA01234")])
def test_two_scans_make_a_box_in_any_order(scan: Scanner, order: tuple[str, str]) -> None:
    first = scan(order[0], with_serial=True)
    assert first["outcome"] == "begun"
    assert not Device.objects.exists()

    second = scan(order[1], with_serial=True, box=first["box"])

    assert second["outcome"] == "registered"
    device = Device.objects.get()
    assert (device.mac, device.serial) == (MAC, SERIAL if SERIAL in "".join(order) else "88012BA01234")


def test_the_next_box_before_the_serial_number_is_refused_and_begun(scan: Scanner) -> None:
    begun = scan(MAC, with_serial=True)

    said = scan("00562B043616", with_serial=True, box=begun["box"])

    assert (said["outcome"], said["code"], said["box"]) == ("refused", "serial_missing", {"mac": "00562B043616"})
    assert "00:56:2B:04:36:15" in said["detail"]
    assert not Device.objects.exists()


def test_a_scan_that_is_sent_again_changes_nothing_and_is_told_as_the_first(scan: Scanner) -> None:
    started = timezone.now().isoformat()
    scan(MAC, label="Desk 7", started=started)
    rows = StateChange.objects.count()

    again = scan(MAC, label="Desk 7", started=started)

    assert again["row"]["status"] == "claimed"
    assert StateChange.objects.count() == rows


def test_a_phone_of_ones_own_keeps_what_the_scan_does_not_say(scan: Scanner, provider: Organization) -> None:
    until = timezone.now() + timedelta(days=9)
    make_device(
        organization=provider, mac=MAC, serial=SERIAL, label="Reception", valid_until=until,
        target="https://own.example.net/", model="CP-6841-3PCC",
    )  # fmt: skip

    said = scan(MAC, label="Desk 7")

    device = Device.objects.get()
    assert said["row"]["status"] == "changed"
    assert (device.label, device.serial, device.valid_until, device.target, device.model) == (
        "Reception", SERIAL, until, "https://own.example.net/", MODEL,
    )  # fmt: skip
    assert scan(MAC, label="Desk 8")["row"]["status"] == "unchanged"


REFUSED = [
    ("nonsense?", "unreadable_scan", "beside the word MAC"),
    ("882658563331", "product_code_scanned", "beside the word MAC"),
    ("MAC:01005E000001", "invalid_mac", "beside the word MAC"),
    ("x" * 900, "unreadable_scan", "beside the word MAC"),
]


@pytest.mark.parametrize(("text", "code", "remedy"), REFUSED)
def test_what_cannot_be_read_is_refused_with_what_to_do(scan: Scanner, text: str, code: str, remedy: str) -> None:
    said = scan(text)

    assert (said["outcome"], said["code"]) == ("refused", code)
    assert remedy in said["remedy"]
    assert not Device.objects.exists()


def test_a_phone_of_somebody_else_is_refused_without_the_owners_name(scan: Scanner, other: Organization) -> None:
    make_device(organization=other, mac=MAC)

    said = scan(MAC)

    assert (said["outcome"], said["code"]) == ("refused", "device_taken")
    assert other.name not in json.dumps(said)
    assert "seller" in said["remedy"]


def test_a_phone_outside_a_partners_mandate_is_not_its_to_scan(
    provider: Organization, profile: RedirectProfile
) -> None:
    hers = make_profile(organization=provider)
    make_device(profile=hers, mac=MAC)
    limited = Viewer(limited=((provider.pk, frozenset({profile.pk})),))

    with pytest.raises(DeviceTaken):
        bench.register(
            actor=ACTOR, viewer=limited, profile=profile, box=Box(MacAddress.parse(MAC)), model=None, label="",
            own=OWN, at=AT,
        )  # fmt: skip

    assert Device.objects.get().profile == hers


def test_without_a_model_the_phone_is_refused_unless_it_is_known(scan: Scanner, provider: Organization) -> None:
    assert scan(MAC, model="")["code"] == "model_missing"
    assert scan(MAC, model="?")["code"] == "invalid_model"

    make_device(organization=provider, mac=MAC, model="CP-6841-3PCC")
    assert scan(MAC, model="")["row"]["model"] == "CP-6841-3PCC"


def test_a_wrong_label_is_refused(scan: Scanner) -> None:
    said = scan(MAC, label="x" * 121)

    assert (said["code"], Device.objects.count()) == ("invalid_device", 0)
    assert "Correct the label" in said["remedy"]


# Taking back


def test_taking_back_releases_what_the_scan_claimed(scan: Scanner, staff: Client) -> None:
    row = scan(MAC)["row"]

    assert send(staff, "bench_undo", {"undo": row["undo"]}).json() == {"outcome": "undone"}

    assert not Device.objects.exists()
    again = send(staff, "bench_undo", {"undo": row["undo"]}).json()
    assert (again["outcome"], again["code"]) == ("refused", "not_as_it_was")


def test_taking_back_gives_a_phone_of_ones_own_what_it_had(
    scan: Scanner, staff: Client, provider: Organization
) -> None:
    former = make_profile(organization=provider)
    make_device(profile=former, mac=MAC, model="CP-6841-3PCC")
    row = scan(f"MAC:{MAC};SN:{SERIAL}", label="Desk 7")["row"]
    assert Device.objects.get().serial == SERIAL

    send(staff, "bench_undo", {"undo": row["undo"]})

    device = Device.objects.get()
    assert (device.profile, device.model, device.serial, device.label) == (former, "CP-6841-3PCC", "", "")


def test_what_changed_since_is_not_taken_back(scan: Scanner, staff: Client) -> None:
    row = scan(MAC)["row"]
    Device.objects.update(changed_at=timezone.now(), state="pending")

    said = send(staff, "bench_undo", {"undo": row["undo"]}).json()

    assert (said["outcome"], said["code"]) == ("refused", "not_as_it_was")
    assert Device.objects.exists()


def test_only_a_token_of_ones_own_organization_takes_back(scan: Scanner, staff: Client, other: Organization) -> None:
    row = scan(MAC)["row"]
    foreign = browser(make_user(organization=other, role="staff"))

    assert send(foreign, "bench_undo", {"undo": row["undo"]}).json()["code"] == "not_as_it_was"
    assert send(staff, "bench_undo", {"undo": row["undo"] + "x"}).status_code == 400
    assert Device.objects.exists()


# Who may


def test_readers_have_no_bench(reader: Client, profile: RedirectProfile) -> None:
    assert reader.get(reverse("bench")).status_code == 403
    body = {"scan": MAC, "profile": profile.pk, "model": MODEL}
    assert send(reader, "bench_scan", body).status_code == 403
    assert send(reader, "bench_undo", {"undo": ""}).status_code == 403
    assert reader.post(reverse("bench_labels"), {"macs": MAC}).status_code == 403
    assert "Bench" not in reader.get(reverse("admin:index")).content.decode()
    assert not Device.objects.exists()


def test_nobody_who_is_not_signed_in_gets_in(client: Client, profile: RedirectProfile) -> None:
    assert client.get(reverse("bench")).status_code == 302
    assert send(client, "bench_scan", {"scan": MAC, "profile": profile.pk}).status_code == 302


def test_a_profile_of_somebody_else_cannot_be_used_and_is_not_offered(
    scan: Scanner, staff: Client, other: Organization
) -> None:
    theirs = make_profile(organization=other, name="Riga")

    assert scan(MAC, profile=theirs.pk)["code"] == "unknown_profile"
    page = staff.get(reverse("bench"), {"profile": theirs.pk}).content.decode()
    assert "Vienna" in page
    assert "Riga" not in page


def test_the_operator_scans_for_anybody(scan: Scanner, operator: Client, profile: RedirectProfile) -> None:
    assert scan(MAC, client=operator)["outcome"] == "registered"
    assert Device.objects.get().organization == profile.organization


@pytest.mark.parametrize(
    "body",
    [
        [], "x", None, {}, {"profile": "1"}, {"profile": True}, {"profile": 0}, {"profile": 10**30}, {"scan": MAC},
        {"profile": 1, "scan": 7}, {"profile": 1, "scan": MAC, "box": []}, {"profile": 1, "scan": "x" * 5000},
        {"profile": 1, "scan": MAC, "box": {"mac": 5}}, {"profile": 1, "scan": MAC, "label": ["x"]},
    ],
)  # fmt: skip
def test_what_the_script_never_sends_is_refused(staff: Client, profile: RedirectProfile, body: Any) -> None:
    if isinstance(body, dict) and body.get("profile") == 1 and body["profile"] is not True:
        body = body | {"profile": profile.pk}

    answer = send(staff, "bench_scan", body)

    assert (answer.status_code, answer.json()) == (400, {"outcome": "malformed"})
    assert not Device.objects.exists()


def test_a_page_of_another_site_cannot_scan(provider: Organization, profile: RedirectProfile) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user(organization=provider))

    assert send(strict, "bench_scan", {"scan": MAC, "profile": profile.pk, "model": MODEL}).status_code == 403
    assert not Device.objects.exists()


# The page and the labels


def test_without_a_profile_the_page_says_what_to_do_first(staff: Client) -> None:
    page = staff.get(reverse("bench")).content.decode()

    assert "A profile is needed first" in page
    assert reverse("admin:onboarding_redirectprofile_add") in page


def test_the_page_begins_with_the_profile_that_was_asked_for(
    staff: Client, profile: RedirectProfile, provider: Organization
) -> None:
    second = make_profile(organization=provider, name="Zagreb")

    page = staff.get(reverse("bench"), {"profile": second.pk}).content.decode()

    assert f'<option value="{second.pk}" selected data-asked>' in page


def test_labels_show_what_was_scanned_in_the_order_of_the_boxes(staff: Client, provider: Organization) -> None:
    first = make_device(organization=provider, mac="00562B000002", serial=SERIAL, label="<Desk 1>")
    second = make_device(organization=provider, mac="00562B000001")
    foreign = make_device(mac="00562B000003")

    page = staff.post(
        reverse("bench_labels"), {"macs": f"{first.mac} {second.mac} {foreign.mac} {first.mac} nonsense"}
    ).content.decode()

    assert page.count("<article>") == 2
    assert page.index("00:56:2B:00:00:02") < page.index("00:56:2B:00:00:01")
    assert page.count('<svg class="bars"') == 3
    assert "&lt;Desk 1&gt;" in page
    assert "00:56:2B:00:00:03" not in page


def test_labels_of_five_hundred_phones_are_one_query_for_the_phones(
    staff: Client, provider: Organization, django_assert_max_num_queries: Any
) -> None:
    profile = make_profile(organization=provider)
    now = timezone.now()
    Device.objects.bulk_create(
        Device(
            organization=provider, profile=profile, mac=f"00562C{n:06X}", model=MODEL, claimed_at=now, changed_at=now,
            state_since=now,
        )
        for n in range(500)
    )  # fmt: skip
    macs = " ".join(f"00562C{n:06X}" for n in range(500))

    with django_assert_max_num_queries(12):
        page = staff.post(reverse("bench_labels"), {"macs": macs, "paper": "roll"}).content.decode()

    assert page.count("<article>") == 500
    assert '<body class="roll">' in page
