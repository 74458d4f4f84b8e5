"""Signing in, in a real browser."""

from playwright.sync_api import Page

from tests.browser.conftest import sign_in
from tests.factories import make_organization, make_user


def test_a_person_signs_in_and_sees_whose_phones_these_are(browser_page: Page) -> None:
    make_user(organization=make_organization(name="Alpenphone"), username="ann")

    sign_in(browser_page, "ann")

    assert "Alpenphone" in browser_page.content()
