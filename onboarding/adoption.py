"""A phone that nobody has arrives with a code: claimed, asked and answered in one statement.

The usual end of a redemption, and what many phones do in the same minute: it costs one statement where
`registry.adopt` and `customization.record_all` take a dozen. Those hold the rules and do every other case; what this
writes is what they would have written (tests/onboarding/test_adoption.py compares them).
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, connection, transaction

from accounts.actors import Actor
from onboarding import bulkwrites, customization, registry, search
from onboarding.bulkwrites import Guard
from onboarding.customization import Evidence
from onboarding.identifiers import MacAddress
from onboarding.models import RedirectProfile, Sighting
from onboarding.observations import Observation, Standing
from onboarding.search import Label
from onboarding.states import CustomizationState


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A phone that becomes a device with this profile, and what it did on that occasion, in order.

    `columns` are the registration's other ones in their normal forms, `proven` among them; `sighting` is what was seen
    of the phone before, as it was read.
    """

    profile: RedirectProfile
    mac: MacAddress
    columns: Mapping[str, object]
    sighting: Sighting | None
    observations: Sequence[Observation]


def adopt_new(arrival: Arrival, *, actor: Actor, guard: Guard, at: datetime) -> int | None:
    """Make the phone a device, if nobody has it and `guard` holds; gives its id.

    None, with nothing written, where it is not that simple: the phone is somebody's, it asked meanwhile, the guard
    fails, or the database is SQLite, which writes nothing inside of a query. Raises ProfileFull.
    """
    if connection.vendor != "postgresql":
        return None
    if not arrival.columns["proven"]:
        registry.check_room(arrival.profile)
    columns, sighting = {**arrival.columns, "profile_id": arrival.profile.pk}, arrival.sighting
    device = registry.new_device(arrival.profile.organization_id, arrival.mac, columns, sighting, at=at)
    rows = registry.first_rows(device, sighting, columns, actor=actor, at=at)
    first = Standing(CustomizationState(device.state), device.state_since, last_seen=device.last_seen)
    evidence = [Evidence(device.mac, observation) for observation in arrival.observations]
    begun = customization.begin(arrival.profile.organization_id, first, evidence, at=at)
    if begun is None:
        return None
    standing, judged = begun
    device.state, device.state_since, device.last_seen = standing.state.value, standing.since, standing.last_seen
    if standing.evidence is not None:
        device.evidence_at, device.evidence_machine, device.evidence_sequence = standing.evidence
    device.revision = 1
    try:
        with transaction.atomic() if connection.in_atomic_block or device.label else nullcontext():
            made = bulkwrites.begin_device(device, [*rows, *judged], sighting=sighting, guard=guard)
            if made is not None and device.label:
                search.write_words([Label(device.organization_id, made, device.label)])
            return made
    except IntegrityError:
        # The profile was deleted at the same moment: the long way says so.
        return None
