"""The rules of targets' health: hysteresis, when the next test is, the order in which phones get targets. Pure."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding import examplephone, health
from onboarding.health import FINDINGS, Health, Reading, Standing

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
GOOD, BAD, DIM = Health.HEALTHY, Health.FAILING, Health.UNKNOWN

# (what was found in turn, the health after each)
COURSES = [
    ([GOOD], [GOOD]),
    ([BAD, BAD, BAD], [DIM, DIM, BAD]),
    ([GOOD, BAD, BAD, GOOD], [GOOD, GOOD, GOOD, GOOD]),
    ([GOOD, BAD, BAD, BAD], [GOOD, GOOD, GOOD, BAD]),
    ([BAD, BAD, GOOD, BAD, BAD, BAD], [DIM, DIM, GOOD, GOOD, GOOD, BAD]),
    ([BAD, BAD, BAD, GOOD, GOOD], [DIM, DIM, BAD, BAD, GOOD]),
    ([BAD, BAD, BAD, GOOD, BAD, GOOD, GOOD], [DIM, DIM, BAD, BAD, BAD, BAD, GOOD]),
    ([BAD, BAD, BAD, DIM, DIM], [DIM, DIM, BAD, BAD, DIM]),
    ([BAD, BAD, BAD, DIM, GOOD], [DIM, DIM, BAD, BAD, GOOD]),
    ([GOOD, DIM, GOOD], [GOOD, DIM, GOOD]),
    ([DIM, BAD, BAD, BAD], [DIM, DIM, DIM, BAD]),
]


@pytest.mark.parametrize(("found", "expected"), COURSES)
def test_three_failures_make_it_failing_and_two_others_end_that(found, expected):
    standing = Standing()
    seen = []
    for one in found:
        standing = health.after(standing, one)
        seen.append(standing.health)

    assert seen == expected


@given(st.lists(st.sampled_from([GOOD, BAD, DIM]), max_size=40))
def test_only_three_failures_in_a_row_begin_it_and_only_two_others_in_a_row_end_it(found):
    standing = Standing()
    for position, one in enumerate(found, start=1):
        before, standing = standing, health.after(standing, one)
        last = found[:position]
        if standing.health == BAD and before.health != BAD:
            assert last[-3:] == [BAD] * 3
        if before.health == BAD and standing.health != BAD:
            assert BAD not in last[-2:]
        if last[-3:] == [BAD] * 3:
            assert standing.health == BAD
        assert not (standing.failures and standing.successes) or standing.health == BAD


@pytest.mark.parametrize(
    ("standing", "within"),
    [
        (Standing(GOOD, 1, 0), timedelta(minutes=1)),
        (Standing(DIM, 2, 0), timedelta(minutes=1)),
        (Standing(BAD, 3, 0), timedelta(minutes=5)),
        (Standing(BAD, 3, 1), timedelta(minutes=1)),
        (Standing(BAD, 23, 0), timedelta(minutes=5)),
    ],
)
def test_what_is_in_doubt_is_tested_again_soon(standing, within):
    assert health.next_test(standing, number=7, at=AT) == AT + within


@given(st.integers(1, 2**62), st.sampled_from([Standing(GOOD, 0, 9), Standing(DIM, 0, 9), Standing(BAD, 24, 0)]))
def test_what_is_certain_is_tested_every_hour_at_a_place_of_its_own(number, standing):
    first = health.next_test(standing, number=number, at=AT)
    second = health.next_test(standing, number=number, at=first + timedelta(seconds=3))

    assert timedelta(minutes=30) <= first - AT <= timedelta(minutes=90)
    assert second - first == timedelta(hours=1)


def test_targets_that_were_made_together_are_tested_apart():
    minutes = [health.next_test(Standing(GOOD, 0, 1), number=n, at=AT).minute for n in range(1, 601)]

    # Six hundred over sixty minutes: about ten in each.
    assert max(minutes.count(minute) for minute in range(60)) <= 15


@pytest.mark.parametrize(
    ("failing", "order"),
    [
        ([], ["a", "b", "c"]),
        (["a"], ["b", "c", "a"]),
        (["b"], ["a", "c", "b"]),
        (["a", "b"], ["c", "a", "b"]),
        (["a", "b", "c"], ["a", "b", "c"]),
        (["x"], ["a", "b", "c"]),
    ],
)
def test_the_first_healthy_target_wins_and_with_none_the_first(failing, order):
    assert health.in_order(["a", "b", "c"], failing) == order


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True), st.sets(st.sampled_from("abcdefgh")))
def test_the_order_loses_no_target_and_keeps_the_owners_among_equals(targets, failing):
    order = health.in_order(targets, failing)

    assert sorted(order) == sorted(targets)
    assert order[0] == next((text for text in targets if text not in failing), targets[0])
    for group in (failing, set(targets) - failing):
        assert [t for t in order if t in group] == [t for t in targets if t in group]


@given(st.lists(st.sampled_from(sorted(FINDINGS)), min_size=1, max_size=4), st.booleans())
def test_the_worst_finding_decides(findings, seen_before):
    found = Reading(tuple(findings)).health(seen_before=seen_before)

    if findings != ["name_unknown"]:
        worst = {FINDINGS[finding][0] for finding in findings}
        assert found == next(one for one in (BAD, DIM, GOOD) if one in worst)


@pytest.mark.parametrize("finding", FINDINGS)
def test_every_finding_has_words_for_the_targets_owner(finding):
    said = health.words([finding], status=503)

    assert said.endswith(".")
    assert "{" not in said


def test_the_words_say_what_status_came():
    assert "503" in health.words(["server_error"], status=503)
    assert "no file for the example phone" in health.words(["no_example_file"], status=404)
    assert "your own network" in health.words(["name_unknown"], failing=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/$MA.xml", "/00562b043615.xml"),
        ("/$MAU", "/00562B043615"),
        ("/$MAC", "/00:56:2b:04:36:15"),
        ("/$(MA:6:6)/$(MA:0:6)", "/043615/00562b"),
        ("/$PN/$PSN", "/CP-8841-3PCC/8841-3PCC"),
        ("/$$MA", "/$MA"),
        ("/$MAX/$A", "/$MAX/$A"),
    ],
)
def test_macros_stand_for_the_example_phone(text, expected):
    assert examplephone.expand(text) == expected
