"""A learning curve: test IoU over labels, fitted as a power law; or why there is none.

See `power_law` for the form and its sources.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from services.coordinator.domain.errors import InvalidArgument
from services.coordinator.domain.power_law import (
    FIT_GRID,
    PRIOR_LOG_EXPONENT,
    Floats,
    PowerLaws,
    Problem,
    solve,
)

__all__ = ["CurvePoint", "FitProblem", "LearningCurve", "NoFit", "fit_curve", "point_weights"]

_HUBER: Final = 1.345
"""Huber's constant: 95 % as efficient as least squares where the noise is normal."""

_ROUNDS: Final = 4

PRIOR_NOISE: Final = 0.006
"""Two trainings on the same labels differ by about so much test IoU. With few points it is all
that is known of the noise; it counts as much as two further points."""

PRIOR_POINTS: Final = 2

_PARAMETERS: Final = 3
_FLAT: Final = 1e-6
_FLAT_BELIEVED: Final = 4
"""So many points in a row without gain are a plateau; fewer may be noise."""


class FitProblem(StrEnum):
    """Why a learning curve or what follows from it cannot be said."""

    TOO_FEW_POINTS = "too_few_points"
    NOT_RISING = "not_rising"
    NO_TARGET = "no_target"
    NO_CONTROL = "no_control"


@dataclass(frozen=True, slots=True)
class NoFit:
    """Nothing can be said, and why.

    Attributes:
        problem: Machine-readable.
        message: Public: what is missing and what would help.
    """

    problem: FitProblem
    message: str


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A measured segmenter.

    Attributes:
        labels: It was trained on, at least 1.
        iou: Its test IoU, 0..1.

    Raises:
        InvalidArgument: A value is outside its range.
    """

    labels: int
    iou: float

    def __post_init__(self) -> None:
        if self.labels < 1:
            raise InvalidArgument(f"A point has {self.labels} labels; it must be at least 1.")
        if not (math.isfinite(self.iou) and 0 <= self.iou <= 1):
            raise InvalidArgument(f"A point has IoU {self.iou}; it must be 0 to 1.")


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """IoU(n) = plateau - drop * (n / anchor) ** -exponent, through measured points.

    Attributes:
        plateau: What it tends to with ever more labels, 0..1.
        drop: Distance from the plateau at the anchor, at least 0: the curve never falls.
        exponent: 0.1 to 2.5.
        anchor: Fewest labels of a point.
        noise: Standard deviation of a point of weight 1 about the curve.
        points: As given.
        weights: How much each point counts, by its labels and by how well it agrees with the rest.
    """

    plateau: float
    drop: float
    exponent: float
    anchor: float
    noise: float
    points: tuple[CurvePoint, ...]
    weights: tuple[float, ...]

    @property
    def scale(self) -> float:
        """The b of a - b n**-c."""
        return float(self.drop * self.anchor**self.exponent)

    @property
    def degrees(self) -> int:
        """Degrees of freedom that the noise is known with, the prior's included."""
        return PRIOR_POINTS + max(len(self.points) - _PARAMETERS, 0)

    def iou(self, labels: float) -> float:
        """Return the curve's test IoU at a number of labels greater than 0."""
        return float(self._laws().iou(np.asarray([labels], dtype=np.float64))[0, 0])

    def labels_for(self, iou: float) -> float:
        """Return the labels that reach an IoU; infinite where the plateau is lower."""
        return float(self._laws().labels_for(iou)[0])

    def _laws(self) -> PowerLaws:
        return PowerLaws(
            np.asarray([self.plateau]),
            np.asarray([self.drop]),
            np.asarray([self.exponent]),
            self.anchor,
        )


def point_weights(labels: Floats) -> Floats:
    """Return how much points count by their labels, 1 on average.

    Later points count more, as in Figueroa et al.: trainings on few labels scatter more, and below
    some size no power law holds yet. They weigh by the index of the point; we by the square root of
    the labels, between that and equal weights, since the noise may have either shape.

    Args:
        labels: [N] greater than 0.
    """
    weights = np.sqrt(labels)
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def fit_curve(points: Sequence[CurvePoint]) -> LearningCurve | NoFit:
    """Fit a learning curve by robust least squares (Huber).

    Args:
        points: In any order; one that disagrees with all others loses its influence.
    """
    labels = np.asarray([point.labels for point in points], dtype=np.float64)
    if len(np.unique(labels)) < 2:  # noqa: PLR2004  # a curve needs two places
        return NoFit(
            FitProblem.TOO_FEW_POINTS,
            "A learning curve needs segmenters measured at two numbers of labels or more. Wait for "
            "the next phase.",
        )
    ious = np.asarray([point.iou for point in points], dtype=np.float64)
    by_labels = point_weights(labels)
    weights, noise = by_labels, PRIOR_NOISE
    prior = np.asarray([PRIOR_LOG_EXPONENT])
    for _ in range(_ROUNDS):
        problem = Problem(labels, ious[None, :], weights[None, :] / noise**2, prior)
        laws = solve(problem, grid=FIT_GRID)
        off = np.abs(ious - laws.iou(labels)[0]) * np.sqrt(by_labels) / noise  # [N]
        influence = np.minimum(1.0, _HUBER / np.maximum(off, _HUBER))
        weights = by_labels * influence
        squares = PRIOR_POINTS * PRIOR_NOISE**2 + float((influence * off**2).sum()) * noise**2
        noise = math.sqrt(squares / (PRIOR_POINTS + max(len(points) - _PARAMETERS, 0)))
    if laws.drop[0] < _FLAT and len(points) < _FLAT_BELIEVED:
        return NoFit(
            FitProblem.NOT_RISING,
            "The test IoU did not rise with the labels so far, and so few phases do not tell a "
            "plateau from chance. Wait for the next phase.",
        )
    return LearningCurve(
        plateau=float(laws.plateau[0]),
        drop=float(laws.drop[0]),
        exponent=float(laws.exponent[0]),
        anchor=laws.anchor,
        noise=noise,
        points=tuple(points),
        weights=tuple(float(weight) for weight in weights),
    )
