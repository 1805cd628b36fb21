import itertools

import pytest

from services.coordinator.domain.errors import IllegalTransition
from services.coordinator.domain.phase import PhaseState, advance, initial_state

S = PhaseState

LEGAL = {
    (S.TRAINING, S.EVALUATING),
    (S.EVALUATING, S.SCORING),
    (S.EVALUATING, S.COMPLETE),
    (S.SCORING, S.SELECTING),
    (S.SELECTING, S.ANNOTATING),
    (S.SELECTING, S.COMPLETE),
    (S.ANNOTATING, S.COMPLETE),
    *((state, S.FAILED) for state in S if state not in {S.COMPLETE, S.FAILED}),
}


@pytest.mark.parametrize(("from_state", "to_state"), list(itertools.product(S, S)))
def test_exactly_the_moves_of_the_design_are_legal(from_state: S, to_state: S) -> None:
    if (from_state, to_state) in LEGAL:
        assert advance(from_state, to_state) is to_state
    else:
        with pytest.raises(IllegalTransition):
            advance(from_state, to_state)


@pytest.mark.parametrize("to_state", S)
def test_a_failed_phase_resumes_only_in_the_step_that_failed(to_state: S) -> None:
    if to_state is S.SCORING:
        assert advance(S.FAILED, to_state, failed_in=S.SCORING) is to_state
    else:
        with pytest.raises(IllegalTransition, match="SCORING"):
            advance(S.FAILED, to_state, failed_in=S.SCORING)


def test_an_illegal_move_says_what_is_legal() -> None:
    with pytest.raises(IllegalTransition, match=r"TRAINING.*COMPLETE.*EVALUATING, FAILED"):
        advance(S.TRAINING, S.COMPLETE)
    with pytest.raises(IllegalTransition, match="has ended"):
        advance(S.COMPLETE, S.TRAINING)


def test_the_initial_query_trains_nothing() -> None:
    assert initial_state(0) is S.SELECTING
    assert initial_state(1) is S.TRAINING


def test_every_state_but_the_first_two_can_be_reached_from_training() -> None:
    reached = {S.TRAINING}
    while more := {to for at, to in LEGAL if at in reached} - reached:
        reached |= more
    assert reached == set(S)
