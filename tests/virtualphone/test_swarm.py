"""Many phones at once."""

import io

import pytest

from tests.virtualphone.loopback import EDOS, Answer
from virtualphone import charts, swarm, wire
from virtualphone.edos import Service
from virtualphone.identity import InvalidIdentity
from virtualphone.phone import Circumstances
from virtualphone.states import State
from virtualphone.terminal import Terminal


def plan(server, phones=40, **more):
    return swarm.Plan(
        swarm.identities("005600000000", phones, "CP-8841-3PCC"),
        Service(server.url),
        concurrency=8,
        circumstances=Circumstances(retry_scale=1e-6, max_retries=2),
        **more,
    )


def test_every_phone_boots_once(service):
    service.give(EDOS, Answer(200))

    result = swarm.Swarm(plan(service)).run()

    asked = {request.query["id"].partition(":")[0] for request in service.asked(EDOS)}
    assert asked == {f"{0x005600000000 + index:012X}" for index in range(40)}
    assert result.states == {State.UNAVAILABLE: 40}
    assert (result.phones, result.unanswered, len(result.answer_seconds)) == (40, 0, 40)


def test_errors_are_counted_by_kind_and_the_unanswered_as_such(service):
    service.give(EDOS, *[Answer(503)] * 5, Answer(404))

    result = swarm.Swarm(plan(service, phones=10)).run()

    assert result.errors == {("EDOS", "HTTP 503"): 5, ("EDOS", "HTTP 404"): 25}
    assert result.unanswered == 10
    assert result.states == {State.PENDING: 10}


def test_a_rate_spreads_the_starts(service):
    service.give(EDOS, Answer(200))

    result = swarm.Swarm(plan(service, phones=10, phones_per_second=100)).run()

    assert result.seconds >= 0.09


def test_it_can_be_stopped(service):
    service.give(EDOS, Answer(200))
    run = swarm.Swarm(plan(service, phones=1000, phones_per_second=20))

    result = run.run(lambda so_far: run.stop())

    assert result.phones < 1000


def test_macs_do_not_run_over():
    with pytest.raises(InvalidIdentity):
        swarm.identities("FFFFFFFFFFFE", 3, "CP-8841-3PCC")


def test_percentiles_are_times_that_were_measured():
    result = swarm.Result(answer_seconds=[index / 1000 for index in range(1, 101)])

    assert [result.percentile(at) for at in (50, 95, 99, 100)] == [0.05, 0.095, 0.099, 0.1]
    assert swarm.Result().percentile(99) == 0.0
    assert result.histogram() == [
        (0.002, 1), (0.005, 3), (0.01, 5), (0.02, 10), (0.05, 30), (0.1, 50), (0.2, 1),
    ]  # fmt: skip


def test_the_result_is_drawn(service):
    service.give(EDOS, Answer(200))
    page = io.StringIO()

    Terminal(page, {}).swarm(swarm.Swarm(plan(service), wires=lambda: wire.Wire()).run())

    assert "Unavailable" in page.getvalue()
    assert "p99" in page.getvalue()
    assert "\x1b" not in page.getvalue()


@pytest.mark.parametrize(
    ("value", "most", "drawn"),
    [(0, 10, ""), (10, 10, "████"), (5, 10, "██"), (1, 1000, "▏"), (0, 0, ""), (9, 10, "███▋")],
)
def test_bars(value, most, drawn):
    assert charts.bar(value, most, 4) == drawn
