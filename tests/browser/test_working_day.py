"""A provider's working day in a real browser: find a phone, understand it, import, watch a boot, print a code."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from accounts.models import Organization
from onboarding.models import Device
from redirect import changefeed
from tests.browser.conftest import sign_in
from tests.factories import make_device, make_organization, make_profile, make_user
from tests.flows.parties import MAC, MODEL, phone
from tests.service import Service, wait_until
from virtualphone.provider import SampleProvider
from virtualphone.states import State

_DEVICES = "/admin/onboarding/device/"


@pytest.fixture
def provider(transactional_db: None) -> Organization:
    # Emptying the tables after a test took the feed's epoch away.
    changefeed.install()
    organization = make_organization(name="Alpenphone")
    make_user(organization=organization, role="admin", username="ann")
    return organization


@pytest.fixture
def server() -> Iterator[SampleProvider]:
    with SampleProvider() as running:
        yield running


def test_a_phone_is_found_by_the_end_of_its_mac_without_the_mouse(provider: Organization, browser_page: Page) -> None:
    make_device(organization=provider, mac="00562B043615", label="Reception Zürich")
    make_device(organization=provider, mac="00562B04FF15", label="Cellar")
    page = browser_page
    sign_in(page, "ann")

    page.keyboard.press("/")
    page.keyboard.type("36:15")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")

    page.wait_for_url(re.compile(r"/device/\d+/change/"))
    expect(page.locator(".who")).to_contain_text("00:56:2B:04:36:15")


def test_words_find_too_and_a_list_is_kept_under_a_name(provider: Organization, browser_page: Page) -> None:
    make_device(organization=provider, label="Reception Zürich")
    make_device(organization=provider, label="Cellar")
    page = browser_page
    sign_in(page, "ann")
    page.goto(_DEVICES)

    page.get_by_role("combobox", name="Find a device").fill("zuri")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    page.wait_for_url("**/device/?q=zuri")
    page.get_by_label("Name under which this list is saved").fill("Swiss")
    page.get_by_role("button", name="Save list").click()
    page.goto(_DEVICES)
    page.get_by_role("link", name="Swiss").click()

    expect(page.get_by_role("combobox", name="Find a device")).to_have_value("zuri")
    expect(page.locator(".field-label")).to_have_text(["Reception Zürich"])


def test_a_refused_phone_explains_itself(provider: Organization, browser_page: Page) -> None:
    profile = make_profile(organization=provider, enabled=False)
    device = make_device(profile=profile)
    page = browser_page
    sign_in(page, "ann")

    page.goto(f"{_DEVICES}{device.pk}/change/")
    expect(page.locator(".next")).to_contain_text("Enable the device's redirect profile")
    expect(page.locator(".rule-refused")).to_contain_text("Its profile is disabled")
    page.get_by_role("link", name="Explain").click()

    expect(page.locator(".outcome")).to_contain_text("It gets nothing")
    page.get_by_label("Model").fill("CP-6841-3PCC")
    page.get_by_role("button", name="Explain again").click()
    expect(page.locator(".outcome")).to_contain_text("profile_disabled")


def test_a_list_is_imported_and_taken_back(
    provider: Organization, browser_page: Page, site: Service, tmp_path: Path
) -> None:
    make_profile(organization=provider, name="Offices")
    rows = "\n".join(f"00562B0700{number:02X};CP-8841-3PCC;Room {number}" for number in range(120))
    file = tmp_path / "shipment.csv"
    file.write_text(f"MAC Address;PID;Location\n{rows}\nnonsense;CP-8841-3PCC;\n")
    site.start("worker")
    page = browser_page
    sign_in(page, "ann")

    page.goto("/admin/import/")
    page.set_input_files("#file", file)
    page.wait_for_url("**/sheet/*/")
    expect(page.locator("table.rows")).to_contain_text("Room 3")
    page.get_by_label("Profile for rows that name none").select_option(label="Offices")
    page.get_by_role("button", name="Try it out").click()

    counts = page.get_by_role("list", name="What became of the rows")
    expect(page.locator("[data-over=yes]")).to_be_visible(timeout=30_000)
    expect(counts).to_contain_text("120would be registered")
    expect(counts).to_contain_text("1would fail")
    assert not Device.objects.exists()

    page.get_by_role("button", name="Do it for real").click()
    expect(page.locator("[data-over=yes]")).to_be_visible(timeout=30_000)
    expect(counts).to_contain_text("120registered")
    assert Device.objects.count() == 120
    counts.get_by_role("link", name="failed").click()
    expect(page.locator("table.rows tbody tr")).to_have_count(1)
    expect(page.locator("table.rows")).to_contain_text("is not a MAC address")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the results").click()
    assert b"invalid_mac" in Path(download.value.path()).read_bytes()

    page.get_by_role("button", name="Revert").click()
    wait_until(lambda: not Device.objects.exists(), what="the revert")


def test_a_boot_is_watched_without_touching_the_page(
    provider: Organization, browser_page: Page, site: Service, server: SampleProvider
) -> None:
    profile = make_profile(organization=provider, targets=[f"{server.url}/$MA.xml"], confirm="beacon")
    device = make_device(profile=profile, mac=MAC, model=MODEL)
    site.start("relay")
    site.start("worker")
    site.await_door()
    wait_until(lambda: site.ask("00562B5A0001", model=MODEL)[0] == 200, what="the door")
    Device.objects.filter(pk=device.pk).update(state="open")
    page = browser_page
    sign_in(page, "ann")
    page.goto(f"{_DEVICES}{device.pk}/change/")
    page.evaluate("window.sameDocument = true")
    label = page.get_by_label("Label")
    label.fill("half a word")
    booted = phone(site, MAC)

    try:
        outcome = booted.power_on()
    finally:
        booted.close()

    assert outcome.state is State.ACQUIRED
    expect(page.locator("[data-part=head]")).to_contain_text("Acquired", timeout=30_000)
    expect(page.locator("#live-says")).to_have_text("Now Acquired")
    expect(page.locator("[data-part=timeline]")).to_contain_text("Fetched its provider's profile")
    expect(page.locator(".next")).to_contain_text("Nothing to do")
    # What the person was doing meanwhile is as it was.
    assert page.evaluate("window.sameDocument") is True
    expect(label).to_be_focused()
    expect(label).to_have_value("half a word")


def test_following_can_be_stopped(provider: Organization, browser_page: Page) -> None:
    device = make_device(organization=provider)
    page = browser_page
    sign_in(page, "ann")
    page.goto(f"{_DEVICES}{device.pk}/change/")
    live = page.get_by_role("button", name="Live")
    expect(live).to_have_attribute("aria-pressed", "true")

    live.press("Space")
    expect(live).to_have_attribute("aria-pressed", "false")
    Device.objects.filter(pk=device.pk).update(state="aborted", revision=5)
    page.wait_for_timeout(2500)
    expect(page.locator("[data-part=head]")).to_contain_text("Open")
    live.press("Space")

    expect(page.locator("[data-part=head]")).to_contain_text("Aborted")


def test_a_code_is_issued_and_printed(provider: Organization, browser_page: Page) -> None:
    make_profile(organization=provider, name="Offices")
    page = browser_page
    page.context.add_init_script("window.print = () => { window.printed = true }")
    sign_in(page, "ann")

    page.goto("/admin/activation/issuedcode/")
    page.get_by_role("link", name="Issue codes").click()
    page.locator(".select2-selection").first.click()
    page.locator(".select2-search__field").fill("Off")
    page.locator(".select2-results__option", has_text="Offices").click()
    page.locator("input[name=label]").fill("Reception")
    page.get_by_role("button", name=re.compile("Issue|Save")).first.click()
    digits = page.locator(".code-digits").inner_text()
    assert re.fullmatch(r"\d{4}(\D\d{4}){3}", digits.strip())
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Print label").click()
    labels = opened.value

    expect(labels.locator(".digits")).to_have_text(digits.strip())
    expect(labels.locator(".qr svg")).to_be_visible()
    labels.get_by_role("button", name="Print").click()
    assert labels.evaluate("window.printed") is True
