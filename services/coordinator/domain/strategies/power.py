"""Strategy POWER: a random draw in which uncertain frames have better odds.

The k most uncertain frames are often alike: neighbours in a clip are uncertain together. A draw
spreads the batch at no cost. Source: A. Kirsch, S. Farquhar, P. Atighehchian, A. Jesson,
F. Branchaud-Charron, Y. Gal, "Stochastic Batch Acquisition: A Simple Baseline for Deep Active
Learning", TMLR 2023, arXiv:2106.12059, "power acquisition".
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.coordinator.domain.acquisition import check_finite
from services.coordinator.domain.strategies.lots import chance

__all__ = ["power_values"]

_PURPOSE = "power"


def power_values(
    frame_ids: Sequence[str], values: NDArray[np.float64], *, power: float, seed: int
) -> NDArray[np.float64]:
    """Return values whose ranking is a draw without replacement, with odds values ** power.

    By the Gumbel-max trick: power * ln(value) + g, with g from Gumbel(0, 1) by lot, so that the
    first of the ranking is a frame with probability value ** power / sum of value ** power, the
    second the same among the rest, and so on. Power 0 is uniform; a large one tends to the ranking
    by value. Multiplying all values by a constant changes nothing.

    Args:
        frame_ids: [N] distinct ids, in any order.
        values: [N] finite; what is not above 0 comes after everything that is, in random order.
        power: At least 0; beta in the paper.
        seed: Of the phase.

    Returns:
        [N] finite, the higher the sooner drawn.

    Raises:
        NonFiniteScore: A value is NaN or infinite.
    """
    check_finite(frame_ids, values)
    lots = np.array([chance(seed, _PURPOSE, frame_id) for frame_id in frame_ids], np.float64)
    noise = -np.log(-np.log(lots))  # [N] Gumbel(0, 1)
    if power == 0:
        return noise
    positive = values > 0
    drawn: NDArray[np.float64] = power * np.log(np.where(positive, values, 1.0)) + noise
    if not positive.all():
        lowest = drawn[positive].min() if positive.any() else 0.0
        # Below every positive one, among themselves by noise.
        drawn[~positive] = lowest - 1.0 - (noise.max() - noise[~positive])
    return drawn
