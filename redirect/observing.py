"""From the inbox into the registry: journal lines become evidence, and each is applied once.

One worker at a time applies; the next batch of a journal must begin where the last one ended, and the journal's new
position, the effects and the end of the batches are one transaction. So messages may be lost, repeated or overtake
each other, and workers may die anywhere.
"""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import F

from onboarding import customization, shortcodes
from onboarding.answers import REDIRECTED
from onboarding.customization import DOOR, Evidence
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress
from onboarding.observations import Clock, Observation
from onboarding.shortcodes import Arrival
from onboarding.states import REPORTABLE_EVENTS, Event
from redirect.models import Batch, Journal
from trust.identity import Proof, Verdict

logger = logging.getLogger(__name__)

# Any number, the same in all workers: PostgreSQL's advisory lock of the one that applies.
_APPLYING = 0x0B5E

_EVENTS = {event.value: event for event in REPORTABLE_EVENTS}
_SAID_OF_QUERY = ("model", "serial", "firmware", "from")
_SAID_OF_SHORT_CODE = ("code", *_SAID_OF_QUERY)
_SAID_OF_REPORT = ("model", "serial", "from")


def apply_waiting(*, at: datetime, most_rounds: int = 1000) -> int:
    """Apply what waits in the inbox, then what waited to settle; gives the number of lines applied."""
    total = 0
    for _ in range(most_rounds):
        with _no_garbage_collection():
            lines = _apply_round(at=at)
        if lines is None:
            break
        total += lines
    customization.settle(at=at)
    return total


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A round keeps some hundred thousand small objects, and no cycles: looking for them took a third of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@transaction.atomic
def _apply_round(*, at: datetime) -> int | None:
    """Apply the batches of the oldest round; None when there are none, or another worker is at it."""
    if not _alone():
        return None
    first = Batch.objects.order_by("id").first()
    if first is None:
        return None
    batches = list(Batch.objects.filter(round=first.round).select_related("journal").order_by("id"))
    lines: list[tuple[int, list[_Shown]]] = []
    for batch in batches:
        accepted = Journal.objects.filter(pk=batch.journal_id, applied=batch.start).update(applied=batch.end)
        if not accepted:
            # Applied before (a repeat), or out of a registry that was put together from parts: handed in anew.
            logger.warning("Batch %s does not continue its journal; it is dropped and will be handed in again.", batch)
            Journal.objects.filter(pk=batch.journal_id).update(received=F("applied"))
            continue
        read = list(_lines(bytes(batch.content), batch.journal.machine))
        torn = read.count(None)
        Journal.objects.filter(pk=batch.journal_id).update(lines=F("lines") + len(read) - torn, torn=F("torn") + torn)
        lines += [line for line in read if line is not None]
    Batch.objects.filter(pk__in=[batch.pk for batch in batches]).delete()
    lines.sort(key=itemgetter(0))
    shown = [item for _, items in lines for item in items]
    customization.record_all(_with_arrivals(shown, at=at), at=at)
    return len(lines)


@dataclass(frozen=True, slots=True)
class _ByShortCode:
    """A phone that was answered by a short code, and what shows it if it becomes the code's owner's device."""

    arrival: Arrival
    observations: tuple[Observation, Observation]


@dataclass(frozen=True, slots=True)
class _Guessing:
    """A network that tried short codes one after another, and the organizations of whose codes it found one."""

    network: str
    organization_ids: list[int]
    at: datetime


_Shown = Evidence | _ByShortCode | _Guessing


def _with_arrivals(shown: list[_Shown], *, at: datetime) -> list[Evidence]:
    """The evidence, after phones that used a short code were made devices. Of others' devices nothing is told."""
    by_code = [item for item in shown if isinstance(item, _ByShortCode)]
    device_ids = iter(shortcodes.welcome([item.arrival for item in by_code], at=at) if by_code else ())
    evidence: list[Evidence] = []
    for item in shown:
        if isinstance(item, Evidence):
            evidence.append(item)
        elif isinstance(item, _Guessing):
            shortcodes.note_guessing(network=item.network, organization_ids=item.organization_ids, at=min(item.at, at))
        elif (device_id := next(device_ids)) is not None:
            arrival = item.arrival
            evidence += [
                Evidence(arrival.mac, observation, device_id, arrival.organization_id)
                for observation in item.observations
            ]
    return evidence


