"""Tests of profiles' targets from plan to door: when they run, what they write, and that the door hears of it."""

import ssl
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import AuditEntry
from accounts.tenancy import Viewer
from onboarding import answers, profiles, registrations, registry, targethealth, tasks
from onboarding.health import Health
from onboarding.identifiers import MacAddress
from onboarding.models import RedirectProfile, TargetCheck
from onboarding.outbound import Rules
from onboarding.profiles import ProfileFields
from onboarding.registration import PhoneQuery
from onboarding.targethealth import Ways
from redirect import changefeed, publishing
from redirect.directory import Directory, DirectoryWriter
from redirect.models import RegistryChange
from tests import factories
from tests.factories import ACTOR, AT, OWN, make_device, make_organization, make_profile
from tests.onboarding.targetservers import RULES, ProvisioningServer, free_port
from tests.races import at_once

WAYS = Ways(RULES, ssl.create_default_context())
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def server() -> Iterator[ProvisioningServer]:
    server = ProvisioningServer()
    yield server
    server.close()


@pytest.fixture
def spare() -> Iterator[ProvisioningServer]:
    server = ProvisioningServer()
    yield server
    server.close()


def create(*targets, organization=None, **over):
    values = ProfileFields(name="Head office", targets=list(targets), parameters={}, **over)
    return profiles.create(actor=ACTOR, organization=organization or make_organization(), values=values, own=OWN, at=AT)


def change(profile, *targets):
    values = ProfileFields(name=profile.name, targets=list(targets), parameters={})
    return profiles.change(profile, actor=ACTOR, values=values, own=OWN, at=AT)


def check(at, *, rounds=1):
    """Run rounds of tests a minute apart; gives the moment after the last."""
    for _ in range(rounds):
        targethealth.check_due(at=at, ways=WAYS)
        at += MINUTE
    return at


def health_of(profile):
    return {row.target: row.health for row in TargetCheck.objects.filter(profile=profile)}


@pytest.mark.django_db
def test_targets_are_tested_when_the_profile_is_made(server):
    profile = create(server.target)

    assert targethealth.check_due(at=AT, ways=WAYS) == 1

    row = TargetCheck.objects.get(profile=profile)
    assert (row.health, row.findings, row.http_status, row.checked_at) == ("healthy", ["answers"], 200, AT)
    assert AT + HOUR / 2 <= row.next_check_at <= AT + 3 * HOUR / 2
    assert targethealth.check_due(at=AT, ways=WAYS) == 0
    assert len(server.asked) == 1


@pytest.mark.django_db
def test_a_change_of_the_targets_tests_the_new_ones_and_forgets_the_others(server, spare):
    profile = create(server.target, "https://old.example.net/")
    TargetCheck.objects.filter(target="https://old.example.net/").update(health="failing")
    RedirectProfile.objects.update(failing_targets=["https://old.example.net/"])
    targethealth.check_due(at=AT, ways=Ways(Rules(), WAYS.trust))

    change(profile, spare.target, server.target)

    assert set(health_of(profile)) == {server.target, spare.target}
    assert RedirectProfile.objects.get().failing_targets == []
    check(AT)
    assert len(spare.asked) == 1


@pytest.mark.django_db
def test_saving_a_profile_unchanged_over_and_over_does_not_test_over_and_over(server):
    profile = create(server.target)
    check(AT)

    for _ in range(5):
        change(profile, server.target)
        check(AT)

    assert len(server.asked) == 1
    assert AuditEntry.objects.filter(action="profile.changed").count() == 0


@pytest.mark.django_db
def test_a_failing_target_is_passed_over_after_three_failures_and_comes_back_after_two_successes(server, spare):
    profile = create(server.target, spare.target)
    device = make_device(profile=profile)
    at = check(AT)
    server.status = 503

    def given():
        registration = registrations.for_mac(MacAddress.parse(device.mac))
        return answers.decide(PhoneQuery(MacAddress.parse(device.mac), device.model), registration, 0.0).target

    TargetCheck.objects.update(next_check_at=at)
    seen = []
    for _ in range(3):
        at = check(at)
        seen.append(given())
    assert seen == [server.target, server.target, spare.target]
    assert health_of(profile) == {server.target: "failing", spare.target: "healthy"}

    server.status = 200
    at = check(at + 5 * MINUTE)
    assert given() == spare.target
    check(at)
    assert given() == server.target
    assert RedirectProfile.objects.get().failing_targets == []


@pytest.mark.django_db
def test_with_none_healthy_the_first_is_given():
    profile = create(f"http://127.0.0.1:{free_port()}/a", f"http://127.0.0.1:{free_port()}/b")

    check(AT, rounds=3)

    profile.refresh_from_db()
    assert profile.failing_targets == profile.targets
    assert registrations.profile(profile).targets[0] == profile.targets[0]


