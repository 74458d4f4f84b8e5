"""The page of a profile follows the tests of its targets by itself, from the moment that it is saved."""

import ssl

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from accounts.models import Organization
from onboarding import targethealth
from onboarding.models import TargetCheck
from onboarding.targethealth import Ways
from tests.browser.conftest import sign_in
from tests.factories import make_organization, make_user
from tests.onboarding.targetservers import RULES, ProvisioningServer


@pytest.fixture
def provider(transactional_db: None) -> Organization:
    return make_organization(name="Alpenphone")


def beat() -> None:
    """What the worker does every five seconds."""
    targethealth.check_due(at=timezone.now(), ways=Ways(RULES, ssl.create_default_context()))


def test_a_new_profiles_targets_are_tested_while_one_looks(provider: Organization, browser_page: Page) -> None:
    make_user(organization=provider, role="staff", username="stan")
    server = ProvisioningServer()
    page = browser_page
    sign_in(page, "stan")
    page.goto("/admin/onboarding/redirectprofile/add/")
    page.fill("input[name=name]", "Vienna")
    page.fill("textarea[name=targets]", server.target)
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("link", name="Vienna").first.click()
    health = page.locator("#target-health")
    expect(health).to_contain_text("Being tested now.")

    beat()

    # Nobody reloads: the page learns it by itself.
    expect(health).to_contain_text("Answers with a file for the example phone.")
    expect(health.get_by_role("status")).to_have_text("Target 1: healthy.")

    server.status = 404
    TargetCheck.objects.update(checked_at=None)
    health.get_by_role("button", name="Test now").focus()
    page.keyboard.press("Enter")
    expect(health.get_by_role("button", name="Testing")).to_be_focused()
    beat()
    expect(health).to_contain_text("has no file for the example phone")
    expect(health.get_by_role("button", name="Test now")).to_be_focused()
    server.close()