def _alone() -> bool:
    """Whether this transaction is the one that applies. On SQLite it holds the write lock, so it is."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_APPLYING])
        return bool(cursor.fetchone()[0])


def _lines(content: bytes, machine: str) -> Iterator[tuple[int, list[_Shown]] | None]:
    """The sequence and the evidence of each line in order; None for one that is torn or says nothing that can be."""
    for raw in content.split(b"\n"):
        if not raw:
            continue
        try:
            line = orjson.loads(raw)
            if not 0 <= line["seq"] < 10**18:
                raise ValueError("no position of this boot")
            yield line["seq"], evidence_of(line, machine)
        except (ValueError, KeyError, TypeError, AttributeError, OnboardingError):
            yield None


def evidence_of(line: dict[str, Any], machine: str) -> list[_Shown]:
    """What one journal line shows. A query is two events: it was asked, then answered or not.

    A short code that did not work shows nothing: nobody knows whose phone it was.

    Raises ValueError, KeyError, TypeError, AttributeError or OnboardingError for a line that no door writes.
    """
    kind = line["event"]
    if kind == "short_code":
        return _of_short_code(line, machine)
    if kind == "enumeration":
        network, found = line["network"], [id + 0 for id in line["organizations"]]
        return [_Guessing(network[:50], found, datetime.fromisoformat(line["at"]))]
    if kind not in {"query", "beacon", "report"}:
        # The journal's own remarks, as a count of dropped lines.
        return []
    clock = Clock(datetime.fromisoformat(line["at"]), machine, line["seq"])
    mac = line["mac"].upper()
    if kind == "query":
        device_id, organization_id, outcome = line["device"], line["organization"], line["outcome"]
        proven = _proven(line)
        said = {name: line[name] for name in _SAID_OF_QUERY if line[name]} | proven
        if outcome == REDIRECTED:
            event, given = Event.ANSWERED, {"outcome": outcome, "target": line["target"]}
        else:
            event, given = Event.NOT_FOUND, {"outcome": outcome}
        given |= {name: proven[name] for name in ("identity",) if name in proven}
        return [
            Evidence(mac, Observation(Event.ASKED, clock, DOOR, said), device_id, organization_id),
            Evidence(mac, Observation(event, clock, DOOR, given), device_id, organization_id),
        ]
    proven = _proven(line)
    said = {name: line[name] for name in _SAID_OF_REPORT if line[name]} | line["said"] | proven
    answered_at = None
    if line["answered_at"] is not None:
        answered_at = datetime.fromtimestamp(line["answered_at"], UTC)
        said["answered"] = answered_at.isoformat()
    hearsay = answered_at is None and proven.get("identity") != Proof.CERTIFICATE
    observation = Observation(_EVENTS[line["what"]], clock, kind, said, hearsay=hearsay)
    return [Evidence(mac, observation, answered_at=answered_at)]


def _proven(line: dict[str, Any]) -> dict[str, object]:
    """How the phone's identity is known, and the certificate that it showed; nothing where it is not known."""
    proven: dict[str, object] = {}
    # Lines of earlier versions have neither.
    if (identity := Proof(line.get("identity", Proof.NONE))) is not Proof.NONE:
        proven["identity"] = identity.value
    if (certificate := line.get("certificate")) is not None:
        shown = {name: certificate[name] for name in ("sha256", "verdict", "mac", "weak")}
        proven["certificate"] = shown["sha256"][:64]
        if shown["verdict"] != Verdict.VALID:
            proven["certificate_verdict"] = Verdict(shown["verdict"]).value
        if shown["mac"] not in {None, line["mac"].upper()}:
            proven["certificate_mac"] = str(MacAddress.parse(shown["mac"]))
        if shown["weak"]:
            proven["certificate_weak"] = True
    return proven


def _of_short_code(line: dict[str, Any], machine: str) -> list[_Shown]:
    if line["outcome"] != REDIRECTED:
        return []
    clock = Clock(datetime.fromisoformat(line["at"]), machine, line["seq"])
    # A text that is no MAC would stop the batch later.
    mac = str(MacAddress.parse(line["mac"]))
    proven = _proven(line)
    said = {name: line[name] for name in _SAID_OF_SHORT_CODE if line[name]} | proven
    given = {"outcome": line["outcome"], "target": line["target"]}
    given |= {name: proven[name] for name in ("identity",) if name in proven}
    arrival = Arrival(
        mac=mac,
        model=line["model"] + "",
        serial=line["serial"] + "",
        digits=line["code"] + "",
        organization_id=line["organization"] + 0,
        profile_id=line["profile"] + 0,
        at=clock.at,
    )
    asked, answered = Observation(Event.ASKED, clock, DOOR, said), Observation(Event.ANSWERED, clock, DOOR, given)
    return [_ByShortCode(arrival, (asked, answered))]