@pytest.mark.django_db
def test_a_target_that_is_not_seen_from_here_is_never_passed_over(server):
    profile = create(server.target, "https://spare.example.net/")
    blind = Ways(Rules(), WAYS.trust)
    at = AT
    for _ in range(4):
        TargetCheck.objects.update(next_check_at=at)
        targethealth.check_due(at=at, ways=blind)
        at += HOUR

    row = TargetCheck.objects.get(target=server.target)
    assert (row.health, row.findings, row.failures) == ("unknown", ["private_network"], 0)
    assert RedirectProfile.objects.get(pk=profile.pk).failing_targets == []


@pytest.mark.django_db
def test_by_hand_targets_are_tested_at_once_but_not_twice_within_seconds(server):
    profile = create(server.target)
    check(AT)

    targethealth.check_now(profile, at=AT + timedelta(seconds=2))
    check(AT + timedelta(seconds=2))
    assert len(server.asked) == 1

    targethealth.check_now(profile, at=AT + MINUTE)
    check(AT + MINUTE)
    assert len(server.asked) == 2


@pytest.mark.django_db
def test_many_targets_of_one_host_are_tested_a_few_at_a_time_and_hold_up_nobody(server, spare):
    organization = make_organization()
    for number in range(12):
        crowd = make_profile(organization=organization, targets=[f"{server.target}?{n}" for n in range(8)])
        targethealth.plan(crowd, at=AT - timedelta(seconds=number + 1))
    alone = make_profile(targets=[spare.target])
    targethealth.plan(alone, at=AT)

    for second in range(0, 10, 5):
        targethealth.check_due(at=AT + timedelta(seconds=second), ways=WAYS)

    assert len(server.asked) == 2 * targethealth.MOST_OF_ONE_HOST
    assert len(spare.asked) == 1


@pytest.mark.django_db
def test_a_round_is_bounded_whatever_is_due():
    for _ in range(6):
        profile = make_profile(targets=[f"http://127.0.0.1:{free_port()}/{n}" for n in range(8)])
        targethealth.plan(profile, at=AT)

    with CaptureQueriesContext(connection) as queries:
        tested = targethealth.check_due(at=AT, ways=WAYS)

    assert tested == targethealth.MOST_AT_ONCE
    # A few for the leases, then each result on its own: its place in the transaction, and one update.
    assert len(queries) <= 10 + 3 * tested


@pytest.mark.django_db
def test_a_lease_that_a_dead_worker_left_ends_by_itself(server):
    create(server.target)
    TargetCheck.objects.update(leased_until=AT + MINUTE)

    assert targethealth.check_due(at=AT, ways=WAYS) == 0
    assert targethealth.check_due(at=AT + MINUTE, ways=WAYS) == 1


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_test_each_target_once(server):
    for number in range(4):
        make_profile(targets=[f"http://localhost:{server.port}/{number}"])
    servers = [ProvisioningServer() for _ in range(4)]
    for one in servers:
        targethealth.plan(make_profile(targets=[one.target]), at=AT)

    done = at_once(*[lambda: targethealth.check_due(at=AT, ways=WAYS)] * 4)

    assert sum(done) == 4
    assert [len(one.asked) for one in servers] == [1, 1, 1, 1]
    for one in servers:
        one.close()


@pytest.mark.django_db
def test_when_every_healthy_target_stops_answering_at_once_it_is_our_own_network():
    # Names that vanish: a connection to a silent address would take the test's whole time.
    profile = create(*(f"http://no-such-name-{n}.invalid/x" for n in range(6)))
    TargetCheck.objects.update(health="healthy", seen_at=AT)

    assert targethealth.check_due(at=AT, ways=WAYS) == 0
    assert set(TargetCheck.objects.filter(profile=profile).values_list("failures", flat=True)) == {0}
    assert TargetCheck.objects.filter(next_check_at=AT + MINUTE, leased_until=None).count() == 6


@pytest.mark.django_db
def test_the_job_reaches_only_the_networks_that_the_operator_allows(server):
    create(server.target)

    assert tasks.check_targets() == 1

    assert TargetCheck.objects.get().findings == ["private_network"]
    assert server.asked == []


@pytest.mark.django_db
def test_profiles_that_are_older_than_the_tests_get_theirs(server):
    make_profile(targets=[server.target])

    assert targethealth.plan_missing(at=AT) == 1
    assert targethealth.plan_missing(at=AT) == 0
    assert targethealth.check_due(at=AT, ways=WAYS) == 1


@pytest.mark.django_db
def test_a_profile_that_is_deleted_takes_its_tests_along(server):
    profile = create(server.target)

    profiles.delete(profile, actor=ACTOR, at=AT)

    assert not TargetCheck.objects.exists()
    assert targethealth.check_due(at=AT, ways=WAYS) == 0


