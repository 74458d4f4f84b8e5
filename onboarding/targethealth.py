"""The tests of profiles' targets: planned, run, and what they find written where the door hears of it.

The rows of TargetCheck are the queue. One round:

1. takes the targets that are due, each by a lease, few at a time of each host;
2. tests them all at once, without holding a transaction;
3. writes what was found, each in its own transaction. Where a target begins or ceases to fail, the profile's
   `failing_targets` change with it, and by that the change feed.

A worker that dies in between leaves leases, which end by themselves. A target whose lease was lost writes nothing.
"""

import logging
import ssl
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from accounts.tenancy import Viewer
from onboarding import health, targettest
from onboarding.errors import OnboardingError
from onboarding.health import Health, Reading, Standing
from onboarding.models import RedirectProfile, TargetCheck
from onboarding.outbound import Rules
from onboarding.profilerule import ProfileRule

logger = logging.getLogger(__name__)

# One round: as many tests as run at once, so that it takes as long as the slowest.
MOST_AT_ONCE = 16
# Of one host (name and port), at once and, with a beat of five seconds, in these.
MOST_OF_ONE_HOST = 2
_LEASE = timedelta(minutes=1)
# What has to wait because of its host does not stand in the way of others meanwhile.
_PUT_OFF = timedelta(seconds=15)
# By hand, not sooner than this after the last test.
BY_HAND_AFTER = timedelta(seconds=5)
# So many healthy hosts that all stop answering in one round: then it is our own network that is away.
_MOST_AWAY = 5


@dataclass(frozen=True, slots=True)
class Ways:
    """Which networks tests may reach beside the public Internet, and what verifies servers' certificates."""

    rules: Rules
    trust: ssl.SSLContext


def ways(networks: Sequence[object], ca_file: str) -> Ways:
    """The ways that an operator allows: private networks by CIDR, further authorities in a file of PEM certificates."""
    return Ways(Rules(allowed=tuple(networks), plain_http=True), targettest.trust_of(ca_file))  # type: ignore[arg-type]


def plan(profile: RedirectProfile, *, at: datetime) -> None:
    """Have each target of a profile tested now, after it was made or changed; forget those that it has no more.

    Called by whoever writes `targets`, in the same transaction.
    """
    texts = list(dict.fromkeys(profile.targets))
    TargetCheck.objects.filter(profile=profile).exclude(target__in=texts).delete()
    check_now(profile, at=at)
    TargetCheck.objects.bulk_create(
        [TargetCheck(profile=profile, target=text, host=_host(text), since=at, next_check_at=at) for text in texts],
        ignore_conflicts=True,
    )
    _note_failing(profile.pk)


def plan_missing(*, at: datetime, most: int = 500) -> int:
    """Plan the tests of profiles that have none: those that are older than the tests are. Gives how many."""
    profiles = list(RedirectProfile.objects.filter(checks=None).order_by("pk")[:most])
    for profile in profiles:
        with transaction.atomic():
            plan(profile, at=at)
    return len(profiles)


def check_now(profile: RedirectProfile, *, at: datetime) -> None:
    """Have each target of a profile tested now, but for those that were tested a moment ago."""
    rested = Q(checked_at=None) | Q(checked_at__lte=at - BY_HAND_AFTER)
    TargetCheck.objects.filter(rested, profile=profile, next_check_at__gt=at).update(next_check_at=at)


def check_due(*, at: datetime, ways: Ways) -> int:
    """Test targets that are due; gives how many were tested. One round, see the module."""
    rows = _lease(at)
    if not rows:
        return 0
    with ThreadPoolExecutor(len(rows), "target-test") as threads:
        readings = list(threads.map(lambda row: targettest.run(row.target, rules=ways.rules, trust=ways.trust), rows))
    if _we_are_away(rows, readings):
        logger.warning("None of %d healthy targets answers any more: our own network seems to be away.", len(rows))
        held = TargetCheck.objects.filter(pk__in=[row.pk for row in rows], leased_until=rows[0].leased_until)
        held.update(leased_until=None, next_check_at=at + timedelta(minutes=1))
        return 0
    for row, reading in zip(rows, readings, strict=True):
        _write(row, reading, at=at)
    return len(rows)


def _host(text: str) -> str:
    try:
        place = targettest.place_of(ProfileRule.parse(text))
    except OnboardingError:
        return ""
    return f"{place.host}:{place.port}"[:260] if place else ""


