"""How many labels the choice of frames has saved, measured against random choice.

The control segmenters of a campaign are trained on randomly chosen labels only, so their test IoU
over their labels is the learning curve of random choice, measured inside the same campaign on the
same test frames. Two numbers follow:

- *measured*: at the test IoU of the largest control set, both curves are measured. It rests on
  nothing else.
- *newest*: at the newest segmenter's test IoU, which no control segmenter has reached, as it has
  a fraction of the labels. For that, one curve of random choice is fitted to both arms: the initial
  labels are random, and each later label of the campaign counts for so many random ones as makes
  the campaign's points fall on the curve. It rests on that form; docs/label-savings.md says how it
  does on campaigns that keep to other forms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.coordinator.domain.curve_draws import (
    FrameIous,
    draw_curves,
    draw_shifts,
    draw_worth,
)
from services.coordinator.domain.estimate import Estimate
from services.coordinator.domain.forecast import FittedPoint, trace
from services.coordinator.domain.learning_curve import (
    CurvePoint,
    FitProblem,
    LearningCurve,
    NoFit,
    fit_curve,
)
from services.coordinator.domain.power_law import Floats
from services.coordinator.domain.seeds import derive_seed

__all__ = ["LabelSavings", "Saving", "measure_savings"]

SAVINGS_DRAWS: Final = 400
"""Fewer than for a forecast: each takes two hundred times as long."""

_FEWEST: Final = 3
_LOWEST_SHARE: Final = -9.0
"""Ten times the labels of random choice, or more: worse than that says nothing new."""


@dataclass(frozen=True, slots=True)
class Saving:
    """Labels saved at one test IoU.

    Attributes:
        iou: Where both are compared.
        share: 1 - labels of the campaign / labels of random choice. 1 where random choice never
            gets there, negative where it needs fewer, -9 at the lowest.
        active_labels: Labels with which the campaign reaches it.
        random_labels: Labels with which random choice reaches it.
    """

    iou: float
    share: Estimate
    active_labels: Estimate
    random_labels: Estimate


@dataclass(frozen=True, slots=True)
class LabelSavings:
    """What the control arm shows.

    Attributes:
        newest: At the newest segmenter's test IoU, with all of its labels.
        measured: At the test IoU of the largest control set.
        control_labels: That set's size.
        extrapolated: Whether `newest` lies beyond it.
        curve: Of random choice, by labels.
    """

    newest: Saving
    measured: Saving
    control_labels: int
    extrapolated: bool
    curve: tuple[FittedPoint, ...]


def measure_savings(
    active: LearningCurve,
    control: Sequence[CurvePoint],
    *,
    measures: FrameIous | None,
    seed: int,
    draws: int = SAVINGS_DRAWS,
) -> LabelSavings | NoFit:
    """Compare a campaign with random choice.

    Args:
        active: Curve of the campaign's segmenters, whose labels include those of the control arm.
        control: Its control segmenters.
        measures: Test IoU by frame of the active points, then of the control points, on the same
            frames: differences count, what the test patients have in common does not.
        seed: Of the draws.
        draws: How many pairs of curves.
    """
    sizes = {point.labels for point in control}
    if len(sizes) < _FEWEST:
        return NoFit(
            FitProblem.NO_CONTROL,
            f"They need control segmenters measured at {_FEWEST} numbers of random labels; there "
            f"are {len(sizes)}. Wait for the next phases."
            if sizes
            else "They are measured where a campaign is created with a control share above 0.",
        )
    random = fit_curve(control)
    if isinstance(random, NoFit):
        return random
    rng = np.random.default_rng(derive_seed(seed, "savings"))
    shifts = draw_shifts(measures, len(active.points) + len(control), rng, draws=draws)
    of_active, of_random = shifts[:, : len(active.points)], shifts[:, len(active.points) :]
    newest = float(max(point.labels for point in active.points))
    largest = np.asarray([max(sizes)], dtype=np.float64)

    alone = draw_curves(active, of_active, rng)
    beside = draw_curves(random, of_random, rng)
    reached = beside.iou(largest)[:, 0]  # [R]
    # Below the first batch the campaign has chosen nothing yet.
    sooner = np.maximum(alone.labels_for(reached), active.anchor)
    measured = _saving(reached, sooner, np.full_like(sooner, largest[0]))

    laws, worth = draw_worth(active, random, (of_active, of_random), rng)
    equal = worth.of(newest)
    now = laws.iou_each(equal)
    saved = _saving(now, np.full_like(equal, newest), equal)
    return LabelSavings(
        newest=saved,
        measured=measured,
        control_labels=int(largest[0]),
        extrapolated=saved.random_labels.median > largest[0],
        curve=trace(laws, random, until=saved.random_labels.median),
    )


def _saving(iou: Floats, active: Floats, random: Floats) -> Saving:
    # An active curve that never gets there counts as the worst, a random one as the best.
    share = np.where(np.isinf(active), _LOWEST_SHARE, 1 - active / random)
    return Saving(
        iou=float(np.median(iou)),
        share=Estimate.of(np.maximum(share, _LOWEST_SHARE)),
        active_labels=Estimate.of(active),
        random_labels=Estimate.of(random),
    )
