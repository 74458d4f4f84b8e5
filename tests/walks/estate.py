"""An organization that has one of everything, and what each identifier in a path, a query or a body is to name of it.

A new endpoint brings a new kind of identifier: the walks fail until `Estate.named` knows what it names.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.conf import settings
from django.db.models import ForeignKey, Model
from django.utils import timezone

from accounts import auditing, mandates
from accounts.models import ApiKey, AuditEntry, Mandate, Membership, Organization, User
from activation.models import AuditedReading, IssuedCode
from activation.vault import Vault
from events.models import Event, WebhookDelivery, WebhookEndpoint
from onboarding.models import CodeGuessing, Device, RedirectProfile, ShortCode, Sighting, StateChange
from operations import receiving, running
from operations.models import Operation, Sheet
from tests.activation.factories import make_code
from tests.factories import (
    ACTOR,
    make_device,
    make_key,
    make_mac,
    make_organization,
    make_profile,
    make_short_code,
    make_user,
)
from trust.models import Authority, RevocationList

OURS = ("accounts", "activation", "events", "onboarding", "operations", "redirect", "signin", "trust")
# A number that no row has, in every notation that identifiers have here.
NONE = 987_654_321
NO_MAC, NO_DIGITS = "00562BFFFFFF", "98765432"


@dataclass
class Estate:
    """What an organization has. `mark` stands in every text of it and nowhere else."""

    organization: Organization
    mark: str
    profile: RedirectProfile
    device: Device
    rows: dict[type[Model], Any] = field(default_factory=dict)

    def named(self) -> dict[str, tuple[object, object]]:
        """For each name of an identifier in an address: what it is here, and what it is where there is none."""
        row = {model.__name__: rows.pk for model, rows in self.rows.items()}
        return {
            "mac": (self.device.mac, NO_MAC),
            "digits": (self.rows[ShortCode].code, NO_DIGITS),
            "profile_id": (self.profile.pk, NONE),
            "code_id": (row["IssuedCode"], NONE),
            "webhook_id": (row["WebhookEndpoint"], NONE),
            "delivery_id": (row["WebhookDelivery"], NONE),
            "operation_id": (row["Operation"], NONE),
            "sheet_id": (row["Sheet"], NONE),
            "key_id": (row["ApiKey"], NONE),
            "mandate_id": (row["Mandate"], NONE),
            "person_id": (row["Membership"], NONE),
            "membership_id": (row["Membership"], NONE),
            "organization_id": (self.organization.pk, NONE),
            "passkey_id": (row["Authenticator"], NONE),
        }

    def said(self) -> dict[str, tuple[object, object]]:
        """The same for the API's queries and bodies, by the field's name."""
        return {
            "mac": (self.device.mac, NO_MAC),
            "device": (self.device.mac, NO_MAC),
            "serial": (self.device.serial, "NOSUCHSERIAL1"),
            "profile": (self.profile.pk, NONE),
            "profiles": ([self.profile.pk], [NONE]),
            "batch": (str(self.rows[IssuedCode].batch), "7d1c1ad6-0000-4000-8000-000000000000"),
            "partner": (self.organization.pk, NONE),
            "rows": ([{"mac": self.device.mac, "model": "CP-1"}], [{"mac": NO_MAC, "model": "CP-1"}]),
        }


def build(organization: Organization, mark: str) -> Estate:
    """One of everything, for an organization; texts say `mark`."""
    at = timezone.now() - timedelta(minutes=5)
    profile = make_profile(organization=organization, name=f"{mark} profile")
    device = make_device(profile=profile, label=f"{mark} phone", serial=f"{mark[:6]}12345".upper(), at=at)
    estate = Estate(organization, mark, profile, device)
    person = make_user(organization=organization, username=f"{mark}.person", role="admin")
    webhook = WebhookEndpoint.objects.create(
        organization=organization, url=f"https://{mark}.example/", secret=b"x", created_at=at, created_by=mark,
    )  # fmt: skip
    position = 1 + max(Event.objects.values_list("position", flat=True), default=0)
    event = Event.objects.create(
        position=position, organization=organization, type="device.claimed", at=at, recorded_at=at, data={"label": mark}
    )
    delivery = WebhookDelivery.objects.create(
        endpoint=webhook, event=event.pk, type=event.type, at=at, attempt=1, status="failed", error=mark
    )
    sheet = receiving.receive_csv(
        organization=organization, stream=io.BytesIO(f"mac,model,label\n{make_mac()},CP-8841-3PCC,{mark}\n".encode()),
        file_name=f"{mark}.csv", at=at,
    )  # fmt: skip
    operation = running.start(actor=ACTOR, sheet=sheet, kind="import", dry_run=True, at=at)
    seconds = iter(range(10_000))
    while running.run_slice(at=at, own=frozenset(), seconds=lambda: float(next(seconds)), rest=lambda _: None):
        pass
    operation.refresh_from_db()
    auditing.record(ACTOR, organization_id=organization.pk, action="x.y", subject=mark, at=at)
    code = make_code(profile=profile, label=f"{mark} code", at=at, vault=Vault(settings.CODE_KEYS))[0]
    mandate = mandates.give(
        actor=ACTOR, provider=organization, partner=make_organization(name=f"{mark} partner", kind="partner"),
        scopes=["devices:read"], note=mark, at=at,
    )  # fmt: skip
    guessing = CodeGuessing.objects.create(organization=organization, network=mark, first_at=at, last_at=at)
    reading = AuditedReading.objects.create(
        organization=organization, issued_code_id=code.pk, at=at, source="admin", reader=mark, purpose="reveal"
    )
    passkey = Authenticator.objects.create(user=person, type="webauthn", data={"name": mark, "credential": {}})
    sighting = Sighting.objects.create(mac=str(make_mac()), first_at=at, last_at=at, model=mark.upper())
    short = make_short_code(profile=profile, code=f"{10_000_000 + organization.pk}")
    authority, revocations = operators_rows(mark)
    estate.rows = {
        Authority: authority, RevocationList: revocations,
        Organization: organization, RedirectProfile: profile, Device: device, StateChange: device.changes.get(),
        User: person, Membership: person.memberships.get(), ApiKey: make_key(organization=organization, name=mark)[0],
        Mandate: mandate, WebhookEndpoint: webhook, WebhookDelivery: delivery, Event: event, Sheet: sheet,
        Operation: operation, AuditEntry: AuditEntry.objects.get(subject=mark), IssuedCode: code,
        AuditedReading: reading, Sighting: sighting, CodeGuessing: guessing, ShortCode: short, Authenticator: passkey,
    }  # fmt: skip
    return estate


def operators_rows(mark: str) -> tuple[Authority, RevocationList]:
    """What is the operator's alone, and no organization's."""
    at = timezone.now()
    digest = hashlib.sha256(mark.encode()).hexdigest()
    authority = Authority.objects.create(
        name=f"{mark} root", certificate=b"x", fingerprint=digest, mark=digest, is_root=True, expires_at=at,
        added_at=at, added_by=mark,
    )  # fmt: skip
    revocations = RevocationList.objects.create(
        mark=digest, issuer=f"{mark} root", content=b"x", digest=digest, revoked=1, issued_at=at, added_at=at,
        added_by=mark,
    )  # fmt: skip
    return authority, revocations


def state_of(organization: Organization) -> dict[str, list[dict[str, Any]]]:
    """All rows of an organization, in every table that leads to it."""
    return {
        model.__name__: sorted(map(_plain, model._default_manager.filter(**{path: organization.pk}).values()), key=repr)
        for model in apps.get_models()
        if model._meta.app_label in OURS
        for path in _paths(model)
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """PostgreSQL gives octets as views, which are never equal."""
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}


def _paths(model: type[Model], depth: int = 2) -> Iterator[str]:
    """The look-ups by which a table's rows lead to an organization; the first of them."""
    if model is Organization:
        yield "pk"
        return
    keys = [column for column in model._meta.get_fields() if isinstance(column, ForeignKey)]
    for column in keys:
        if column.related_model is Organization and column.name in ("organization", "provider"):
            yield column.name
            return
    for column in keys:
        related = column.related_model
        if depth and isinstance(related, type) and related not in (model, Organization, User):
            for path in _paths(related, depth - 1):
                yield f"{column.name}__{path}"
                return
