"""Signing in, in a real browser: by password, with an authenticator app, a passkey, a recovery code; forced set-up."""

import re
from pathlib import Path

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.utils import timezone
from playwright.sync_api import Page, expect

from accounts.models import Organization, User
from signin import factors
from tests.browser.conftest import HOME, sign_in
from tests.factories import make_organization, make_user


def code_of(secret: str, *, later: int = 0) -> str:
    """What an authenticator app shows, so many periods later."""
    return format_hotp_value(hotp_value(secret, int(timezone.now().timestamp()) // 30 + later))


@pytest.fixture
def provider(transactional_db: None) -> Organization:
    return make_organization(name="Alpenphone")


@pytest.fixture
def ann(provider: Organization) -> User:
    return make_user(organization=provider, role="admin", username="ann")


@pytest.fixture
def authenticator(browser_page: Page) -> None:
    """A device with a fingerprint reader, as Chromium plays it."""
    session = browser_page.context.new_cdp_session(browser_page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def sign_out(page: Page) -> None:
    page.context.clear_cookies()


def test_an_app_is_set_up_and_then_asked_for(ann: User, browser_page: Page) -> None:
    page = browser_page
    sign_in(page, "ann")

    page.goto("/admin/account/")
    page.get_by_role("link", name="Set up").click()
    secret = page.locator("#secret").inner_text().replace(" ", "")
    expect(page.locator(".qr svg")).to_be_visible()
    page.fill("input[name=code]", code_of(secret))
    page.get_by_role("button", name="Set it up").click()
    codes = page.locator(".recovery-codes li").all_inner_texts()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert all(code in Path(download.value.path()).read_text() for code in codes)
    assert len(codes) == 10

    sign_out(page)
    page.goto("/admin/")
    page.fill("input[name=username]", "ann")
    page.fill("input[name=password]", "test-password")
    page.get_by_role("button", name="Log in").click()
    page.fill("input[name=code]", code_of(secret, later=1))
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(HOME)

    sign_out(page)
    page.goto("/admin/")
    page.fill("input[name=username]", "ann")
    page.fill("input[name=password]", "test-password")
    page.get_by_role("button", name="Log in").click()
    page.fill("input[name=code]", codes[0])
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(HOME)
    expect(page.get_by_text("9 are left")).to_be_visible()


@pytest.mark.usefixtures("authenticator")
def test_a_passkey_is_added_and_lets_in_as_second_factor_and_alone(ann: User, browser_page: Page) -> None:
    page = browser_page
    sign_in(page, "ann")

    page.goto("/admin/account/passkeys/add/")
    page.fill("input[name=name]", "Laptop")
    page.get_by_role("button", name="Add the passkey").click()
    expect(page.locator(".recovery-codes li")).to_have_count(10)

    sign_out(page)
    page.goto("/admin/")
    page.fill("input[name=username]", "ann")
    page.fill("input[name=password]", "test-password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(HOME)

    sign_out(page)
    page.goto("/admin/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(HOME)

    page.goto("/admin/account/")
    page.get_by_label("Name of the passkey Laptop").fill("Old laptop")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Remove the passkey Old laptop").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Removed: Old laptop")).to_be_visible()
    assert not factors.of(ann).any


@pytest.mark.usefixtures("ann")
def test_where_one_is_required_it_is_set_up_before_any_other_page(provider: Organization, browser_page: Page) -> None:
    Organization.objects.filter(pk=provider.pk).update(requires_second_factor=True)
    page = browser_page
    page.goto("/admin/onboarding/device/")
    page.fill("input[name=username]", "ann")
    page.fill("input[name=password]", "test-password")
    page.get_by_role("button", name="Log in").click()

    page.goto("/admin/")
    expect(page.get_by_role("heading", name=re.compile("Set up a second factor"))).to_be_visible()
    page.get_by_role("link", name="Authenticator app").click()
    page.fill("input[name=code]", code_of(page.locator("#secret").inner_text().replace(" ", "")))
    page.get_by_role("button", name="Set it up").click()
    page.goto("/admin/onboarding/device/")

    expect(page).to_have_url(re.compile("/admin/onboarding/device/"))
