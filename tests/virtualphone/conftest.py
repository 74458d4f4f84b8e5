"""Fixtures of the phone in software. Its servers are on this host, on ports that were free."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.virtualphone.loopback import Loopback
from virtualphone import edos, flash, identity, wire
from virtualphone.outcomes import Step
from virtualphone.phone import Circumstances, VirtualPhone

MAC = "00562B043615"
MODEL = "CP-8841-3PCC"


@pytest.fixture
def me() -> identity.Identity:
    return identity.Identity.parse(MAC, MODEL, "88012BA01234")


@pytest.fixture
def service() -> Iterator[Loopback]:
    server = Loopback()
    yield server
    server.close()


@pytest.fixture
def provider() -> Iterator[Loopback]:
    server = Loopback()
    yield server
    server.close()


@pytest.fixture
def steps() -> list[Step]:
    return []


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def make_phone(
    me: identity.Identity, service: Loopback, steps: list[Step], slept: list[float]
) -> Iterator[Callable[..., VirtualPhone]]:
    """A phone before the service; keywords are its circumstances. It does not really sleep."""
    with ExitStack() as stack:

        def make(memory: flash.Flash | None = None, **circumstances) -> VirtualPhone:
            transport = stack.enter_context(wire.Wire(timeout_seconds=0.3))
            return VirtualPhone(
                me,
                edos.Service(service.url),
                memory=memory,
                transport=transport,
                circumstances=Circumstances(**circumstances),
                on_step=steps.append,
                sleep=slept.append,
            )

        yield make
