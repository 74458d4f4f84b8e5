"""People of the admin site, each with a browser that is signed in."""

from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import Organization, User
from tests.factories import make_organization, make_user


@pytest.fixture(scope="session", autouse=True)
def _static_files() -> None:
    """WhiteNoise warns where `make run` has not yet collected the static files."""
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


@pytest.fixture(autouse=True)
def _cheap_passwords(settings: Settings) -> None:
    """The service's own hashing takes half a second a person, by intention."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def provider(db: None) -> Organization:
    return make_organization(name="Alpenphone")


@pytest.fixture
def other(db: None) -> Organization:
    return make_organization(name="Baltic Voice")


@pytest.fixture
def reader(provider: Organization) -> Client:
    return browser(make_user(organization=provider, role="reader", username="rita"))


@pytest.fixture
def staff(provider: Organization) -> Client:
    return browser(make_user(organization=provider, role="staff", username="stan"))


@pytest.fixture
def administrator(provider: Organization) -> Client:
    return browser(make_user(organization=provider, role="admin", username="ann"))


@pytest.fixture
def operator(db: None) -> Client:
    return browser(make_user(username="root", is_superuser=True))
