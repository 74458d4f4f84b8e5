"""The page of a profile follows the tests of its targets by itself, from the moment that it is saved."""

import pytest
from playwright.sync_api import Page, expect

from accounts.models import Organization
from onboarding.models import TargetCheck
from tests.browser.conftest import sign_in
from tests.factories import make_organization, make_user
from tests.service import Service


@pytest.fixture
def provider(transactional_db: None) -> Organization:
    return make_organization(name="Alpenphone")


def test_a_new_profiles_targets_are_tested_while_one_looks(
    provider: Organization, browser_page: Page, site: Service
) -> None:
    make_user(organization=provider, role="staff", username="stan")
    page = browser_page
    sign_in(page, "stan")
    page.goto("/admin/onboarding/redirectprofile/add/")
    page.fill("input[name=name]", "Vienna")
    page.fill("textarea[name=targets]", "http://127.0.0.9:9/$MA.xml")
    page.get_by_role("button", name="Save and stay").click()

    health = page.locator("#target-health")
    expect(health).to_contain_text("Being tested now.")
    site.start("worker")

    # Nobody reloads: the page learns it by itself. Without leave of the operator no private network is looked into.
    expect(health).to_contain_text("Lies in a private network", timeout=30_000)
    expect(health.get_by_role("status")).to_have_text("Target 1: unknown.")
    TargetCheck.objects.update(checked_at=None)
    health.get_by_role("button", name="Test now").focus()
    page.keyboard.press("Enter")
    expect(health.get_by_role("button", name="Testing")).to_be_focused()
    expect(health.get_by_role("button", name="Test now")).to_be_focused(timeout=30_000)
