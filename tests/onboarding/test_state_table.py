"""The customization states' whole matrix, spelled out from the design's section 4 and not from the code."""

import pytest

from onboarding.states import REPORTABLE_EVENTS, TRANSITIONS, CustomizationState, Event, Step, after

STATES = ["open", "pending", "custom_pending", "acquired", "unavailable", "aborted"]
ILLEGAL = "illegal"
RESET = "reset, then pending"

MATRIX = {
    "asked": ["pending", "pending", "pending", RESET, "pending", RESET],
    "answered": [ILLEGAL, "custom_pending", "custom_pending", ILLEGAL, ILLEGAL, ILLEGAL],
    "not_found": [ILLEGAL, "unavailable", ILLEGAL, ILLEGAL, "unavailable", ILLEGAL],
    "acquired": [ILLEGAL, ILLEGAL, "acquired", "acquired", ILLEGAL, ILLEGAL],
    "dhcp_provisioned": ["aborted", "aborted", "aborted", "acquired", "aborted", "aborted"],
    "manually_provisioned": ["aborted", "aborted", "aborted", "acquired", "aborted", "aborted"],
    "factory_reset": ["open", "open", "open", "open", "open", "open"],
    "resync_failed": ["open", "pending", "custom_pending", "acquired", "unavailable", "aborted"],
}
CELLS = [(state, event, cell) for event, row in MATRIX.items() for state, cell in zip(STATES, row, strict=True)]


def test_the_matrix_is_whole():
    assert [state.value for state in CustomizationState] == STATES
    assert [event.value for event in Event] == list(MATRIX)
    assert len(CELLS) == 48
    assert len(TRANSITIONS) == 48 - sum(cell == ILLEGAL for _, _, cell in CELLS)


@pytest.mark.parametrize(("state", "event", "cell"), CELLS)
def test_each_event_does_to_each_state_what_the_design_says(state, event, cell):
    step = after(CustomizationState(state), Event(event))

    if cell == ILLEGAL:
        assert step is None
    else:
        assert step == (Step(CustomizationState.PENDING, True) if cell == RESET else Step(CustomizationState(cell)))


def test_acquired_and_aborted_are_left_by_a_reset_only():
    for state in (CustomizationState.ACQUIRED, CustomizationState.ABORTED):
        for event in Event:
            step = after(state, event)
            if step is not None and step.state != state:
                assert event == Event.FACTORY_RESET or step.after_reset


def test_only_a_door_can_see_a_query_and_its_answer():
    assert {event.value for event in Event} - {event.value for event in REPORTABLE_EVENTS} == {
        "asked",
        "answered",
        "not_found",
    }


@pytest.mark.parametrize(
    ("state", "label"),
    [("custom_pending", "Custom Pending"), ("open", "Open"), ("aborted", "Aborted")],
)
def test_states_are_labeled_as_the_vendor_spells_them(state, label):
    assert CustomizationState(state).label == label
