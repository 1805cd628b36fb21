"""Strategy TOPK: the most uncertain frames, as in the source document."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.coordinator.domain.acquisition import rank_order

__all__ = ["ranking", "top_k"]


def ranking(frame_ids: Sequence[str], values: NDArray[np.float64]) -> tuple[str, ...]:
    """Return all frames by value, highest first, ties by frame id.

    Args:
        frame_ids: [N] distinct ids, in any order.
        values: [N] finite.

    Raises:
        NonFiniteScore: A value is NaN or infinite.
    """
    return tuple(frame_ids[position] for position in rank_order(frame_ids, values))


def top_k(frame_ids: Sequence[str], values: NDArray[np.float64], k: int) -> tuple[str, ...]:
    """Return the k frames of highest value, best first, ties by frame id.

    Args:
        frame_ids: [N] distinct ids, in any order.
        values: [N] finite.
        k: At least 0; more than N returns all.

    Raises:
        NonFiniteScore: A value is NaN or infinite.
    """
    order = rank_order(frame_ids, values)[:k]
    return tuple(frame_ids[position] for position in order)
