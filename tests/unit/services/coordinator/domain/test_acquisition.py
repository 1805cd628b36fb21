import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.domain.acquisition import (
    AcquisitionFunction,
    FrameFailure,
    FrameScores,
    Scores,
    rank_order,
)
from services.coordinator.domain.errors import NonFiniteScore

SCORES = Scores(mfe=4.0, cfe=3.0, mi=1.0, std=0.5, pixels=16)


def test_each_function_reads_its_own_score() -> None:
    values = [SCORES.value(function) for function in AcquisitionFunction.ranking()]
    assert values == [4.0, 3.0, 1.0, 0.5]


def test_only_random_choice_needs_no_scores() -> None:
    needless = [function for function in AcquisitionFunction if not function.needs_scores]
    assert needless == [AcquisitionFunction.RANDOM]


@pytest.mark.parametrize("function", [AcquisitionFunction.RANDOM, AcquisitionFunction.AUTO])
def test_what_is_no_score_has_no_value(function: AcquisitionFunction) -> None:
    with pytest.raises(ValueError, match=function.value):
        SCORES.value(function)


@pytest.mark.parametrize("field", ["mfe", "cfe", "mi", "std"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused_with_its_frame(field: str, value: float) -> None:
    scores = {"mfe": 1.0, "cfe": 1.0, "mi": 1.0, "std": 1.0, field: value}
    with pytest.raises(NonFiniteScore, match="frame-7"):
        FrameScores("frame-7", scores=Scores(**scores, pixels=1))


def test_huge_scores_whose_sum_overflows_are_finite() -> None:
    FrameScores("frame", scores=Scores(mfe=1e308, cfe=1e308, mi=1e308, std=1e308, pixels=1))


def test_an_outcome_is_scores_or_a_failure() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        FrameScores("frame")
    with pytest.raises(ValueError, match="exactly one"):
        FrameScores("frame", scores=SCORES, failure=FrameFailure("X", "y"))


def test_ranking_refuses_values_that_are_not_finite() -> None:
    with pytest.raises(NonFiniteScore, match="frame b"):
        rank_order(["a", "b"], np.array([1.0, np.nan]))


@given(
    st.dictionaries(
        st.text("0123456789abcdef", min_size=1, max_size=6),
        st.sampled_from([0.0, -0.0, 1.0, 2.5, 1e300]),
        min_size=1,
    ),
    st.randoms(),
)
def test_ranking_is_by_value_then_id_in_whatever_order_frames_come(
    values: dict[str, float], random: object
) -> None:
    ids = list(values)
    random.shuffle(ids)  # type: ignore[attr-defined]
    order = rank_order(ids, np.array([values[id] for id in ids]))
    assert [ids[i] for i in order] == sorted(ids, key=lambda id: (-values[id], id))
