"""AUTO: which acquisition function a phase ranks by, learned from what earlier batches brought.

The source document tries every function in the first phases and keeps the best. Here the first
phases try each once, in an order by seed; then a bandit goes on. A function's reward in a phase is
how much the test IoU rose from its batch beyond what the campaign's learning curve leads to expect
of so many labels, so that trying early, when everything helps, is no advantage. The bandit is UCB1
(P. Auer, N. Cesa-Bianchi, P. Fischer, "Finite-time Analysis of the Multiarmed Bandit Problem",
Machine Learning 47, 2002) with rewards in units of their own spread, since IoU gains are small and
differ from data set to data set.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.learning_curve import CurvePoint, NoFit, fit_curve
from services.coordinator.domain.strategies import draw

__all__ = ["CANDIDATES", "ArmValue", "FunctionChoice", "Play", "choose_function"]

CANDIDATES: Final = (
    AcquisitionFunction.MFE,
    AcquisitionFunction.CFE,
    AcquisitionFunction.MI,
    AcquisitionFunction.STD,
)


@dataclass(frozen=True, slots=True)
class Play:
    """A phase as AUTO looks back at it.

    Attributes:
        function: That chose its batch; None when it chose nothing.
        labels: That its segmenter was trained on.
        test_iou: Of that segmenter; None when it was not measured.
    """

    function: AcquisitionFunction | None
    labels: int
    test_iou: float | None


@dataclass(frozen=True, slots=True)
class ArmValue:
    """A function as AUTO saw it when it chose.

    Attributes:
        function: The function.
        plays: Phases whose batch it has chosen before.
        gain: Mean gain in test IoU over what the learning curve led to expect; None before the
            first is measured.
        bound: What AUTO compared: `gain` plus what it may be wrong by; None while functions are
            tried for the first time.
    """

    function: AcquisitionFunction
    plays: int
    gain: float | None
    bound: float | None


@dataclass(frozen=True, slots=True)
class FunctionChoice:
    """The function of a phase, and every function as it was seen then."""

    function: AcquisitionFunction
    arms: tuple[ArmValue, ...]


def choose_function(plays: Sequence[Play], *, seed: int) -> FunctionChoice:
    """Return the function that a phase ranks by.

    Args:
        plays: The campaign's trained phases so far, in order; the last is the phase that chooses,
            measured but without a function yet.
        seed: Of the campaign.
    """
    gains = _gains(plays)
    counts = {f: sum(play.function is f for play in plays[:-1]) for f in CANDIDATES}
    order = draw(CANDIDATES, len(CANDIDATES), seed=seed, purpose="auto")
    ranked = [AcquisitionFunction(name) for name in order]
    means = {f: float(np.mean(gains[f])) if gains[f] else None for f in CANDIDATES}
    # Also a function whose only batch was never measured is tried again.
    untried = [f for f in ranked if means[f] is None]
    if untried:
        fewest = min(counts[f] for f in untried)
        function = next(f for f in untried if counts[f] == fewest)
        return FunctionChoice(
            function, tuple(ArmValue(f, counts[f], means[f], None) for f in CANDIDATES)
        )
    every = [gain for f in CANDIDATES for gain in gains[f]]
    spread = float(np.std(every))
    bounds = {
        f: float(np.mean(gains[f])) + spread * math.sqrt(2 * math.log(len(every)) / len(gains[f]))
        for f in CANDIDATES
    }
    return FunctionChoice(
        # The first of equals in the order of the first tries.
        max(ranked, key=lambda f: bounds[f]),
        tuple(ArmValue(f, counts[f], means[f], bounds[f]) for f in CANDIDATES),
    )


def _gains(plays: Sequence[Play]) -> dict[AcquisitionFunction, list[float]]:
    """Return what each function's batches brought beyond the learning curve, in order."""
    expected = _fitted(plays)
    gains: dict[AcquisitionFunction, list[float]] = {f: [] for f in CANDIDATES}
    for n, (play, after) in enumerate(pairwise(plays)):
        if play.function not in gains or play.test_iou is None or after.test_iou is None:
            continue
        rise = after.test_iou - play.test_iou
        gains[play.function].append(rise - (expected[n + 1] - expected[n]))
    return gains


def _fitted(plays: Sequence[Play]) -> list[float]:
    """Return the learning curve at each play's labels; a constant while none can be fitted."""
    fitted = fit_curve(
        [
            CurvePoint(play.labels, play.test_iou)
            for play in plays
            if play.test_iou is not None and play.labels
        ]
    )
    if isinstance(fitted, NoFit):
        return [0.0] * len(plays)
    return [fitted.iou(max(play.labels, 1)) for play in plays]
