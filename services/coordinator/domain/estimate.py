"""A number with its interval, from draws of it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVEL", "Estimate"]

LEVEL = 0.9
"""Probability that an interval is meant to cover."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Median, 5th and 95th percentile; infinite where draws have no bound."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: NDArray[np.float64]) -> "Estimate":
        """Return the percentiles of draws, each of them a value that was drawn.

        Args:
            draws: [R] of one number; infinite values are ordered like the others.
        """
        tail = (1 - LEVEL) / 2
        # No interpolation: between a number and infinity there is nothing.
        low, median, high = np.quantile(draws, [tail, 0.5, 1 - tail], method="inverted_cdf")
        return cls(float(median), float(low), float(high))

    @property
    def bounded(self) -> bool:
        """Whether the interval ends."""
        return math.isfinite(self.high)
