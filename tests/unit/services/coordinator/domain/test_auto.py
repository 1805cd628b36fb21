import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.auto import CANDIDATES, FunctionChoice, Play, choose_function

MFE, CFE, MI, STD = CANDIDATES


def curve(labels: int) -> float:
    return 0.9 - 1.5 / math.sqrt(labels)


def campaign(
    gains: dict[AcquisitionFunction, float], phases: int, *, seed: int = 3
) -> list[FunctionChoice]:
    """Choices of a campaign in which each function brings its gain beyond the curve."""
    plays = [Play(None, 40, curve(40))]
    extra, choices = 0.0, []
    for phase in range(phases):
        choice = choose_function(plays, seed=seed)
        choices.append(choice)
        plays[-1] = replace(plays[-1], function=choice.function)
        labels = 90 + 50 * phase
        extra += gains[choice.function]
        plays.append(Play(None, labels, curve(labels) + extra))
    return choices


@given(st.integers())
def test_each_function_is_tried_once_in_an_order_by_seed(seed: int) -> None:
    first = campaign(dict.fromkeys(CANDIDATES, 0.0), 4, seed=seed)
    assert {choice.function for choice in first} == set(CANDIDATES)
    assert [choice.arms[0].bound for choice in first] == [None] * 4
    assert first == campaign(dict.fromkeys(CANDIDATES, 0.0), 4, seed=seed)


def test_different_seeds_begin_differently() -> None:
    starts = {choose_function([Play(None, 40, 0.6)], seed=seed).function for seed in range(40)}
    assert starts == set(CANDIDATES)


@pytest.mark.parametrize("best", CANDIDATES)
def test_the_function_that_helps_most_is_followed(best: AcquisitionFunction) -> None:
    gains = {f: 0.01 if f is best else -0.002 for f in CANDIDATES}
    later = [choice.function for choice in campaign(gains, 24)[4:]]
    assert later.count(best) > len(later) / 2
    assert max(set(later), key=later.count) is best


def test_being_tried_early_is_no_advantage() -> None:
    # All help alike, but the curve is steep at first: what is left of the gain is small.
    choice = campaign(dict.fromkeys(CANDIDATES, 0.0), 9)[-1]
    assert all(arm.gain is not None and abs(arm.gain) < 0.01 for arm in choice.arms)


def test_what_each_choice_was_made_from_is_told() -> None:
    choice = campaign({MFE: 0.01, CFE: 0.0, MI: 0.0, STD: 0.0}, 5)[-1]
    assert [arm.function for arm in choice.arms] == list(CANDIDATES)
    assert [arm.plays for arm in choice.arms] == [1, 1, 1, 1]
    bounds = {arm.function: arm.bound for arm in choice.arms}
    assert all(arm.bound is not None and arm.gain is not None for arm in choice.arms)
    assert bounds[choice.function] == max(bound for bound in bounds.values() if bound is not None)
    assert choice.function is MFE


def test_a_function_whose_batch_was_never_measured_is_tried_again() -> None:
    plays = [Play(f, 40 + 50 * n, 0.6 + n / 100) for n, f in enumerate(CANDIDATES)]
    plays += [Play(None, 240, None), Play(None, 240, 0.7)]
    choice = choose_function(plays, seed=1)
    assert choice.function is STD
    assert [arm.gain is None for arm in choice.arms] == [False, False, False, True]


@given(
    st.lists(
        st.tuples(st.sampled_from(CANDIDATES), st.integers(1, 5000), st.floats(0, 1)), max_size=12
    ),
    st.integers(),
)
def test_any_history_gives_a_choice(
    past: list[tuple[AcquisitionFunction, int, float]], seed: int
) -> None:
    plays = [Play(*play) for play in past]
    choice = choose_function([*plays, Play(None, 6000, 0.5)], seed=seed)
    assert choice.function in CANDIDATES
    assert choice == choose_function([*plays, Play(None, 6000, 0.5)], seed=seed)
