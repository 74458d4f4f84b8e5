"""Phones that asked although nobody registered them: counted, bounded, and handed to whoever claims them later."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from onboarding import bulkwrites
from onboarding.models import Sighting
from onboarding.observations import Observation
from onboarding.states import Event

# At most so many MACs are remembered: an attacker can invent 2^47 of them.
MOST_SIGHTINGS = 1_000_000

# The columns' lengths. What a phone says beyond is cut, not refused: a batch holds other phones' evidence too.
_SAID_LENGTHS = {"model": 40, "serial": 32, "firmware": 64}

_UPSERT = """
    INSERT INTO onboarding_sighting (mac, first_at, last_at, count, model, serial, firmware)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (mac) DO UPDATE SET
        last_at = CASE WHEN excluded.last_at > onboarding_sighting.last_at
                       THEN excluded.last_at ELSE onboarding_sighting.last_at END,
        count = onboarding_sighting.count + excluded.count,
        model = excluded.model, serial = excluded.serial, firmware = excluded.firmware
"""


@dataclass(slots=True)
class _Sum:
    first_at: datetime
    last_at: datetime
    count: int
    model: str
    serial: str
    firmware: str


def record_all(observations: Sequence[tuple[str, Observation]]) -> None:
    """Count queries of unregistered MACs. Other evidence of them says nothing and is dropped."""
    sums: dict[str, _Sum] = {}
    for mac, observation in observations:
        if observation.event != Event.ASKED:
            continue
        at = observation.clock.at
        said = [
            bulkwrites.storable(str(observation.evidence.get(name, "")))[:length]
            for name, length in _SAID_LENGTHS.items()
        ]
        if mac in sums:
            present = sums[mac]
            present.first_at, present.last_at = min(present.first_at, at), max(present.last_at, at)
            present.count += 1
            present.model, present.serial, present.firmware = said
        else:
            sums[mac] = _Sum(at, at, 1, *said)
    if not sums:
        return
    adapt = connection.ops.adapt_datetimefield_value
    rows = [
        (mac, adapt(s.first_at), adapt(s.last_at), s.count, s.model, s.serial, s.firmware)
        # In order of the key, so that two writers never wait for each other in a circle.
        for mac, s in sorted(sums.items())
    ]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            from psycopg2.extras import execute_values

            execute_values(cursor.cursor, _UPSERT.replace("(%s, %s, %s, %s, %s, %s, %s)", "%s"), rows, page_size=1000)
        else:
            cursor.executemany(_UPSERT, rows)


def prune(*, before: datetime, limit: int = 10_000) -> int:
    """Delete sightings last seen before `before`, and the oldest beyond MOST_SIGHTINGS; gives how many."""
    old = list(Sighting.objects.filter(last_at__lt=before).order_by("last_at").values_list("pk", flat=True)[:limit])
    if len(old) < limit:
        excess = list(
            Sighting.objects.order_by("-last_at").values_list("pk", flat=True)[MOST_SIGHTINGS : MOST_SIGHTINGS + limit]
        )
        old += excess
    return Sighting.objects.filter(pk__in=old).delete()[0]
