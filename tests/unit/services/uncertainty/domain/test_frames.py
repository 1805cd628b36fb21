"""Scores of a frame."""

import numpy as np
import pytest

from services.uncertainty.domain.frames import NonFiniteScores, Scores


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", range(4))
def test_scores_that_are_not_finite_are_refused_with_the_frame_id(
    bad: float, position: int
) -> None:
    values = np.ones(4, np.float32)
    values[position] = bad
    with pytest.raises(NonFiniteScores, match="frame f7"):
        Scores.of("f7", values, 64)


def test_scores_come_in_the_order_of_the_contract() -> None:
    scores = Scores.of("f", np.array([4, 3, 1, 2], np.float32), 64)
    assert (scores.mfe, scores.cfe, scores.mi, scores.std, scores.pixels) == (4, 3, 1, 2, 64)
