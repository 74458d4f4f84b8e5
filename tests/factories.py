"""Rows for tests, made by plain functions: each gives a valid row, and takes what the test is about as keywords."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from accounts import keys
from accounts.actors import Actor
from accounts.models import ApiKey, Membership, Organization, User
from onboarding import identifiers, registry, shortcodes
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import Device, RedirectProfile, ShortCode
from onboarding.registry import DeviceFields

# The default moment; the `at` fixture gives the same.
AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ACTOR = Actor("api", "test-key")
# The addresses of the service that the tests play.
OWN = frozenset({("onboarding.example", 443), ("127.0.0.1", 8000)})

_number = count(1)


def make_mac() -> MacAddress:
    """A MAC that no other call in this process gives."""
    return MacAddress(0x00562B000000 + next(_number))


def make_organization(**over: Any) -> Organization:
    return Organization.objects.create(**{"name": f"Provider {next(_number)}"} | over)


def make_user(*, organization: Organization | None = None, role: str = "staff", **over: Any) -> User:
    """A person who may open the admin site, of `organization` if given. The password is `test-password`."""
    values: dict[str, Any] = {"username": f"user{next(_number)}", "password": "test-password", "is_staff": True} | over
    user = User.objects.create_user(**values)
    if organization is not None:
        Membership.objects.create(user=user, organization=organization, role=role)
    return user


def make_key(*, organization: Organization, scopes: list[str] | None = None, **over: Any) -> tuple[ApiKey, str]:
    """A key with every scope unless told otherwise; gives the row and its text."""
    values: dict[str, Any] = {"name": "test key", "scopes": scopes if scopes is not None else list(keys.SCOPES)} | over
    return keys.create(**{"actor": ACTOR, "organization": organization, "at": AT} | values)


def make_profile(*, organization: Organization | None = None, **over: Any) -> RedirectProfile:
    """A profile as stored, past the verb's checks: a test may want a row that the verb would refuse."""
    values: dict[str, Any] = {
        "name": f"Profile {next(_number)}",
        "targets": ["https://cfg.example.net/$MA.xml"],
        "parameters": {},
    } | over
    return RedirectProfile.objects.create(organization=organization or make_organization(), **values)


def make_short_code(*, profile: RedirectProfile, code: str = "123456", at: datetime = AT, **terms: Any) -> ShortCode:
    """A short code enabled by the verb, as its owner would."""
    row, _ = shortcodes.enable(
        actor=ACTOR, organization=profile.organization, code=identifiers.ShortCode.from_digits(code),
        terms=shortcodes.Terms(profile=profile, **terms), at=at,
    )  # fmt: skip
    return row


def make_fields(**over: Any) -> DeviceFields:
    """What an owner says about a device; `model` and `serial` may be texts."""
    values: dict[str, Any] = {"model": "CP-8841-3PCC"} | over
    values["model"] = ModelName.parse(str(values["model"]))
    if values.get("serial") is not None:
        values["serial"] = SerialNumber.parse(str(values["serial"]))
    return DeviceFields(**values)


def make_device(
    *,
    organization: Organization | None = None,
    mac: MacAddress | str | None = None,
    at: datetime = AT,
    state: str | None = None,
    profile: RedirectProfile | None = None,
    columns: dict[str, Any] | None = None,
    **fields: Any,
) -> Device:
    """A device claimed by the verb, as its owner would.

    `state` puts it into a state without history, `columns` sets further columns: both past the only writer, for tests
    that need a starting point.
    """
    organization = organization or (profile.organization if profile else make_organization())
    address = mac if isinstance(mac, MacAddress) else MacAddress.parse(mac) if mac else make_mac()
    device = registry.claim(
        actor=ACTOR,
        organization=organization,
        mac=address,
        values=make_fields(profile=profile, **fields),
        own=OWN,
        at=at,
    )
    forced = ({"state": state} if state else {}) | (columns or {})
    if forced:
        Device.objects.filter(pk=device.pk).update(**forced)
        device.refresh_from_db()
    return device
