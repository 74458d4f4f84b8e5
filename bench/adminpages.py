"""The admin pages that people open all day, at all devices beside the same pages at a thousand.

Two databases of their own, alike but for the number of devices; the rounds alternate between them, so that whatever
else the machine does meets both. All devices belong to one provider, whose staff looks: no organization is larger.
"""

import itertools
import logging
import time
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg2
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Membership, Organization, User
from bench import fleet
from bench.fleet import Fleet, Lines, _as_text
from bench.results import Row, progress
from onboarding import figures, search
from onboarding.models import DailyMovement, DailyWait, RedirectProfile
from onboarding.states import CustomizationState

_FEW = 1000
_ROUNDS, _REQUESTS = 4, 2
_PLACES = ("Reception", "Room", "Warehouse", "Büro", "Floor")
_STATES = ("open", "acquired", "acquired", "acquired", "custom_pending", "acquired", "unavailable", "acquired")
_COLUMNS = (
    "organization_id, mac, model, serial, label, profile_id, target, proven, claimed_at, changed_at, state, "
    "state_since, stalled_at, evidence_machine, evidence_sequence, resets, revision"
)
# What is typed into the search box: by kind of match, few and very many.
_TYPED = ("00:56:2B:00:19:64", "0056", "1964", "0d", "fch0", "00000499", "room", "room 491", "zzz")


def measure(phones: Fleet) -> list[Row]:
    """Three rows: how many times as long home, list and search take at all devices."""
    home = connection.settings_dict["NAME"]
    names = {_FEW: "bench_pages_few", phones.devices: "bench_pages_many"}
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", message="No directory at")
    logging.getLogger("django.request").setLevel(logging.ERROR)
    try:
        for devices, name in names.items():
            _create(name)
            _switch(name)
            _fill(Fleet(devices))
            progress(f"admin pages: {devices:,} devices in a database of their own")
        taken = _take(names)
    finally:
        _switch(str(home))
    return [
        _row(what, taken[what][phones.devices], taken[what][_FEW], phones.devices)
        for what in ("home", "device list", "search")
    ]


def _row(what: str, many: float, few: float, devices: int) -> Row:
    details = {"devices": devices, "milliseconds": round(1000 * many, 1), "milliseconds_at_1000": round(1000 * few, 1)}
    return Row(f"admin {what} at {devices:,} devices ÷ at 1,000", many / few, "×", 2, least=False, details=details)


def _take(names: dict[int, str]) -> dict[str, dict[int, float]]:
    """Seconds by page and number of devices: of each address the best of all rounds, added up."""
    pages = dict(_pages())
    best: dict[tuple[str, int], float] = {}
    for _ in range(_ROUNDS):
        for devices, name in names.items():
            _switch(name)
            client = Client(headers={"host": "localhost"})
            client.force_login(User.objects.get(username="bench"))
            for address in itertools.chain.from_iterable(pages.values()):
                taken = _open(client, address)
                best[address, devices] = min(taken, best.get((address, devices), taken))
    for address in itertools.chain.from_iterable(pages.values()):
        shown = ", ".join(f"{1000 * best[address, devices]:.1f} ms at {devices:,}" for devices in names)
        progress(f"admin pages: {address}: {shown}")
    return {
        what: {devices: sum(best[address, devices] for address in addresses) for devices in names}
        for what, addresses in pages.items()
    }


def _pages() -> Iterator[tuple[str, list[str]]]:
    devices = reverse("admin:onboarding_device_changelist")
    find = reverse("admin:onboarding_device_find")
    yield "home", [reverse("admin:index")]
    yield "device list", [devices, f"{devices}?state=acquired", f"{devices}?stalled=1", f"{devices}?p=3"]
    yield "search", [f"{page}?q={typed}" for page in (devices, find) for typed in _TYPED]


def _open(client: Client, address: str) -> float:
    best = float("inf")
    for _ in range(_REQUESTS):
        began = time.perf_counter()
        response = client.get(address)
        best = min(best, time.perf_counter() - began)
        assert response.status_code == 200, address
    return best


def _switch(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


def _create(name: str) -> None:
    server = psycopg2.connect(_as_text(connection.get_connection_params() | {"dbname": "template1"}))
    server.autocommit = True
    with server.cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')
        cursor.execute(f'CREATE DATABASE "{name}"')
    server.close()


def _fill(phones: Fleet) -> None:
    call_command("migrate", verbosity=0, interactive=False)
    organization = Organization.objects.create(name="Provider")
    profile = RedirectProfile.objects.create(
        organization=organization, name="Standard", targets=[fleet.TARGET.format(1)], parameters={}
    )
    person = User.objects.create(username="bench", is_staff=True)
    Membership.objects.create(user=person, organization=organization, role="admin")
    with connection.cursor() as cursor:
        lines = (_line(phones, number, organization.pk, profile.pk) for number in range(phones.devices))
        cursor.cursor.copy_expert(f"COPY onboarding_device ({_COLUMNS}) FROM STDIN", Lines(lines))
        words = (
            f"{organization.pk}\t\\\\x{word.hex()}\t{number + 1}\n"
            for number in range(phones.devices)
            for word in search.words(_label(number))
        )
        cursor.cursor.copy_expert(
            "COPY onboarding_deviceword (organization_id, word, device_id) FROM STDIN", Lines(words)
        )
    _add_up(organization, profile)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _label(number: int) -> str:
    return f"{_PLACES[number % len(_PLACES)]} {number}"


def _line(phones: Fleet, number: int, organization: int, profile: int) -> str:
    state = _STATES[number % len(_STATES)]
    stalled = str(fleet.AT) if state == "custom_pending" else "\\N"
    return (
        f"{organization}\t{phones.mac(number)}\t{fleet.MODEL}\t{phones.serial(number)}\t{_label(number)}\t{profile}\t\tt\t"
        f"{fleet.AT}\t{fleet.AT}\t{state}\t{fleet.AT}\t{stalled}\t\t0\t0\t0\n"
    )


def _add_up(organization: Organization, profile: RedirectProfile) -> None:
    """Two weeks of figures, as busy a provider has them, whatever the number of its devices."""
    figures.count_states(at=timezone.now(), force=True)
    days = [timezone.now().date() - timedelta(days=back) for back in range(14)]
    DailyMovement.objects.bulk_create(
        DailyMovement(organization=organization, day=day, state=state.value, came=100, left=90)
        for day in days
        for state in CustomizationState
    )
    DailyWait.objects.bulk_create(
        DailyWait(
            organization=organization, day=day, profile_id=profile.pk, model=f"CP-{model}", bucket=bucket, count=5
        )
        for day in days
        for model in range(8)
        for bucket in range(25, 60)
    )
