"""Two organizations that have one of everything each, and counts of requests that begin anew with each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as configured
from pytest_django.fixtures import Settings

from accounts import authentication, views
from tests.factories import make_organization
from tests.walks.estate import Estate, build


@pytest.fixture(scope="session", autouse=True)
def _static_files() -> None:
    """WhiteNoise warns where `make run` has not yet collected the static files."""
    Path(configured.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


@pytest.fixture(autouse=True)
def _alone(settings: Settings) -> Iterator[None]:
    """What a process remembers from one request to the next is not in the database, and so outlives a test."""
    # The service's own hashing takes half a second a person, by intention.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    views.counts().forget()
    authentication.forget()
    yield
    views.counts().forget()


@pytest.fixture
def own(db: None) -> Estate:
    return build(make_organization(name="Alpenphone"), "Alpen")


@pytest.fixture
def foreign(db: None) -> Estate:
    return build(make_organization(name="Zanzibar Telecom"), "Zanzibar")
