"""Boxes scanned one after another in a real browser, by keyboard alone: sounds, colours, a lost connection, labels."""

import csv
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from accounts.models import Organization
from onboarding.models import Device
from tests.browser.conftest import sign_in
from tests.factories import make_device, make_organization, make_profile, make_user

MODEL = "CP-8841-3PCC"


@pytest.fixture
def provider(transactional_db: None) -> Organization:
    return make_organization(name="Alpenphone")


@pytest.fixture
def bench(provider: Organization, browser_page: Page) -> Page:
    """The bench, begun by keyboard: the profile, a model, labels that count up."""
    make_profile(organization=provider, name="Vienna")
    make_user(organization=provider, role="staff", username="stan")
    sign_in(browser_page, "stan")
    browser_page.goto("/admin/bench/")
    return browser_page


def start(page: Page, *, label: str = "", with_serial: bool = False) -> None:
    # The first field has the keyboard already.
    expect(page.locator("select[name=profile]")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type(MODEL)
    page.keyboard.press("Tab")
    page.keyboard.type(label)
    if with_serial:
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#scan")).to_be_focused()


def scan(page: Page, text: str, *, ends: str = "Enter") -> None:
    """What a scanner does: types without a pause, and ends with a key."""
    page.keyboard.type(text)
    page.keyboard.press(ends)


def mac(number: int) -> str:
    return f"00562B00{number:04X}"


def test_twenty_phones_in_a_row_and_their_labels_by_the_keyboard_alone(bench: Page, provider: Organization) -> None:
    start(bench, label="Desk 099")

    for number in range(20):
        # Faster than the service answers, lower case and separators, Enter or Tab.
        scan(
            bench,
            [mac(number), mac(number).lower(), f"MAC:{mac(number)}"][number % 3],
            ends="Enter" if number % 2 else "Tab",
        )

    expect(bench.locator("#count")).to_have_text("20")
    expect(bench.locator("#headline")).to_have_text("20: 00:56:2B:00:00:13")
    expect(bench.locator("#rows tr[data-tone=good]")).to_have_count(20)
    expect(bench.locator("#scan")).to_be_focused()
    assert bench.locator("#bench").get_attribute("data-beep") == "good 20"
    rows = Device.objects.filter(organization=provider).order_by("mac").values_list("mac", "label", "model")
    assert list(rows) == [(mac(n), f"Desk {99 + n:03}", MODEL) for n in range(20)]

    with bench.expect_popup() as popup:
        bench.keyboard.press("Control+p")
    sheet = popup.value

    expect(sheet.locator("article")).to_have_count(20)
    expect(sheet.locator("article").first).to_contain_text("Desk 099")
    expect(sheet.get_by_role("button", name="Print")).to_be_focused()
    box, bars = (sheet.locator(name).first.bounding_box() for name in ("article", "article svg"))
    assert box is not None
    assert bars is not None
    # 70 × 37 mm at 96 dots an inch, and bars of which a scanner can tell each apart (a quarter of a millimetre).
    assert abs(box["width"] - 264.6) < 2
    assert bars["width"] / (11 * 15 + 2 + 20) / 96 * 25.4 > 0.25
    sheet.emulate_media(media="print")
    expect(sheet.locator("header")).to_be_hidden()


def test_errors_are_red_loud_spoken_and_say_what_to_do(bench: Page, provider: Organization) -> None:
    make_device(mac=mac(1))
    start(bench)

    scan(bench, mac(0))
    for text, headline, remedy in (
        (mac(1), "is registered by another organization", "Put the box aside"),
        ("882658563331", "the product's code", "beside the word MAC"),
        ("hello", "neither a MAC nor a serial number", "beside the word MAC"),
        (mac(0), "Scanned twice", "number 1 of this session"),
    ):
        scan(bench, text)
        expect(bench.locator("#headline")).to_contain_text(headline)
        expect(bench.locator("#detail")).to_contain_text(remedy)
        expect(bench.locator("#now")).to_have_attribute("data-tone", "bad")
        expect(bench.get_by_role("alert")).to_contain_text(headline)
        assert (bench.locator("#bench").get_attribute("data-beep") or "").startswith("bad")

    expect(bench.locator("#count")).to_have_text("1")
    expect(bench.locator("#wrong-count")).to_have_text("4")
    expect(bench.locator("#scan")).to_be_focused()


def test_mac_and_serial_number_are_two_scans_of_one_box(bench: Page, provider: Organization) -> None:
    start(bench, with_serial=True)

    scan(bench, mac(1))
    expect(bench.locator("#headline")).to_have_text("Now its serial number")
    scan(bench, "SFCH2133E8B9")
    scan(bench, "FCH2133E8C0")
    scan(bench, mac(2))

    expect(bench.locator("#count")).to_have_text("2")
    assert list(Device.objects.order_by("mac").values_list("mac", "serial")) == [
        (mac(1), "FCH2133E8B9"),
        (mac(2), "FCH2133E8C0"),
    ]


def test_the_last_scan_is_taken_back_and_its_label_is_given_again(bench: Page, provider: Organization) -> None:
    # On the smallest of tablets too.
    bench.set_viewport_size({"width": 390, "height": 800})
    start(bench, label="Desk 1")
    scan(bench, mac(1))
    scan(bench, mac(2))
    expect(bench.locator("#count")).to_have_text("2")

    bench.keyboard.press("Control+z")

    assert bench.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    expect(bench.locator("#headline")).to_have_text("Taken back: 00:56:2B:00:00:02")
    expect(bench.locator("#count")).to_have_text("1")
    scan(bench, mac(3))
    expect(bench.locator("#headline")).to_have_text("2: 00:56:2B:00:00:03")
    assert list(Device.objects.order_by("mac").values_list("mac", "label")) == [(mac(1), "Desk 1"), (mac(3), "Desk 2")]


def test_a_lost_connection_loses_no_scan_and_a_lost_answer_repeats_none(bench: Page, provider: Organization) -> None:
    start(bench, label="Desk 1")
    lost = []

    def lose(route: Route) -> None:
        # The first request arrives and its answer is lost; the next two do not arrive.
        lost.append(route.request)
        if len(lost) == 1:
            route.fetch()
        route.abort()

    bench.route("**/bench/scan/", lose, times=3)
    for number in range(1, 4):
        scan(bench, mac(number))
    expect(bench.locator("#waiting")).to_be_visible()
    expect(bench.locator("#headline")).to_contain_text("waiting to be sent")

    # What waits survives a reload, as after an empty battery.
    bench.reload()

    expect(bench.locator("#count")).to_have_text("3")
    expect(bench.locator("#waiting")).to_be_hidden()
    expect(bench.locator("#rows tr[data-tone=bad]")).to_have_count(0)
    rows = Device.objects.filter(organization=provider).order_by("mac").values_list("mac", "label")
    assert list(rows) == [(mac(n), f"Desk {n}") for n in range(1, 4)]


def test_a_session_goes_on_after_a_reload_and_is_downloaded_as_a_table(
    bench: Page, provider: Organization, tmp_path: Path
) -> None:
    start(bench, label="=1+1")
    scan(bench, mac(1))
    scan(bench, "hello")
    expect(bench.locator("#wrong-count")).to_have_text("1")

    bench.reload()
    expect(bench.locator("#count")).to_have_text("1")
    with bench.expect_download() as download:
        bench.keyboard.press("Control+s")
    file = tmp_path / "session.csv"
    download.value.save_as(file)

    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert [row["result"] for row in rows] == ["claimed", "unreadable_scan"]
    assert (rows[0]["number"], rows[0]["mac"], rows[0]["label"]) == ("1", mac(1), "'=1+1")
