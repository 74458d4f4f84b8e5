"""From a phone's certificate to its history: authority, door, journal, relay, and what the owner reads of it."""

import base64
import ipaddress
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.actors import Actor
from onboarding.models import Device, StateChange
from redirect import observing, publishing
from redirect.publishing import JournalCollector
from tests.factories import make_device, make_profile
from tests.redirect import doors
from tests.redirect.conftest import registry, writer
from trust import authorities
from virtualphone.manufacturer import ENTERPRISE, Issued

__all__ = ["registry", "writer"]

pytestmark = pytest.mark.usefixtures("registry")

PROXY = "192.0.2.7"


def header(issued: Issued) -> dict[str, str]:
    return {"HTTP_CLIENT_CERT": f":{base64.b64encode(issued.der).decode()}:", "REMOTE_ADDR": PROXY}


def apply(tmp_path) -> None:
    JournalCollector(tmp_path / "journal", kept=timedelta(hours=1)).hand_in()
    observing.apply_waiting(at=timezone.now())


def evidence(device: Device, event: str) -> dict[str, object]:
    found: dict[str, object] = StateChange.objects.filter(mac=device.mac, event=event).latest("id").evidence
    return found


@pytest.fixture(autouse=True)
def no_settling(monkeypatch):
    monkeypatch.setattr(publishing, "SETTLE_NANOSECONDS", 0)


def test_a_phone_with_a_certificate_is_let_in_and_its_report_needs_no_token(writer, tmp_path):
    root = Issued.root()
    authorities.add(actor=Actor("command", "trust"), name="", content=root.pem.encode(), at=timezone.now())
    device = make_device(profile=make_profile(identity="required", confirm="callback"))
    publishing.publish(writer)
    writer.close()
    door = doors.make_door(tmp_path, trusted_proxies=[ipaddress.ip_network(f"{PROXY}/32")], machine=settings.HOST)
    issued = root.issue_phone(ENTERPRISE, mac=device.mac, model=device.model)
    other = root.issue_phone(ENTERPRISE, mac="00562B0FFFFF", model=device.model)
    asked = f"id={device.mac}::{device.model}"

    without = doors.ask(door, asked, REMOTE_ADDR=PROXY)
    let_in = doors.ask(door, asked, **header(issued))
    apply(tmp_path)

    assert (without.body, b"Profile_Rule" in let_in.body) == (b"", True)
    known = evidence(device, "asked")
    assert (known["identity"], len(str(known["certificate"]))) == ("certificate", 64)

    said = f"id={device.mac}&event=acquired"
    doors.ask(door, said, path=doors.REPORT, method="POST", **header(other))
    apply(tmp_path)
    device.refresh_from_db()
    assert device.state == "custom_pending"
    refused = evidence(device, "acquired")
    assert (refused["certificate_mac"], "identity" in refused) == ("00562B0FFFFF", False)

    doors.ask(door, said, path=doors.REPORT, method="POST", **header(issued))
    apply(tmp_path)
    device.refresh_from_db()
    assert device.state == "acquired"
    assert evidence(device, "acquired")["identity"] == "certificate"
