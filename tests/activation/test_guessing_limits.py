"""What a guesser gets: the limits hold exactly, nobody forges his way past them, and nobody locks out anybody else."""

import os
import random
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from accounts import pacing
from accounts.models import Bucket
from accounts.pacing import Attempt
from activation import issuing, limits, redemption
from activation.codes import SPACE, ActivationCode, MistypedCode, guesses_allowed, hits_a_year
from activation.limits import BOUND, NETWORK, PHONE, SERVICE, ClosedLimits, most_a_second
from activation.models import IssuedCode
from activation.redemption import BoundPhones, Redeemed, TooManyAttempts, WrongCode
from onboarding.answers import Links
from tests.activation.factories import VAULT, make_code
from tests.factories import ACTOR, AT, make_mac, make_profile

pytestmark = pytest.mark.django_db

NOW = AT.timestamp()
SECOND = timedelta(seconds=1)
SERVICE_ATTEMPT = Attempt(SERVICE, "")


def redeem(code=None, mac=None, **over) -> Redeemed:
    values: dict[str, Any] = {
        "mac": mac or make_mac(), "model": "CP-8841-3PCC", "serial": "", "firmware": "", "source": "192.0.2.7",
        "at": AT, "vault": VAULT, "links": lambda: Links("", ""),
    }  # fmt: skip
    return redemption.redeem(code=code or ActivationCode.random(), **values | over)


def outcome(*args, **over):
    try:
        return type(redeem(*args, **over))
    except (WrongCode, TooManyAttempts) as error:
        return type(error)


def take(attempt, *, at):
    return pacing.take([attempt], at=at) is None


def close(limit, subject="", at=NOW):
    """Use up a limit."""
    while take(Attempt(limit, subject), at=at):
        pass


def test_the_limit_of_the_service_keeps_guessing_below_a_thousandth_of_a_hit_a_year():
    assert most_a_second(SERVICE) < guesses_allowed(active=100_000)
    assert hits_a_year(guesses_a_second=most_a_second(SERVICE), active=100_000) < 1e-3


@pytest.mark.parametrize("limit", [PHONE, NETWORK, SERVICE, BOUND], ids=lambda limit: limit.name)
def test_a_limit_lets_a_burst_through_and_then_keeps_its_pace(limit):
    attempt = Attempt(limit, "somebody")

    assert [take(attempt, at=NOW) for _ in range(limit.burst + 3)] == [True] * limit.burst + [False] * 3
    assert pacing.opens_in(attempt, at=NOW) == limit.seconds
    assert not take(attempt, at=NOW + limit.seconds - 0.001)
    assert take(attempt, at=NOW + limit.seconds)
    assert not take(attempt, at=NOW + limit.seconds)
    # Idle time is saved up to the burst, never beyond.
    later = NOW + 1000 * limit.burst * limit.seconds
    assert pacing.opens_in(attempt, at=later) == 0
    assert sum(take(attempt, at=later) for _ in range(limit.burst + 3)) == limit.burst


def test_ones_attempts_are_not_anothers():
    close(PHONE, "one")

    assert not take(Attempt(PHONE, "one"), at=NOW)
    assert take(Attempt(PHONE, "another"), at=NOW)
    assert take(Attempt(NETWORK, "one"), at=NOW)


def test_a_clock_that_is_set_back_lets_no_more_through():
    attempt = Attempt(NETWORK, "somebody")
    assert sum(take(attempt, at=NOW) for _ in range(40)) == 40

    assert sum(take(attempt, at=NOW - 3600) for _ in range(50)) == 0
    assert sum(take(attempt, at=NOW) for _ in range(50)) == 10


def in_threads(count, call):
    barrier = threading.Barrier(count)
    results: list[Any] = []

    def run(number):
        try:
            barrier.wait(timeout=30)
            results.extend(call(number))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    return results


@pytest.mark.django_db(transaction=True)
def test_a_limit_is_exact_for_many_connections_at_once():
    attempt = Attempt(NETWORK, "192.0.2.7")

    taken = in_threads(6, lambda number: [take(attempt, at=NOW) for _ in range(20)])

    assert (len(taken), sum(taken)) == (120, NETWORK.burst)


_TAKING = """
import django; django.setup()
from accounts import pacing
from activation.limits import NETWORK
print(sum(pacing.take([pacing.Attempt(NETWORK, "192.0.2.7")], at={at}) is None for _ in range(40)))
"""


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_limit_is_exact_over_processes(tmp_path):
    values = connection.settings_dict
    postgresql = f"postgresql://{values['USER']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": postgresql if connection.vendor == "postgresql" else "",
    }
    if connection.vendor == "sqlite":
        (tmp_path / "registry.sqlite3").symlink_to(values["NAME"])
    command = [sys.executable, "-c", _TAKING.format(at=NOW)]

    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    taken = [int(process.communicate(timeout=60)[0]) for process in processes]

    assert sum(taken) == NETWORK.burst


