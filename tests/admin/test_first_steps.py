"""What a page begins with, and where it leads to: nobody who is new looks for the next step."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Organization
from tests.factories import make_profile

ADD_ORGANIZATION = reverse("admin:accounts_organization_add")
# Pages that make something which is sent somewhere by a profile.
_WITH_PROFILE = ("onboarding_device", "onboarding_shortcode", "activation_issuedcode")


@pytest.mark.django_db
def test_a_new_organization_leads_to_its_first_administrator(operator: Client) -> None:
    answer = operator.post(ADD_ORGANIZATION, {"name": "Alpenphone", "kind": "provider"}, follow=True)

    page = answer.content.decode()
    added = Organization.objects.get(name="Alpenphone")
    assert answer.redirect_chain[-1][0].startswith(reverse("admin:accounts_membership_add"))
    assert "Add its first administrator" in page
    assert f'<option value="{added.pk}" selected' in page
    assert '<option value="admin" selected' in page


@pytest.mark.django_db
def test_who_adds_several_organizations_stays_there(operator: Client) -> None:
    answer = operator.post(ADD_ORGANIZATION, {"name": "Alpenphone", "kind": "provider", "_addanother": "1"})

    assert answer["Location"] == ADD_ORGANIZATION
    assert not Membership.objects.filter(organization__name="Alpenphone").exists()


@pytest.mark.parametrize("page", _WITH_PROFILE)
def test_the_only_profile_is_chosen_already(page: str, provider: Organization, staff: Client) -> None:
    only = make_profile(organization=provider)

    shown = staff.get(reverse(f"admin:{page}_add")).content.decode()

    assert f'<option value="{only.pk}" selected' in shown


@pytest.mark.parametrize("page", _WITH_PROFILE)
def test_one_of_several_profiles_is_not_chosen_for_anybody(page: str, provider: Organization, staff: Client) -> None:
    for name in ("Head office", "Branches"):
        make_profile(organization=provider, name=name)

    shown = staff.get(reverse(f"admin:{page}_add")).content.decode()

    assert "Head office" not in shown


@pytest.mark.parametrize("page", _WITH_PROFILE)
def test_another_organizations_profile_is_not_the_only_one(
    page: str, provider: Organization, other: Organization, staff: Client
) -> None:
    make_profile(organization=other, name="Foreign")

    shown = staff.get(reverse(f"admin:{page}_add")).content.decode()

    assert "Foreign" not in shown


def test_scopes_say_what_they_let_somebody_do(administrator: Client) -> None:
    for page in ("accounts_apikey", "accounts_mandate"):
        shown = administrator.get(reverse(f"admin:{page}_add")).content.decode()

        assert "codes:reveal: read the digits of issued codes again" in shown


def test_times_are_written_as_in_the_audit(operator: Client, provider: Organization) -> None:
    shown = operator.get(reverse("admin:accounts_organization_changelist")).content.decode()

    assert f"{provider.created_at:%Y-%m-%d %H:%M}" in shown
