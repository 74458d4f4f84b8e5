"""What one piece of evidence does to what is known of a phone: applied, late, hearsay, unsettled, illegal, limited."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding.observations import (
    Belief,
    Clock,
    Observation,
    Standing,
    identity_of,
    is_believed,
    observe,
    plausible,
    tell,
)
from onboarding.states import ROWS_AN_HOUR, CustomizationState, Event
from tests import strategies

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BELIEF = Belief()
MINUTE = timedelta(minutes=1)


def standing(state="open", *, evidence=None, **over):
    return Standing(CustomizationState(state), AT - timedelta(days=2), evidence, **over)


def seen(event, *, at=AT, machine="", sequence=0, hearsay=False):
    return Observation(Event(event), Clock(at, machine, sequence), "door", hearsay=hearsay)


def judged(present, observation, *, at=AT, belief=BELIEF):
    return observe(present, observation, at=at, belief=belief)


def rows(observed):
    return [(r.event.value, r.before.value, r.after.value, r.inferred, r.refused) for r in observed.records]


def test_an_applied_event_moves_the_state_and_begins_it():
    observed = judged(standing("open"), seen("asked", at=AT - SECOND))

    assert rows(observed) == [("asked", "open", "pending", False, "")]
    assert observed.standing.state == "pending"
    assert observed.standing.since == observed.standing.last_seen == AT - SECOND
    assert observed.standing.evidence == Clock(AT - SECOND)


def test_a_stay_is_recorded_and_keeps_the_time_that_the_state_began():
    before = standing("pending")

    observed = judged(before, seen("asked"))

    assert rows(observed) == [("asked", "pending", "pending", False, "")]
    assert observed.standing.since == before.since
    assert observed.standing.last_seen == AT


@pytest.mark.parametrize("state", ["acquired", "aborted"])
def test_a_query_after_the_end_infers_a_reset(state):
    observed = judged(standing(state), seen("asked"))

    assert rows(observed) == [
        ("factory_reset", state, "open", True, ""),
        ("asked", "open", "pending", False, ""),
    ]
    assert (observed.standing.resets, observed.standing.resets_since) == (1, AT)


ORDER = [
    # Of one machine the sequence decides, whatever its wall clock says.
    (Clock(AT, "a", 7), Clock(AT - MINUTE, "a", 8), False),
    (Clock(AT, "a", 7), Clock(AT + MINUTE, "a", 6), True),
    (Clock(AT, "a", 7), Clock(AT, "a", 7), False),
    # Between machines, or where there is no machine, the wall clock does.
    (Clock(AT, "a", 7), Clock(AT - SECOND, "b", 8), True),
    (Clock(AT, "a", 7), Clock(AT + SECOND, "b", 1), False),
    (Clock(AT, "a", 7), Clock(AT, "b", 1), False),
    (Clock(AT, "", 7), Clock(AT - SECOND, "", 8), True),
    (Clock(AT, "", 7), Clock(AT + SECOND, "", 6), False),
    (Clock(AT, "a", 7), Clock(AT - SECOND), True),
    (Clock(AT), Clock(AT - SECOND, "a", 7), True),
]


@pytest.mark.parametrize(("known", "new", "late"), ORDER)
def test_evidence_older_than_what_was_applied_is_late(known, new, late):
    present = standing("pending", evidence=known, last_seen=known.at)

    observed = judged(present, Observation(Event.ANSWERED, new, "door"))

    if late:
        assert rows(observed) == [("answered", "pending", "pending", False, "late")]
        assert (observed.standing.state, observed.standing.evidence) == ("pending", known)
    else:
        assert rows(observed) == [("answered", "pending", "custom_pending", False, "")]
        assert observed.standing.evidence == new
    assert observed.standing.last_seen == max(known.at, new.at)


def test_hearsay_is_recorded_and_moves_nothing_unless_the_profile_believes_it():
    report = seen("dhcp_provisioned", hearsay=True)

    recorded = judged(standing("open"), report)
    applied = judged(standing("open"), report, belief=Belief(hearsay=True))

    assert rows(recorded) == [("dhcp_provisioned", "open", "open", False, "unproven")]
    assert (recorded.standing.state, recorded.standing.evidence) == ("open", None)
    assert rows(applied) == [("dhcp_provisioned", "open", "aborted", False, "")]


def test_illegal_hearsay_that_is_not_believed_does_not_wait():
    assert rows(judged(standing("open"), seen("acquired", hearsay=True))) == [
        ("acquired", "open", "open", False, "unproven")
    ]


def test_illegal_evidence_waits_for_the_settling_time_then_is_refused():
    before = standing("open")
    early = seen("acquired")

    for age in (timedelta(0), 9 * MINUTE, 10 * MINUTE - SECOND):
        observed = judged(before, early, at=AT + age)
        assert observed.unsettled
        assert observed.standing == before
    observed = judged(before, early, at=AT + 10 * MINUTE)

    assert not observed.unsettled
    assert rows(observed) == [("acquired", "open", "open", False, "illegal")]
    assert (observed.standing.state, observed.standing.evidence) == ("open", None)


def test_what_waited_is_applied_when_what_came_before_it_arrived():
    beacon = seen("acquired", at=AT + 2 * SECOND)
    present = standing("open")
    assert judged(present, beacon, at=AT + 3 * SECOND).unsettled

    for event in (seen("asked", at=AT, machine="a", sequence=1), seen("answered", at=AT, machine="a", sequence=2)):
        present = judged(present, event, at=AT + MINUTE).standing

    assert rows(judged(present, beacon, at=AT + MINUTE)) == [("acquired", "custom_pending", "acquired", False, "")]


def reset_often(times, *, every=MINUTE):
    present = standing("acquired")
    outcomes = []
    for number in range(times):
        moment = AT + number * every
        observed = judged(present, seen("asked", at=moment), at=moment)
        outcomes.append(rows(observed))
        if observed.standing.state == "pending":
            for event in ("answered", "acquired"):
                present = judged(observed.standing, seen(event, at=moment), at=moment).standing
                observed = judged(observed.standing, seen(event, at=moment), at=moment)
        present = observed.standing
    return present, outcomes


def test_inferred_resets_are_limited_to_twelve_a_day():
    present, outcomes = reset_often(14)

    assert [len(outcome) for outcome in outcomes] == [2] * 12 + [1] * 2
    assert outcomes[-1] == [("asked", "acquired", "acquired", False, "reset_limit")]
    assert (present.state, present.resets, present.resets_since) == ("acquired", 12, AT)


def test_the_days_limit_ends_with_the_day():
    present, _ = reset_often(13)

    refused = judged(present, seen("asked", at=AT + timedelta(days=1) - SECOND))
    again = judged(present, seen("asked", at=AT + timedelta(days=1)))

    assert rows(refused)[0][-1] == "reset_limit"
    assert [r[0] for r in rows(again)] == ["factory_reset", "asked"]
    assert (again.standing.resets, again.standing.resets_since) == (1, AT + timedelta(days=1))


def test_a_reset_that_was_reported_is_not_counted():
    observed = judged(standing("acquired", resets=12, resets_since=AT), seen("factory_reset"))

    assert rows(observed) == [("factory_reset", "acquired", "open", False, "")]
    assert observed.standing.resets == 12


def test_late_beats_hearsay_and_hearsay_beats_illegal():
    present = standing("open", evidence=Clock(AT))

    late = judged(present, seen("acquired", at=AT - SECOND, hearsay=True))
    hearsay = judged(present, seen("acquired", hearsay=True), at=AT + timedelta(days=1))

    assert rows(late)[0][-1] == "late"
    assert rows(hearsay)[0][-1] == "unproven"


def test_a_clock_that_runs_far_ahead_is_taken_for_ours():
    ahead = seen("asked", at=AT + timedelta(days=9000), machine="a", sequence=3)

    assert plausible(ahead, at=AT).clock == Clock(AT, "a", 3)
    assert plausible(seen("asked", at=AT + 4 * MINUTE), at=AT) == seen("asked", at=AT + 4 * MINUTE)


_clocks = st.builds(
    Clock,
    st.integers(-900, 60).map(lambda seconds: AT + timedelta(seconds=seconds)),
    st.sampled_from(["", "a", "b"]),
    st.integers(0, 50),
)
_observations = st.builds(Observation, strategies.events, _clocks, st.just("door"), st.just({}), st.booleans())


@given(st.lists(_observations, max_size=40), st.booleans())
def test_records_always_tell_the_way_to_the_present_state(observations, believes):
    present = standing("open")
    state = "open"
    for observation in observations:
        observed = judged(present, observation, belief=Belief(hearsay=believes))
        for event, before, after, inferred, refused in rows(observed):
            assert before == state
            assert after == before if refused else True
            assert before not in {"acquired", "aborted"} or after == before or event == "factory_reset"
            assert not inferred or (event, after) == ("factory_reset", "open")
            state = after
        if observed.unsettled:
            assert observed.standing == present
        present = observed.standing
        assert present.state == state


ONLY_CERTIFIED = Belief(strangers=False)


@pytest.mark.parametrize(
    ("source", "identity", "belief", "believed"),
    [
        ("door", None, Belief(), True),
        ("door", None, ONLY_CERTIFIED, False),
        ("door", "certificate", ONLY_CERTIFIED, True),
        ("door", "expired", ONLY_CERTIFIED, False),
        ("door", "expired", Belief(strangers=False, expired=True), True),
        ("beacon", "token", Belief(), True),
        # Anybody who says the MAC gets an answer with a token, unless the profile asks for a certificate.
        ("beacon", "token", ONLY_CERTIFIED, False),
        ("beacon", "token", Belief(strangers=False, token=True), True),
        ("report", "certificate", ONLY_CERTIFIED, True),
        # No phones: the provider itself, and what a code proves.
        ("callback", None, ONLY_CERTIFIED, True),
        ("admin", None, ONLY_CERTIFIED, True),
        ("activation", None, ONLY_CERTIFIED, True),
    ],
)
def test_what_a_profile_believes(source, identity, belief, believed):
    evidence = {"identity": identity} if identity else {}
    observation = Observation(Event.ACQUIRED, Clock(AT), source, evidence)
    assert is_believed(observation, belief) is believed


def test_queries_of_strangers_are_written_down_and_move_nothing_where_only_certified_phones_are_believed():
    present = standing("open")
    observed = judged(present, seen("asked"), belief=ONLY_CERTIFIED)
    assert [(row.refused, row.after) for row in observed.records] == [("unproven", present.state)]
    assert observed.standing.state == present.state
    assert observed.standing.last_seen == AT


def test_whose_evidence_is_marked():
    assert identity_of("door", {}) == "none"
    assert identity_of("report", {"identity": "token"}) == "token"
    assert identity_of("callback", {}) is None


def test_what_one_phone_does_fills_no_history():
    """A flood of one MAC is written down so far in an hour; the rest is counted, and told in the next."""
    present, written, left_out = standing("custom_pending"), 0, []
    for second in range(5000):
        told = tell(present, seen("asked", at=AT + second * SECOND), 1)
        present = told.standing
        written += told.written
        left_out.append(told.left_out)
    # Two hours were begun.
    assert written == 2 * ROWS_AN_HOUR
    assert [number for number in left_out if number] == [3600 - ROWS_AN_HOUR]


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 2)), max_size=200))
def test_every_row_is_written_or_counted_once(steps):
    present, at, shown = standing("open"), AT, {"written": 0, "left_out": 0}
    for seconds, rows in steps:
        at += seconds * SECOND
        told = tell(present, seen("asked", at=at), rows)
        present = told.standing
        shown["written"] += rows if told.written else 0
        shown["left_out"] += told.left_out
    assert shown["written"] + shown["left_out"] + present.untold == sum(rows for _, rows in steps)


def test_what_the_provider_says_is_always_written_down():
    present = standing("open", told=ROWS_AN_HOUR, told_since=AT)
    assert tell(present, Observation(Event.ACQUIRED, Clock(AT), "callback"), 1).written