@pytest.mark.django_db(transaction=True)
def test_wrong_codes_typed_at_the_same_moment_do_not_slip_through_together():
    mac = make_mac()

    outcomes = in_threads(5, lambda number: [outcome(mac=mac) for _ in range(4)])

    assert sorted(kind.__name__ for kind in outcomes) == ["TooManyAttempts"] * 10 + ["WrongCode"] * PHONE.burst
    # What was refused has taken nothing from the others.
    assert pacing.opens_in(Attempt(NETWORK, "192.0.2.7"), at=NOW) == 0
    bucket = Bucket.objects.get(key="code-service")
    assert bucket.arrival == NOW + PHONE.burst * SERVICE.seconds


def test_a_phone_has_ten_wrong_codes_and_others_in_its_network_go_on():
    mac = make_mac()

    assert [outcome(mac=mac) for _ in range(11)] == [WrongCode] * 10 + [TooManyAttempts]
    assert outcome() is WrongCode
    assert outcome(make_code()[1]) is Redeemed
    # And it may try again in a quarter of an hour.
    assert outcome(mac=mac, at=AT + 900 * SECOND) is WrongCode


def test_nobody_can_lock_out_a_phone_from_another_network():
    mac = make_mac()
    while outcome(mac=mac, source="198.51.100.66") is WrongCode:
        pass

    assert outcome(make_code()[1], mac) is Redeemed


def test_a_network_has_fifty_wrong_codes_whatever_its_phones_say_they_are():
    assert [outcome(source="198.51.100.66") for _ in range(51)] == [WrongCode] * 50 + [TooManyAttempts]
    assert outcome() is WrongCode


def test_an_ipv6_customer_is_one_network_however_many_addresses_he_has():
    addresses = [f"2001:db8:7:{number:x}::{number:x}" for number in range(51)]

    assert [outcome(source=address) for address in addresses] == [WrongCode] * 50 + [TooManyAttempts]
    assert outcome(source="2001:db8:8::1") is WrongCode


def test_when_the_service_is_closed_codes_for_any_phone_wait_and_codes_for_this_phone_pass():
    mac, serial = make_mac(), "FCH2133E8B9"
    by_mac, by_serial, for_any = make_code(mac=mac)[1], make_code(serial=serial)[1], make_code()[1]
    close(SERVICE)

    assert outcome(for_any) is TooManyAttempts
    # Neither is a bound code of use on another phone, nor a code for any phone on a phone with a bound one.
    assert outcome(by_mac) is TooManyAttempts
    assert outcome(for_any, mac) is TooManyAttempts
    assert outcome(by_mac, mac) is Redeemed
    assert outcome(by_serial, serial=serial) is Redeemed
    # When the limit opens, everybody is let in again.
    assert outcome(for_any, at=AT + SERVICE.seconds * SECOND) is Redeemed


def test_when_the_network_is_closed_by_others_codes_for_this_phone_pass():
    mac = make_mac()
    _, code = make_code(mac=mac)
    close(NETWORK, "192.0.2.7")

    assert outcome(make_code()[1]) is TooManyAttempts
    assert outcome(code, mac) is Redeemed


def test_the_budget_of_a_phone_with_a_code_of_its_own_is_small_and_its_own():
    mac, other = make_mac(), make_mac()
    (_, code), (_, other_code) = make_code(mac=mac), make_code(mac=other)
    close(SERVICE)

    assert {outcome(mac=mac) for _ in range(BOUND.burst)} == {TooManyAttempts}
    assert outcome(code, mac) is TooManyAttempts
    # Nobody else's is used up by it: not another phone's, nor that of the phone itself behind another address.
    assert outcome(other_code, other) is Redeemed
    assert outcome(code, mac, source="198.51.100.1") is Redeemed


def test_while_closed_a_phone_without_a_code_of_its_own_cannot_tell_that_others_have_one():
    mac = make_mac()
    make_code(mac=mac)
    close(SERVICE)

    seen = []
    for asking in (mac, make_mac()):
        with pytest.raises(TooManyAttempts) as refusal:
            redeem(mac=asking)
        seen.append((str(refusal.value), refusal.value.retry_after_seconds))

    assert seen[0] == seen[1]


def test_a_flood_of_guesses_after_closing_costs_no_query():
    closed_limits, bound_phones = ClosedLimits(), BoundPhones()
    make_code(mac=make_mac())
    close(SERVICE)
    remembered = {"closed_limits": closed_limits, "bound_phones": bound_phones}
    assert outcome(**remembered) is TooManyAttempts

    with CaptureQueriesContext(connection) as queries:
        for number in range(200):
            assert outcome(source=f"198.51.100.{number}", **remembered) is TooManyAttempts
    assert len(queries) == 0

    # It is looked at again when the limit opens.
    assert outcome(at=AT + SERVICE.seconds * SECOND, **remembered) is WrongCode


def test_a_lifted_limit_opens_within_seconds_although_processes_remember_it():
    closed_limits, mac = ClosedLimits(), make_mac()
    while outcome(mac=mac, closed_limits=closed_limits) is WrongCode:
        pass
    Bucket.objects.filter(key__startswith=f"code-phone:{mac}@").delete()

    assert outcome(mac=mac, closed_limits=closed_limits, at=AT + 4 * SECOND) is TooManyAttempts
    assert outcome(mac=mac, closed_limits=closed_limits, at=AT + 5 * SECOND) is WrongCode