@transaction.atomic
def _lease(at: datetime) -> list[TargetCheck]:
    """Take targets that are due, few of each host. A host that is being tested enough is put off."""
    due = (
        TargetCheck.objects.filter(Q(leased_until=None) | Q(leased_until__lte=at), next_check_at__lte=at)
        .order_by("next_check_at")
        .select_for_update(skip_locked=True)[: MOST_AT_ONCE * 4]
    )
    rows = list(due)
    held = TargetCheck.objects.filter(leased_until__gt=at, host__in={row.host for row in rows} - {""})
    busy = Counter(held.values_list("host", flat=True)[:1000])
    taken: list[TargetCheck] = []
    put_off: list[int] = []
    for row in rows:
        if row.host and busy[row.host] >= MOST_OF_ONE_HOST:
            put_off.append(row.pk)
        elif len(taken) < MOST_AT_ONCE:
            busy[row.host] += 1
            row.leased_until = at + _LEASE
            taken.append(row)
    TargetCheck.objects.filter(pk__in=[row.pk for row in taken]).update(leased_until=at + _LEASE)
    TargetCheck.objects.filter(pk__in=put_off).update(next_check_at=at + _PUT_OFF)
    return taken


def _we_are_away(rows: Sequence[TargetCheck], readings: Sequence[Reading]) -> bool:
    if any(reading.saw_something for reading in readings):
        return False
    return len({row.host for row in rows if row.health == Health.HEALTHY}) >= _MOST_AWAY


def _write(row: TargetCheck, reading: Reading, *, at: datetime) -> None:
    found = reading.health(seen_before=row.seen_at is not None)
    before = Standing(row.health, row.failures, row.successes)
    after = health.after(before, found)
    turns = after.health != row.health and Health.FAILING in {after.health, row.health}
    with transaction.atomic():
        # The profile's row first, as everybody who changes a profile has it.
        if turns:
            RedirectProfile.objects.select_for_update().filter(pk=row.profile_id).first()
        changes: dict[str, object] = {
            "health": str(after.health),
            "failures": after.failures,
            "successes": after.successes,
            "findings": list(reading.findings),
            "http_status": reading.status,
            "certificate_expires_at": reading.certificate_expires_at,
            "checked_at": at,
            "leased_until": None,
            "next_check_at": health.next_test(after, number=row.pk, at=at),
        }
        if after.health != row.health:
            changes["since"] = at
        if reading.saw_something:
            changes["seen_at"] = at
        mine = TargetCheck.objects.filter(pk=row.pk, leased_until=row.leased_until)
        if mine.update(**changes) and turns:
            _note_failing(row.profile_id)


def _note_failing(profile_id: int) -> None:
    """Write the profile's failing targets where they differ: each write is a change for the doors."""
    profile = RedirectProfile.objects.filter(pk=profile_id).first()
    if profile is None:
        return
    failing = set(TargetCheck.objects.filter(profile=profile, health="failing").values_list("target", flat=True))
    wanted = [text for text in dict.fromkeys(profile.targets) if text in failing]
    if profile.failing_targets != wanted:
        RedirectProfile.objects.filter(pk=profile_id).update(failing_targets=wanted)


def of_profile(profile: RedirectProfile) -> list[TargetCheck]:
    """The checks of a profile's targets, in the profile's order; targets without one stand as not tested yet."""
    rows = {row.target: row for row in profile.checks.all()}
    return [
        rows.get(text)
        or TargetCheck(profile=profile, target=text, since=profile.created_at, next_check_at=profile.created_at)
        for text in profile.targets
    ]


def skipped(profile_id: int, given: str) -> list[TargetCheck]:
    """The targets of a profile that stand before the `given` one and were passed over as failing."""
    profile = RedirectProfile.objects.filter(pk=profile_id).prefetch_related("checks").first()
    if profile is None or given not in profile.targets:
        return []
    earlier = of_profile(profile)[: profile.targets.index(given)]
    return [row for row in earlier if row.target in profile.failing_targets]


def failing(viewer: Viewer, limit: int) -> list[TargetCheck]:
    """Failing targets that `viewer` may see, the latest first, with their profiles."""
    rows = TargetCheck.objects.visible_to(viewer).filter(health="failing")
    return list(rows.select_related("profile", "profile__organization").order_by("-since")[:limit])


def is_waiting(row: TargetCheck, *, at: datetime) -> bool:
    """Whether a test is due or under way, so that news will come within seconds."""
    return row.next_check_at <= at or (row.leased_until is not None and row.leased_until > at)


def said(row: TargetCheck) -> str:
    """What the last test found, as sentences."""
    if row.checked_at is None:
        return "Not tested yet."
    counted = row.health == Health.FAILING or row.failures > 0
    return health.words(row.findings, status=row.http_status, failing=counted)
