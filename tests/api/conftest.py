"""The partner as a client: HTTP with a key, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from accounts import views
from accounts.models import Organization
from tests.factories import make_key, make_organization


class PartnerClient:
    """Sends JSON with one key. Errors come back as answers, as they do over a real connection."""

    def __init__(self, organization: Organization, scopes: list[str] | None = None) -> None:
        self.organization = organization
        self.row, self.key = make_key(organization=organization, scopes=scopes)
        self._client = Client(raise_request_exception=False)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        options: dict[str, Any] = {} if body is None else {"data": body, "content_type": "application/json"}
        given = {"Authorization": f"Bearer {self.key}"} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        return getattr(self._client, method.lower())(f"/api/v1/{path}", headers=given, **options)


@pytest.fixture(scope="session", autouse=True)
def _static_files() -> None:
    """WhiteNoise warns where `make run` has not yet collected the static files."""
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


@pytest.fixture(autouse=True)
def _whole_quotas() -> None:
    """The counts of requests without a key outlive a test, as they are not in the database."""
    views.counts().forget()


@pytest.fixture
def partner(db: None) -> PartnerClient:
    """A partner with every scope."""
    return PartnerClient(make_organization())


@pytest.fixture
def stranger(db: None) -> PartnerClient:
    """A partner of another organization, with every scope."""
    return PartnerClient(make_organization())


@pytest.fixture
def keyed(db: None) -> Callable[..., PartnerClient]:
    """Makes partners with fewer scopes."""
    return PartnerClient