def test_a_code_that_is_bound_to_a_phone_while_closed_is_seen_within_seconds():
    remembered = {"closed_limits": ClosedLimits(), "bound_phones": BoundPhones()}
    mac = make_mac()
    close(SERVICE)
    close(SERVICE, at=NOW + 10)
    assert outcome(mac=mac, **remembered) is TooManyAttempts

    _, code = make_code(mac=mac)

    assert outcome(code, mac, at=AT + 10 * SECOND, **remembered) is Redeemed


def test_a_process_remembers_only_so_many_closed_limits(monkeypatch):
    monkeypatch.setattr(limits, "_MOST_REMEMBERED", 3)
    closed_limits = ClosedLimits()
    attempts = [Attempt(PHONE, str(number)) for number in range(5)]
    for attempt in attempts:
        closed_limits.note(pacing.Closed(attempt, NOW + 60), at=NOW)

    known = [attempt.subject for attempt in attempts if closed_limits.find([attempt], at=NOW)]

    assert known == ["2", "3", "4"]


def test_pruning_deletes_what_says_nothing_and_changes_no_limit():
    close(PHONE, "guesser")
    take(Attempt(PHONE, "once"), at=NOW)
    attempts = [Attempt(PHONE, "guesser"), Attempt(PHONE, "once")]
    later = NOW + PHONE.seconds
    before = [pacing.opens_in(attempt, at=later) for attempt in attempts]

    assert pacing.prune(at=NOW) == 0
    assert pacing.prune(at=later, limit=1) == 1
    assert pacing.prune(at=later) == 0

    assert list(Bucket.objects.values_list("key", flat=True)) == ["code-phone:guesser"]
    assert [pacing.opens_in(attempt, at=later) for attempt in attempts] == before
    assert pacing.prune(at=NOW + PHONE.burst * PHONE.seconds) == 1


def test_guesses_that_are_refused_leave_no_buckets():
    close(SERVICE)
    for number in range(20):
        assert outcome(source=f"198.51.100.{number}") is TooManyAttempts

    assert list(Bucket.objects.values_list("key", flat=True)) == ["code-service"]


# A week of guessing in a space so small that hits can be counted: every code in it begins with these digits.
PREFIX = "00000000000"
SMALL_SPACE = 10**4
ACTIVE = 1000


def small_code(number):
    (code,) = [text for text in (f"{PREFIX}{number:04}{digit}" for digit in range(10)) if _passes(text)]
    return ActivationCode(code)


def _passes(text):
    try:
        ActivationCode.parse(text)
    except MistypedCode:
        return False
    return True


def test_a_week_of_guessing_hits_as_often_as_the_arithmetic_says(monkeypatch):
    """The guesser has a new phone and a new network for every guess, and guesses far faster than the limit lets him.

    A limit of the same shape as the service's, but slower, makes the week some six hundred guesses instead of 150,000.
    """
    service = pacing.Limit("code-service", burst=100, seconds=1209.6)
    monkeypatch.setattr(limits, "SERVICE", service)
    numbers = random.Random(20261122)
    profile = make_profile()
    issued = issuing.issue(
        actor=ACTOR, organization=profile.organization, profile=profile, count=ACTIVE, at=AT, vault=VAULT,
        lifetime=timedelta(days=30),
    )  # fmt: skip
    for (row, _), number in zip(issued, numbers.sample(range(SMALL_SPACE), ACTIVE), strict=True):
        row.lookup = VAULT.lookup(small_code(number))
    IssuedCode.objects.bulk_update([row for row, _ in issued], ["lookup"], batch_size=200)
    remembered = {"closed_limits": ClosedLimits(), "bound_phones": BoundPhones()}
    week, step = 7 * 24 * 3600, 604.8

    wrong, hits, expected, asked = 0, 0, 0.0, 0
    for elapsed in range(int(week / step)):
        for _ in range(200 if elapsed == 0 else 2):
            asked += 1
            network, at = f"2001:db8:{numbers.randrange(0xFFFF):x}::1", AT + elapsed * step * SECOND
            kind = outcome(
                small_code(numbers.randrange(SMALL_SPACE)),
                source=network,
                at=at,
                **remembered,
            )
            if kind is not TooManyAttempts:
                expected += (ACTIVE - hits) / SMALL_SPACE
            hits += kind is Redeemed
            wrong += kind is WrongCode

    # Exactly what the limit gives, its burst and one for each period: a hit takes nothing.
    assert wrong == service.burst + int((week - step) / service.seconds)
    assert asked > 3 * wrong
    # Binomial, nearly: six standard deviations.
    assert abs(hits - expected) < 6 * expected**0.5, (hits, expected)
    assert expected > 50, "enough to be measured"
    # The same week against the real limit and the real space, among 10^5 active codes.
    assert (SERVICE.burst + week / SERVICE.seconds) * 100_000 / SPACE < 1e-3 / 50
