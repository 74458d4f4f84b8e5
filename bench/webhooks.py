"""Webhooks: deliveries a second from one worker, and what one dead receiver among ten costs the others.

Peer: the same HTTP library (urllib3) posting the same bodies in a bare loop, over one connection that is kept, to the
same receiver. Ours reads each event from PostgreSQL, signs it, sends it under the address rule, and writes the log.
"""

import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_network

import urllib3
from django.conf import settings
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import Organization
from accounts.seals import Seal
from bench.results import Row, progress
from bench.servers import HERE, free_port
from events import delivering, webhooks
from events.models import Event, Sequencer, WebhookDelivery, WebhookEndpoint
from events.webhooks import Wishes
from onboarding.outbound import Client, Rules

_RECEIVERS, _EACH, _TURNS = 10, 500, 3
_ACTOR = Actor("command", "bench")
_RULES = Rules([ip_network("127.0.0.0/8")])
_DATA = {
    "mac": "00562B043615", "model": "CP-8841-3PCC", "profile": 1, "event": "acquired", "before": "custom_pending",
    "after": "acquired", "inferred": False, "source": "report", "evidence": {"from": "192.0.2.7"},
}  # fmt: skip


def measure() -> list[Row]:
    """Two rows. Adds an organization of its own to the database."""
    organization = Organization.objects.create(name=f"Webhooks {secrets.token_hex(4)}")
    seal = Seal(settings.CODE_KEYS, purpose=webhooks.SEALED)
    ports = [free_port() for _ in range(_RECEIVERS)]
    silent = free_port()
    with _receivers(ports, silent):
        endpoints = [_endpoint(organization, port, seal) for port in ports]
        dead = _endpoint(organization, silent, seal)
        positions = _events(organization)
        return [_throughput(endpoints, positions, seal), _one_dead(endpoints, dead, positions, seal)]


def _throughput(endpoints: Sequence[WebhookEndpoint], positions: Sequence[int], seal: Seal) -> Row:
    count = len(endpoints) * len(positions)
    progress(f"webhooks: {count:,} deliveries to {len(endpoints)} receivers, and as many bare posts")
    body = delivering.body(Event.objects.get(pk=positions[0])).encode()
    ours, bare = [], []
    for _ in range(_TURNS):
        _queue(endpoints, positions)
        ours.append(count / _deliver(endpoints, seal))
        bare.append(count / _bare(endpoints[0].url, body, count))
    details = {"deliveries_per_second": ours, "bare_per_second": bare}
    return Row(
        "webhook deliveries ÷ urllib3 in a bare loop",
        statistics.median(ours) / statistics.median(bare), "×", 0.5, details=details,
    )  # fmt: skip


def _one_dead(endpoints: Sequence[WebhookEndpoint], dead: WebhookEndpoint, positions: Sequence[int], seal: Seal) -> Row:
    progress("webhooks: nine receivers, without and with a tenth that is dead")
    live = endpoints[: _RECEIVERS - 1]
    alone, beside = [], []
    for _ in range(_TURNS):
        _queue(live, positions)
        alone.append(_deliver(live, seal))
        _queue([*live, dead], positions)
        beside.append(_deliver(live, seal))
        WebhookDelivery.objects.filter(endpoint=dead).delete()
        WebhookEndpoint.objects.filter(pk=dead.pk).update(failures=0, failing_since=None, retry_at=None)
    details = {"seconds_alone": alone, "seconds_beside_a_dead_one": beside}
    return Row(
        "nine receivers beside a dead tenth ÷ nine alone (time)",
        statistics.median(beside) / statistics.median(alone), "×", 1.1, least=False, details=details,
    )  # fmt: skip


def _deliver(endpoints: Sequence[WebhookEndpoint], seal: Seal) -> float:
    """Seconds until everything that waits for these endpoints was delivered."""
    ids = [endpoint.pk for endpoint in endpoints]
    client = Client(_RULES)
    began = timezone.now()
    delivering.deliver_due(now=timezone.now, seal=seal, client=client, seconds=60.0)
    client.close()
    rows = WebhookDelivery.objects.filter(endpoint_id__in=ids)
    assert not rows.exclude(status="delivered").exists(), rows.exclude(status="delivered").first().error  # type: ignore[union-attr]
    last = rows.order_by("-attempted_at").values_list("attempted_at", flat=True)[0]
    assert last is not None
    return float((last - began).total_seconds())


def _bare(url: str, body: bytes, count: int) -> float:
    address = urllib3.util.parse_url(url)
    pool = urllib3.HTTPConnectionPool(str(address.host), address.port, maxsize=1)
    headers = {"Content-Type": "application/json"}
    began = time.perf_counter()
    for _ in range(count):
        assert pool.request("POST", "/hooks", body=body, headers=headers, redirect=False).status == 204
    taken = time.perf_counter() - began
    pool.close()
    return taken


def _queue(endpoints: Sequence[WebhookEndpoint], positions: Sequence[int]) -> None:
    WebhookDelivery.objects.filter(endpoint__in=endpoints).delete()
    now = timezone.now() - timedelta(seconds=1)
    WebhookDelivery.objects.bulk_create(
        [
            WebhookDelivery(
                endpoint=endpoint, event=position, type="device.state_changed", at=now, next_attempt_at=now
            )
            for position in positions
            for endpoint in endpoints
        ],
        batch_size=1000,
    )  # fmt: skip


def _events(organization: Organization) -> list[int]:
    Sequencer.objects.get_or_create(pk=1)
    first = Sequencer.objects.get(pk=1).position + 1
    now = timezone.now()
    positions = list(range(first, first + _EACH))
    Event.objects.bulk_create(
        [
            Event(
                position=position, organization=organization, type="device.state_changed", at=now, recorded_at=now,
                data=_DATA,
            )
            for position in positions
        ]
    )  # fmt: skip
    Sequencer.objects.filter(pk=1).update(position=positions[-1])
    return positions


def _endpoint(organization: Organization, port: int, seal: Seal) -> WebhookEndpoint:
    wishes = Wishes(url=f"http://127.0.0.1:{port}/hooks")
    return webhooks.create(
        actor=_ACTOR, organization=organization, wishes=wishes, rules=_RULES, seal=seal, at=timezone.now()
    )[0]


@contextmanager
def _receivers(ports: Sequence[int], silent: int) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.peer_receiver", *map(str, ports), "--", str(silent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=HERE.parent)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