@pytest.mark.django_db
def test_failing_targets_are_listed_to_those_who_may_see_them():
    mine, theirs = create(f"http://127.0.0.1:{free_port()}/x"), create(f"http://127.0.0.1:{free_port()}/x")
    check(AT, rounds=3)

    viewer = Viewer(frozenset({mine.organization_id}))

    assert [row.profile for row in targethealth.failing(viewer, 10)] == [mine]
    assert len(targethealth.failing(Viewer(sees_everything=True), 10)) == 2
    assert len(targethealth.failing(Viewer(sees_everything=True), 1)) == 1
    assert targethealth.failing(Viewer(), 10) == []
    assert theirs.organization_id != mine.organization_id


@pytest.mark.django_db
def test_what_the_audit_keeps_of_a_profile_holds_no_secret():
    profile = create('[--key hidden1 --uid phone --pwd "hidden 2"] https://cfg.example.net/x')
    values = ProfileFields(
        name="Other", targets=["https://new.example.net/"], parameters={"IKM_HTTP_Encrypt_Content": "hidden3"}
    )
    profiles.change(profile, actor=ACTOR, values=values, own=OWN, at=AT)
    profiles.delete(profile, actor=ACTOR, at=AT)

    entries = list(AuditEntry.objects.filter(action__startswith="profile.").order_by("pk"))
    assert [entry.action for entry in entries] == ["profile.created", "profile.changed", "profile.deleted"]
    assert entries[0].after["targets"] == ["[--key *** --uid phone --pwd ***] https://cfg.example.net/x"]
    assert entries[1].after == {
        "name": "Other", "targets": ["https://new.example.net/"], "parameters": ["IKM_HTTP_Encrypt_Content"],
    }  # fmt: skip
    assert "hidden" not in "".join(f"{entry.before}{entry.after}" for entry in entries)


# To the door


def at_the_doors(writer, mac):
    """Publish what changed, and read as a door does. (One process has an environment open once.)"""
    publishing.publish(writer)
    writer.close()
    return Directory(writer.folder).find(bytes(mac))[0]


def differences(writer):
    writer.close()
    return publishing.differences(writer.folder)


@pytest.fixture
def feed(transactional_db: None) -> None:
    changefeed.install()


@pytest.mark.usefixtures("feed")
def test_a_change_of_health_is_a_change_for_the_door_and_nothing_else_is(server, spare, tmp_path):
    profile = create(server.target, spare.target)
    device = make_device(profile=profile)
    check(AT)
    writer = DirectoryWriter(tmp_path / "directory")
    publishing.publish(writer)
    server.status = 500
    TargetCheck.objects.update(next_check_at=AT + HOUR)
    latest = RegistryChange.objects.order_by("-pk").values_list("pk", flat=True).first()

    check(AT + HOUR, rounds=2)
    assert not RegistryChange.objects.filter(pk__gt=latest).exists()

    check(AT + HOUR + 2 * MINUTE)
    rows = RegistryChange.objects.filter(pk__gt=latest)
    assert list(rows.values_list("kind", "key")) == [("p", str(profile.pk))]
    assert differences(writer) != []
    assert at_the_doors(writer, MacAddress.parse(device.mac)).profile.targets == (spare.target, server.target)
    assert differences(writer) == []


@pytest.mark.usefixtures("feed")
def test_the_door_and_the_explanation_decide_alike_whatever_the_targets_health(tmp_path):
    device = make_device(profile=(profile := make_profile()))
    mac = MacAddress.parse(device.mac)
    query = PhoneQuery(mac, device.model)
    writer = DirectoryWriter(tmp_path / "directory")
    urls = [f"https://{letter}.example.net/" for letter in "abcd"]

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        targets=st.lists(st.sampled_from(urls), min_size=1, max_size=4, unique=True),
        failing=st.sets(st.sampled_from(urls)),
        own=st.sampled_from(["", "https://own.example.net/"]),
    )
    def alike(targets, failing, own):
        RedirectProfile.objects.filter(pk=profile.pk).update(targets=targets, failing_targets=sorted(failing))
        values = factories.make_fields(profile=profile, target=own)
        registry.change(actor=ACTOR, device=device, values=values, own=OWN, at=AT)

        explained = answers.decide(query, registrations.for_mac(mac), 0.0)

        assert answers.decide(query, at_the_doors(writer, mac), 0.0) == explained
        assert explained.target == (own or next((t for t in targets if t not in failing), targets[0]))

    alike()
    assert differences(writer) == []


@pytest.mark.usefixtures("feed")
def test_results_at_the_same_moment_leave_the_profile_with_both(server):
    ports = [free_port() for _ in range(6)]
    profile = create(*(f"http://127.0.0.1:{port}/x" for port in ports))
    TargetCheck.objects.update(failures=2)

    # Three workers, and a change of the profile between.
    at_once(*[lambda: targethealth.check_due(at=AT, ways=WAYS)] * 3)

    profile.refresh_from_db()
    assert profile.failing_targets == profile.targets
    assert set(health_of(profile).values()) == {Health.FAILING}
