"""What the first start puts into an empty registry: an operator, and a small provider to try everything with."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction

from accounts import keys, organizations, people
from accounts.actors import Actor
from accounts.models import User
from config import env
from onboarding import profiles, registry, shortcodes
from onboarding.identifiers import MacAddress, ModelName, SerialNumber, ShortCode

_ACTOR = Actor("command", "first start")
_MODEL = "CP-8841-3PCC"
_PHONES = (
    ("00562B000001", "FCH2133A0B1", "Reception"),
    ("00562B000002", "FCH2133A0B2", "Meeting room"),
    ("00562B000003", "FCH2133A0B3", "Warehouse"),
)
# Long enough that it takes years to be found by trying.
_SHORT_CODE = ShortCode.from_digits("20480016")
_SCOPES = [scope for scope in keys.SCOPES if scope not in {"audit:read", "organization:admin"}]


@dataclass(frozen=True, slots=True)
class FirstStart:
    """The secrets that were made, to be shown once; those that the environment gave are shown to nobody."""

    admin_password: str
    demo_password: str = ""
    demo_key: str = ""


def provider_port() -> int:
    """Where the demonstration's sample provisioning server listens: the port beside the service's own."""
    return settings.PORT + 1 if settings.PORT < 65535 else settings.PORT - 1


@transaction.atomic
def prepare(*, demo: bool, at: datetime) -> FirstStart | None:
    """Fill an empty registry; None when somebody is registered already."""
    if User.objects.exists():
        return None
    given_password, given_key = env.text("ADMIN_PASSWORD"), env.text("DEMO_API_KEY")
    admin_password = given_password or secrets.token_urlsafe(12)
    people.create_operator(actor=_ACTOR, username="admin", password=admin_password, at=at)
    admin_password = "(the given ADMIN_PASSWORD)" if given_password else admin_password
    if not demo:
        return FirstStart(admin_password)
    organization = organizations.create(actor=_ACTOR, name="Demo Telecom", at=at)
    demo_password = secrets.token_urlsafe(12)
    people.add(actor=_ACTOR, organization=organization, username="demo", role="admin", password=demo_password, at=at)
    profile = profiles.create(
        actor=_ACTOR,
        organization=organization,
        values=profiles.ProfileFields(
            name="Demo provisioning server",
            targets=[f"http://127.0.0.1:{provider_port()}/$MA.xml"],
            parameters={},
            confirm="beacon",
        ),
        own=settings.OWN_ADDRESSES,
        at=at,
    )
    for mac, serial, label in _PHONES:
        registry.claim(
            actor=_ACTOR,
            organization=organization,
            mac=MacAddress.parse(mac),
            values=registry.DeviceFields(
                model=ModelName.parse(_MODEL), serial=SerialNumber.parse(serial), label=label, profile=profile
            ),
            own=settings.OWN_ADDRESSES,
            at=at,
        )
    shortcodes.enable(
        actor=_ACTOR, organization=organization, code=_SHORT_CODE, terms=shortcodes.Terms(profile=profile), at=at
    )
    try:
        _row, key = keys.create(
            actor=_ACTOR, organization=organization, name="Demonstration", scopes=_SCOPES, at=at, key=given_key or None
        )
    except keys.WeakKey as error:
        raise env.ConfigurationError("DEMO_API_KEY", f"{error.detail} {error.remedy}") from error
    return FirstStart(admin_password, demo_password, "$DEMO_API_KEY" if given_key else key)


def explain(first: FirstStart) -> str:
    """How to try each thing, for the terminal."""
    url = settings.PUBLIC_URL
    lines = [
        "",
        "This is the first start. These secrets are shown once:",
        f"  operator    {url}/admin/  user admin  password {first.admin_password}",
    ]
    if first.demo_key:
        mac, serial, _label = _PHONES[0]
        lines += [
            f"  provider    {url}/admin/  user demo   password {first.demo_password}",
            f"  API key     {first.demo_key}",
            "",
            "Try it, in another terminal:",
            "  boot a phone, then look at its page in the admin site:",
            f"    .venv/bin/python -m virtualphone boot --server {url} --mac {mac} --model {_MODEL} --serial {serial}",
            "  register a phone through the API:",
            # Double quotes: a key that came from the environment is shown as its variable.
            f'    curl -X PUT {url}/api/v1/devices/00562B000004/ -H "Authorization: Bearer {first.demo_key}" \\',
            f'      -H \'Content-Type: application/json\' -d \'{{"model": "{_MODEL}", "profile": 1}}\'',
            "  type the short code on a phone that nobody registered:",
            f"    .venv/bin/python -m virtualphone activate '{_SHORT_CODE}' --server {url}"
            f" --mac 00562B000005 --model {_MODEL}",
            "  boot a thousand phones that nobody registered:",
            f"    .venv/bin/python -m virtualphone swarm --server {url} --phones 1000 --mac-start 005600000000",
            f"  read the API's pages: {url}/api/docs/",
        ]
    return "\n".join([*lines, ""])
