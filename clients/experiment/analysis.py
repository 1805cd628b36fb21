"""What learning curves say about labels: means, areas, and labels to reach an accuracy.

Pure: numbers in, numbers out. A curve is measured once for every seed, and strategies share their
seeds, and with a seed the initial labels: comparisons are paired.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.platform.errors import InvalidInputError

__all__ = [
    "Area",
    "Bound",
    "Curve",
    "CurveSet",
    "Ratio",
    "Reach",
    "area",
    "labels_to_reach",
    "mean_curve",
    "ratio",
]

_MOST_EXACT_SEEDS: Final = 5
_RESAMPLES: Final = 4000
_INTERVAL: Final = (5.0, 95.0)


class Bound(StrEnum):
    """What a number of labels is."""

    EXACT = "exact"
    AT_MOST = "at_most"
    """The first measurement is there already."""
    ABOVE = "above"
    """The last measurement is not there yet."""
    UNKNOWN = "unknown"
    """Both numbers that were compared are above the budget, or both at the first measurement."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One campaign.

    Attributes:
        labels: [P] label counts, strictly ascending.
        iou: [P] test IoU of the segmenter trained on so many labels, 0 to 1.

    Raises:
        InvalidInputError: Empty, of different lengths, not ascending, or not finite.
    """

    labels: tuple[int, ...]
    iou: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.labels or len(self.labels) != len(self.iou):
            raise InvalidInputError("A learning curve needs as many measurements as label counts.")
        if any(later <= earlier for earlier, later in itertools.pairwise(self.labels)):
            raise InvalidInputError("The label counts of a learning curve must ascend.")
        if not np.isfinite(self.iou).all():
            raise InvalidInputError("A learning curve holds a number that is not finite.")


CurveSet = Mapping[int, Curve]
"""The curves of one strategy by seed."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Labels at which a curve reaches an accuracy.

    Attributes:
        labels: Interpolated linearly between measurements; the first or last label count where the
            crossing lies outside of what was measured.
        bound: How to read that number.
    """

    labels: float
    bound: Bound = Bound.EXACT


@dataclass(frozen=True, slots=True)
class Ratio:
    """Labels of a strategy as a multiple of those of a baseline.

    Attributes:
        value: Of the means over seeds.
        low: 5th percentile over resampled seeds.
        high: 95th percentile.
        bound: AT_MOST when the baseline never got there, ABOVE when the strategy did not.
    """

    value: float
    low: float
    high: float
    bound: Bound


@dataclass(frozen=True, slots=True)
class Area:
    """Height of a learning curve over its whole length.

    Attributes:
        mean: Mean over seeds of the mean test IoU over the label axis.
        sd: Sample standard deviation over seeds; None with one seed.
        gain: Mean over seeds of the difference to the baseline of the same seed; None without one.
        gain_sd: Sample standard deviation of that difference; None with one seed.
    """

    mean: float
    sd: float | None
    gain: float | None
    gain_sd: float | None


def mean_curve(
    curves: CurveSet,
) -> tuple[tuple[int, ...], NDArray[np.float64], NDArray[np.float64] | None]:
    """Return label counts, mean over seeds [P] and sample standard deviation [P].

    Only label counts that every seed has measured are kept. With one seed there is no deviation.

    Raises:
        InvalidInputError: There is no curve, or none in common.
    """
    if not curves:
        raise InvalidInputError("There is no curve to average.")
    shared = sorted(set.intersection(*(set(curve.labels) for curve in curves.values())))
    if not shared:
        raise InvalidInputError("The curves have no label count in common.")
    values = np.array(
        [
            [curve.iou[curve.labels.index(count)] for count in shared]
            for _, curve in sorted(curves.items())
        ]
    )  # [seeds, P]
    deviation = values.std(axis=0, ddof=1) if len(values) > 1 else None
    return tuple(shared), values.mean(axis=0), deviation


def labels_to_reach(curve: Curve, target_iou: float) -> Reach:
    """Return where a curve first reaches an accuracy.

    A curve that falls below the target again has still reached it: a user would have stopped there.

    Args:
        curve: Of one campaign.
        target_iou: 0 to 1.
    """
    if curve.iou[0] >= target_iou:
        return Reach(float(curve.labels[0]), Bound.AT_MOST)
    points = list(zip(curve.labels, curve.iou, strict=True))
    for (labels, iou), (next_labels, next_iou) in itertools.pairwise(points):
        if next_iou >= target_iou:
            share = (target_iou - iou) / (next_iou - iou)
            return Reach(labels + share * (next_labels - labels))
    return Reach(float(curve.labels[-1]), Bound.ABOVE)


def ratio(curves: CurveSet, baseline: CurveSet, target_iou: float) -> Ratio:
    """Compare the labels that two strategies need, over the seeds that both have.

    The interval comes from resampling seeds in pairs (Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 6): every multiset of seeds where there are few, else 4,000 draws. It
    says how much the answer depends on the seeds, and with three of them it says little more.

    Args:
        curves: Of the strategy.
        baseline: Of what it is compared with.
        target_iou: 0 to 1.

    Raises:
        InvalidInputError: They share no seed.
    """
    seeds = sorted(set(curves) & set(baseline))
    if not seeds:
        raise InvalidInputError("The strategies were not run with a seed in common.")
    ours = [labels_to_reach(curves[seed], target_iou) for seed in seeds]
    theirs = [labels_to_reach(baseline[seed], target_iou) for seed in seeds]
    mine = np.array([reach.labels for reach in ours])
    other = np.array([reach.labels for reach in theirs])
    draws = _resamples(len(seeds))  # [draws, seeds]
    ratios = mine[draws].mean(axis=1) / other[draws].mean(axis=1)
    low, high = np.percentile(ratios, _INTERVAL)
    return Ratio(
        float(mine.mean() / other.mean()), float(low), float(high), _ratio_bound(ours, theirs)
    )


def area(curves: CurveSet, baseline: CurveSet | None = None) -> Area:
    """Return the mean height of the curves, and how far it lies above a baseline's.

    Args:
        curves: Of the strategy.
        baseline: Compared seed by seed.

    Raises:
        InvalidInputError: There is no curve.
    """
    if not curves:
        raise InvalidInputError("There is no curve to measure.")
    heights = np.array([_height(curve) for _, curve in sorted(curves.items())])
    gain = gain_sd = None
    seeds = sorted(set(curves) & set(baseline or {}))
    if baseline is not None and seeds:
        gains = np.array([_height(curves[seed]) - _height(baseline[seed]) for seed in seeds])
        gain = float(gains.mean())
        gain_sd = float(gains.std(ddof=1)) if len(gains) > 1 else None
    return Area(
        float(heights.mean()),
        float(heights.std(ddof=1)) if len(heights) > 1 else None,
        gain,
        gain_sd,
    )


def _height(curve: Curve) -> float:
    if len(curve.labels) == 1:
        return curve.iou[0]
    span = curve.labels[-1] - curve.labels[0]
    return float(np.trapezoid(curve.iou, curve.labels) / span)


def _resamples(n: int) -> NDArray[np.intp]:
    """Return positions of seeds, drawn with replacement: all draws where they are few."""
    if n <= _MOST_EXACT_SEEDS:
        return np.array(list(itertools.product(range(n), repeat=n)), dtype=np.intp)
    return np.random.default_rng(0).integers(n, size=(_RESAMPLES, n)).astype(np.intp)


def _ratio_bound(ours: Sequence[Reach], theirs: Sequence[Reach]) -> Bound:
    """Return what is known of a ratio of means, some of which are bounds themselves."""
    above = _has(ours, Bound.ABOVE) or _has(theirs, Bound.AT_MOST)
    at_most = _has(theirs, Bound.ABOVE) or _has(ours, Bound.AT_MOST)
    if above and at_most:
        return Bound.UNKNOWN
    if above:
        return Bound.ABOVE
    return Bound.AT_MOST if at_most else Bound.EXACT


def _has(reaches: Sequence[Reach], bound: Bound) -> bool:
    return any(reach.bound is bound for reach in reaches)
