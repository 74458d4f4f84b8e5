"""Every page opens, costs a bounded number of queries, and loads nothing from elsewhere."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.admin import scope
from accounts.models import Organization, User
from onboarding.admin import dashboard
from onboarding.models import Sighting
from tests.factories import make_device, make_key, make_profile

Pinned = Callable[[int], AbstractContextManager[object]]
# Session, person and memberships come with every page.
PERSON = 3


@pytest.fixture
def registry(provider: Organization) -> None:
    profile = make_profile(organization=provider)
    for number in range(30):
        make_device(
            profile=profile, state="custom_pending" if number % 2 else None, columns={"stalled_at": timezone.now()}
        )
    make_key(organization=provider)
    Sighting.objects.create(mac="0056AABBCCDD", first_at=timezone.now(), last_at=timezone.now())


def _address(name: str, provider: Organization) -> str:
    rows = {
        "device": lambda: provider.devices.earliest("pk").pk,
        "redirectprofile": lambda: provider.profiles.get().pk,
        "statechange": lambda: provider.devices.earliest("pk").changes.get().pk,
        "organization": lambda: provider.pk,
        "membership": lambda: provider.memberships.get().pk,
        "apikey": lambda: provider.api_keys.get().pk,
        "user": lambda: User.objects.earliest("pk").pk,
        "sighting": lambda: Sighting.objects.get().pk,
    }
    model = name.split("_")[1] if "_" in name else ""
    single = model in rows and name.endswith(("_change", "_delete", "_explain"))
    return reverse(f"admin:{name}", args=(rows[model](),) if single else ())


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("name", "queries"),
    [
        # What was counted before, six counts to a limit, movements, waits, profiles, stalled phones; failing targets,
        # codes, webhooks, operations.
        ("index", PERSON + 15),
        # Saved lists, count, rows, choices of two filters.
        ("onboarding_device_changelist", PERSON + 5),
        # Device, history, names of keys.
        ("onboarding_device_change", PERSON + 4),
        ("onboarding_device_explain", PERSON + 2),
        ("onboarding_device_delete", PERSON + 1),
        ("onboarding_redirectprofile_changelist", PERSON + 3),
        ("onboarding_redirectprofile_change", PERSON + 3),
        ("onboarding_redirectprofile_delete", PERSON + 2),
        ("onboarding_statechange_changelist", PERSON + 3),
        ("onboarding_statechange_change", PERSON + 3),
        ("accounts_membership_changelist", PERSON + 2),
        ("accounts_apikey_changelist", PERSON + 2),
        ("accounts_organization_changelist", PERSON + 2),
        ("accounts_auditentry_changelist", PERSON + 2),
        ("accounts_mandate_changelist", PERSON + 2),
    ],
)
def test_a_page_costs_so_many_queries(
    name: str, queries: int, provider: Organization, administrator: Client, django_assert_num_queries: Pinned
) -> None:
    address = _address(name, provider)
    # Once beforehand: a process learns Django's content types only once.
    administrator.get(address)

    with django_assert_num_queries(queries):
        response = administrator.get(address)

    assert response.status_code == 200


def test_filters_are_not_counted_even_when_the_address_asks(
    provider: Organization, administrator: Client, django_assert_num_queries: Pinned
) -> None:
    make_device(organization=provider)
    address = reverse("admin:onboarding_device_changelist")

    with django_assert_num_queries(PERSON + 5):
        page = administrator.get(address, {"_facets": "1"})

    assert "Show counts" not in page.content.decode()


def test_no_list_is_counted_beyond_what_can_be_paged(
    provider: Organization, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope.CappedPaginator, "MOST", 60)
    for _ in range(61):
        make_device(organization=provider)

    page = staff.get(reverse("admin:onboarding_device_changelist"))

    assert page.context["cl"].result_count == 60
    assert "more than 60 devices" in page.content.decode()


def test_the_dashboard_counts_to_a_limit(
    provider: Organization, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "MOST_COUNTED", 2)
    for _ in range(4):
        make_device(organization=provider)

    assert staff.get(reverse("admin:index")).context["path_bars"][0].shown == "2+"


PAGES = [
    "index",
    "password_change",
    *(
        f"{model}_{page}"
        for model in (
            "onboarding_device", "onboarding_redirectprofile", "accounts_organization", "accounts_membership",
            "accounts_apikey", "accounts_user",
        )
        for page in ("changelist", "add", "change")
    ),
    "onboarding_device_explain",
    "onboarding_device_delete",
    "onboarding_redirectprofile_delete",
    "accounts_apikey_delete",
    "accounts_membership_delete",
    "onboarding_statechange_changelist",
    "onboarding_statechange_change",
    "onboarding_sighting_changelist",
    "onboarding_sighting_change",
]  # fmt: skip


@pytest.mark.usefixtures("registry", "administrator")
@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_nothing_from_elsewhere_and_runs_no_inline_script(
    name: str, provider: Organization, operator: Client
) -> None:
    response = operator.get(_address(name, provider))

    page = response.content.decode()
    assert response.status_code == 200
    for address in re.findall(r'<(?:script|link|img)[^>]*?(?:src|href)="([^"]*)"', page):
        assert address.startswith(("/static/", "/admin/jsi18n/")), address
        if address.startswith("/static/"):
            assert finders.find(address.removeprefix("/static/")), address
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|\son\w+=", re.sub(r"x-on:\S+", "", page))


def test_the_policy_allows_scripts_of_this_host_only(client: Client, db: None) -> None:
    policy = client.get(reverse("admin:login"))["Content-Security-Policy"]

    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self' 'unsafe-eval'"
    assert directives["frame-ancestors"] == "'none'"
    assert not [value for value in directives.values() if "http" in value or "*" in value]


def test_the_front_door_leads_to_the_admin_site(client: Client) -> None:
    assert client.get("/")["Location"] == reverse("admin:index")


def test_signing_in_leads_to_the_overview(provider: Organization, administrator: Client, client: Client) -> None:
    response = client.post(reverse("admin:login"), {"username": "ann", "password": "test-password"})

    assert response["Location"] == settings.LOGIN_REDIRECT_URL or response["Location"] == reverse("admin:index")


@pytest.mark.parametrize(
    ("name", "said", "link"),
    [
        ("index", "Say where phones are sent", "/admin/onboarding/redirectprofile/add/"),
        ("onboarding_device_changelist", "No devices yet", "add/"),
        ("onboarding_redirectprofile_changelist", "No redirect profiles yet", "add/"),
        ("onboarding_statechange_changelist", "Nothing has happened yet", "/admin/onboarding/device/"),
        ("accounts_apikey_changelist", "No API keys yet", "add/"),
    ],
)
def test_an_empty_page_says_what_to_do_next(name: str, said: str, link: str, administrator: Client) -> None:
    page = administrator.get(reverse(f"admin:{name}")).content.decode()

    assert said in page
    assert f'class="button-primary" href="{link}"' in page
