"""A receiver of webhooks on loopback that does what a test wants, and the verbs around it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from accounts.actors import Actor
from accounts.models import Organization
from accounts.seals import Seal
from events import delivering, sequencing, webhooks
from events.models import WebhookEndpoint
from events.webhooks import Wishes
from onboarding.outbound import Client, Rules
from tests.events.receivers import Receiver
from tests.factories import ACTOR, make_device, make_organization

LOOPBACK = Rules([ip_network("127.0.0.0/8")])
SEAL = Seal(["a key for tests, long enough for anything"], purpose=webhooks.SEALED)


class Clock:
    """The time of a test; signatures are checked against the true time, so it begins there."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.at

    def on(self, **span: float) -> datetime:
        self.at += timedelta(**span)
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def receivers() -> Iterator[Callable[[], Receiver]]:
    made: list[Receiver] = []

    def make() -> Receiver:
        made.append(Receiver().__enter__())
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client(LOOPBACK, connect_seconds=0.5, total_seconds=1.0)
    yield made
    made.close()


@pytest.fixture
def make_webhook(db: None, clock: Clock) -> Callable[..., Any]:
    """Makes a webhook by the verb; gives it and its secret."""

    def make(
        url: str,
        *,
        organization: Organization | None = None,
        types: tuple[str, ...] = (),
        rules: Rules = LOOPBACK,
        actor: Actor = ACTOR,
    ) -> tuple[WebhookEndpoint, str]:
        return webhooks.create(
            actor=actor, organization=organization or make_organization(), wishes=Wishes(url=url, types=types),
            rules=rules, seal=SEAL, at=clock(),
        )  # fmt: skip

    return make


@pytest.fixture
def happen(clock: Clock) -> Callable[..., list[str]]:
    """Claims so many devices of an organization and makes events of it; gives their MACs."""

    def claim(organization: Organization, count: int = 1) -> list[str]:
        macs = [make_device(organization=organization, at=clock()).mac for _ in range(count)]
        sequencing.run(at=clock())
        return macs

    return claim


@pytest.fixture
def deliver(client: Client, clock: Clock) -> Callable[..., int]:
    """One run of the job that sends."""

    def run(**options: Any) -> int:
        return delivering.deliver_due(now=clock, seal=SEAL, client=client, **{"seconds": 2.0} | options)

    return run
