"""Fixtures for flows: the real processes on the test database."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from onboarding.models import RedirectProfile
from redirect import changefeed
from tests.flows import parties
from tests.service import Service
from virtualphone.phone import VirtualPhone
from virtualphone.provider import SampleProvider


@pytest.fixture(autouse=True)
def registry(transactional_db: None) -> None:
    """The test database with a whole change feed. (Emptying the tables after a test took the epoch away.)"""
    changefeed.install()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A machine's data directory, in memory where the machine offers it."""
    base = Path(os.environ["DATA_DIR"]) / tmp_path.name
    base.mkdir()
    return base


@pytest.fixture
def server() -> Iterator[SampleProvider]:
    """The provider's provisioning server."""
    with SampleProvider() as running:
        yield running


@pytest.fixture
def profile(server: SampleProvider) -> RedirectProfile:
    return parties.make_profile(server)


@pytest.fixture
def make_phone() -> Iterator[Callable[..., VirtualPhone]]:
    """`parties.phone`, unplugged at the end."""
    with ExitStack() as stack:

        def make(service: Service, *names: Any, **around: Any) -> VirtualPhone:
            phone = parties.phone(service, *names, **around)
            stack.callback(phone.close)
            return phone

        yield make
