"""Random lives of phones against the running service: at the end the service's state of each phone is the phone's own.

Wherever evidence was given, that is: a phone that resets itself without a token, or whose answer got lost and who never
asked again, has told nobody.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone

from onboarding import registry as verbs
from onboarding.identifiers import MacAddress
from onboarding.models import Device, Sighting, StateChange
from tests import factories
from tests.service import Service, all_applied, running, wait_until
from virtualphone import edos
from virtualphone.identity import Identity
from virtualphone.phone import Circumstances, VirtualPhone

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

_PROFILE = b'<flat-profile><Display_Name_1_ ua="na">A phone</Display_Name_1_></flat-profile>'
_PHONES, _STEPS = 24, 14


class _Provider(BaseHTTPRequestHandler):
    """A provisioning server that fails for some phones, and says so in the ways of the vendor's table."""

    failing: dict[str, int] = {}

    def do_GET(self) -> None:
        mac = self.path.strip("/").removesuffix(".xml").upper()
        status = self.failing.get(mac, 200)
        self.send_response(status)
        self.send_header("Content-Length", str(len(_PROFILE)))
        self.end_headers()
        self.wfile.write(_PROFILE)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def _provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Life:
    """One phone, what happens to it, and whether the service was told of the last thing."""

    def __init__(self, number: int, seed: int, service: Service, provider: str) -> None:
        self.rng = random.Random(f"{seed}/{number}")
        self.mac = f"00562B5A{number:04X}"
        self.provider = provider
        self.phone = VirtualPhone(
            Identity.parse(self.mac, "CP-8841-3PCC"),
            edos.Service(f"http://127.0.0.1:{service.port}"),
            circumstances=Circumstances(max_retries=1, retry_scale=0.0),
            sleep=lambda seconds: None,
        )
        self.told = True
        self.resets = 0

    def live(self) -> None:
        for _ in range(_STEPS):
            self._step()
        self.phone.close()

    def _step(self) -> None:
        _Provider.failing[self.mac] = self.rng.choice([200, 200, 200, 404, 503])
        around = Circumstances(max_retries=self.rng.choice([0, 1]), retry_scale=0.0)
        match self.rng.choice(["boot", "boot", "boot", "reset", "dhcp", "by hand", "lost answer"]):
            case "boot":
                self._boot(around)
            case "lost answer":
                self._boot(replace(around, loses_answer=True))
            case "dhcp":
                self._boot(replace(around, dhcp=f"{self.provider}/$MA.xml"))
            case "by hand":
                self.phone._around = around
                before = self.phone.state
                self.phone.provision_by_hand(f"{self.provider}/$MA.xml")
                # What a provisioned phone is told by hand changes nothing: a life untold before stays so.
                self.told = self.told or not before.is_provisioned
            case "reset" if self.resets < 8:
                self.resets += 1
                self.told = bool(self.phone.token) or (self.told and self.phone.state == "open")
                self.phone.factory_reset()

    def _boot(self, around: Circumstances) -> None:
        self.phone._around = around
        was_provisioned = self.phone.state.is_provisioned
        outcome = self.phone.power_on()
        if was_provisioned:
            return
        # A query that ended without an answer leaves the phone Pending, and the service believing it answered.
        self.told = self.phone.state != "pending"
        assert not [f for f in outcome.failures if f.what == "EDOS" and "timeout" not in f.kind], outcome.failures


@pytest.mark.parametrize("seed", [1, 2])
def test_the_service_knows_each_phone_s_own_state(data_dir, seed):
    with _provider() as provider, running(data_dir, "relay", "worker", "door") as service:
        profile = factories.make_profile(targets=[f"{provider}/$MA.xml"], confirm="beacon", unproven_evidence="apply")
        lives = [_Life(number, seed, service, provider) for number in range(_PHONES)]
        for life in lives[: _PHONES * 3 // 4]:
            factories.make_device(profile=profile, mac=life.mac, at=timezone.now())
        wait_until(lambda: b"Profile_Rule" in service.ask(lives[0].mac)[1], what="the directory")
        threads = [threading.Thread(target=life.live) for life in lives]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: all_applied(service), seconds=60, what="applying everything")

    strangers = lives[_PHONES * 3 // 4 :]
    own = {life.mac: life.phone.state.value for life in lives if life.told}
    seen = dict(Device.objects.values_list("mac", "state"))
    assert {mac: seen[mac] for mac in own if mac in seen} == {mac: own[mac] for mac in own if mac in seen}
    assert len([mac for mac in own if mac in seen]) >= _PHONES // 3
    assert StateChange.objects.filter(refused="illegal").count() == 0
    for life in strangers:
        if Sighting.objects.filter(mac=life.mac).exists():
            device = verbs.claim(
                actor=factories.ACTOR, organization=profile.organization, mac=MacAddress.parse(life.mac),
                values=factories.make_fields(), own=factories.OWN, at=timezone.now(),
            )  # fmt: skip
            assert device.state == "unavailable"
