"""Addresses where nothing is, and page numbers that are none."""

import pytest
from django.test import Client


@pytest.mark.parametrize("path", ["/admin/nonsense/", "/admin/onboarding/nonsense/3/", "/nonsense/"])
def test_nothing_is_said_on_a_page_that_leads_back(path: str, staff: Client) -> None:
    response = staff.get(path)

    assert response.status_code == 404
    page = response.content.decode()
    assert "There is nothing at this address" in page
    assert "config/lost.css" in page
    assert 'href="/admin/"' in page
    assert "<script" not in page


@pytest.mark.parametrize("page", ["", "x", "-1", "0", "9" * 30, "²", "1.5", "99", "\x00"])
def test_any_page_of_the_sites_search_is_answered(page: str, staff: Client) -> None:
    assert staff.get("/admin/search/", {"s": "dev", "page": page}).status_code in (200, 404)
