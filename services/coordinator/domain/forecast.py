"""How many labels reach the target test IoU."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.coordinator.domain.curve_draws import DRAWS, FrameIous, draw_curves, draw_shifts
from services.coordinator.domain.estimate import Estimate
from services.coordinator.domain.learning_curve import LearningCurve
from services.coordinator.domain.power_law import PowerLaws
from services.coordinator.domain.seeds import derive_seed

__all__ = ["FittedPoint", "LabelForecast", "forecast_labels", "trace"]

_TRACED: Final = 48
_WIDEST: Final = 4.0
_BEYOND: Final = 1.5


@dataclass(frozen=True, slots=True)
class FittedPoint:
    """A place on a fitted curve, for drawing."""

    labels: float
    iou: Estimate


@dataclass(frozen=True, slots=True)
class LabelForecast:
    """What the learning curve says of the labels still to come.

    Attributes:
        plateau: Test IoU that it tends to with ever more labels.
        reachable: Share of the drawn curves that reach the target; None without a target.
        labels: Labels in all that reach the target, those present included. None without a target,
            and when most drawn curves never reach it: then the plateau is the answer. Its upper end
            is infinite when more than a twentieth of them do not.
        curve: By labels.
    """

    plateau: Estimate
    reachable: float | None
    labels: Estimate | None
    curve: tuple[FittedPoint, ...]

    def batches(self, labeled: int, query_size: int) -> Estimate | None:
        """Return how many more query batches that is; None where `labels` is.

        Args:
            labeled: Labels present.
            query_size: Frames of a batch, at least 1.
        """
        if self.labels is None:
            return None

        def of(labels: float) -> float:
            if math.isinf(labels):
                return labels
            return float(max(math.ceil((labels - labeled) / query_size), 0))

        return Estimate(of(self.labels.median), of(self.labels.low), of(self.labels.high))


def forecast_labels(
    curve: LearningCurve,
    target_iou: float | None,
    *,
    measures: FrameIous | None,
    seed: int,
    draws: int = DRAWS,
) -> LabelForecast:
    """Return what a fitted curve says, with intervals.

    Args:
        curve: Of the campaign's segmenters.
        target_iou: In (0, 1]; None for a campaign without target.
        measures: Test IoU by frame of the curve's points, in their order; without them the interval
            leaves out what other test patients would change.
        seed: Of the draws: the same question has the same answer.
        draws: How many curves.
    """
    rng = np.random.default_rng(derive_seed(seed, "forecast"))
    laws = draw_curves(curve, draw_shifts(measures, len(curve.points), rng, draws=draws), rng)
    labels, reachable = None, None
    if target_iou is not None:
        needed = laws.labels_for(target_iou)
        reachable = float(np.isfinite(needed).mean())
        estimate = Estimate.of(needed)
        labels = estimate if math.isfinite(estimate.median) else None
    return LabelForecast(
        plateau=Estimate.of(laws.plateau),
        reachable=reachable,
        labels=labels,
        curve=trace(laws, curve, until=0.0 if labels is None else labels.median),
    )


def trace(laws: PowerLaws, curve: LearningCurve, *, until: float) -> tuple[FittedPoint, ...]:
    """Return a band through drawn curves.

    Args:
        laws: Drawn about `curve`.
        curve: Its points say where the band begins, and where it ends at least.
        until: Labels that it shall show, within four times those measured.
    """
    last = max(point.labels for point in curve.points)
    end = max(_BEYOND * last, min(1.1 * until, _WIDEST * last))
    labels = np.geomspace(laws.anchor, end, _TRACED)
    ious = laws.iou(labels)
    return tuple(
        FittedPoint(float(at), Estimate.of(ious[:, place])) for place, at in enumerate(labels)
    )
