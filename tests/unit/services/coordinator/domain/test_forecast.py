"""The forecast: its interval covers, and it never promises what the curve does not hold."""

import math

import numpy as np
import pytest

from services.coordinator.domain.forecast import LabelForecast, forecast_labels
from services.coordinator.domain.learning_curve import CurvePoint, LearningCurve, fit_curve
from tests.unit.services.coordinator.domain.simulated_campaigns import (
    Truth,
    batches,
    by_frame,
    measure,
    points,
    some_truth,
)

DRAWS = 300


def fitted(given: list[CurvePoint]) -> LearningCurve:
    curve = fit_curve(given)
    assert isinstance(curve, LearningCurve)
    return curve


def forecast(
    truth: Truth, *, phases: int = 8, noise: float = 0.004, target: float | None = None
) -> LabelForecast:
    labels = batches(phases)
    ious = measure(truth.iou(labels), noise, np.random.default_rng(1))
    return forecast_labels(fitted(points(labels, ious)), target, measures=None, seed=1)


@pytest.mark.parametrize(("phases", "noise"), [(4, 0.012), (8, 0.006), (15, 0.01)])
def test_the_interval_covers_the_truth_in_about_nine_of_ten_campaigns(
    phases: int, noise: float
) -> None:
    rng = np.random.default_rng(11)
    labels = batches(phases)
    covered, campaigns = 0, 120
    for number in range(campaigns):
        truth = some_truth(rng)
        target = float(truth.iou(labels[-1:] * rng.uniform(1.2, 3))[0])
        curve = fitted(points(labels, measure(truth.iou(labels), noise, rng)))
        found = forecast_labels(curve, target, measures=None, seed=number, draws=DRAWS)
        if found.labels is None:
            # "Not reached in the median" is wrong only if hardly any curve reaches it.
            assert found.reachable is not None
            covered += found.reachable >= 0.05
        else:
            covered += found.labels.low <= truth.labels_for(target) <= found.labels.high
    assert 0.84 <= covered / campaigns <= 0.99


def test_other_test_patients_are_part_of_the_interval() -> None:
    rng = np.random.default_rng(12)
    labels = batches(10)
    covered = {True: 0, False: 0}
    campaigns = 80
    for number in range(campaigns):
        truth = some_truth(rng)
        measures = by_frame(measure(truth.iou(labels), 0.003, rng), 0.08, rng)
        curve = fitted(points(labels, np.clip(measures.ious.mean(axis=1), 0, 1)))
        for with_frames in covered:
            found = forecast_labels(
                curve,
                None,
                measures=measures if with_frames else None,
                seed=number,
                draws=DRAWS,
            )
            last = found.curve[np.argmin([abs(at.labels - labels[-1]) for at in found.curve])]
            true = float(truth.iou(np.asarray([last.labels]))[0])
            covered[with_frames] += last.iou.low <= true <= last.iou.high
    assert covered[True] / campaigns >= 0.84
    assert covered[False] / campaigns <= 0.6


def test_a_target_above_the_plateau_is_not_reachable_and_gives_no_number() -> None:
    truth = Truth(plateau=0.84, drop=0.15, exponent=1.3)
    found = forecast(truth, phases=12, noise=0.002, target=0.9)
    assert found.labels is None
    assert found.batches(600, 50) is None
    assert found.reachable is not None
    assert found.reachable < 0.05
    assert found.plateau.high < 0.9


def test_a_target_within_reach_has_a_bounded_answer_in_batches_too() -> None:
    truth = Truth(plateau=0.9, drop=0.15, exponent=1.0)
    target = float(truth.iou(np.asarray([600.0]))[0])
    found = forecast(truth, phases=10, noise=0.001, target=target)
    assert found.labels is not None
    assert found.labels.low <= 600 <= found.labels.high
    assert found.labels.bounded
    left = found.batches(490, 50)
    assert left is not None
    assert left.median == max(math.ceil((found.labels.median - 490) / 50), 0)
    assert left.low <= left.median <= left.high


def test_few_phases_leave_the_upper_end_open() -> None:
    found = forecast(Truth(0.88, 0.1, 0.9), phases=3, target=0.86)
    assert found.labels is None or not found.labels.bounded


def test_more_phases_narrow_the_interval() -> None:
    truth = Truth(0.9, 0.15, 1.0)
    widths = [
        found.plateau.high - found.plateau.low
        for found in (forecast(truth, phases=phases) for phases in (4, 12, 30))
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[2] < 0.3 * widths[0]


def test_a_campaign_without_target_has_a_plateau_and_a_curve() -> None:
    found = forecast(Truth(0.88, 0.1, 0.9))
    assert (found.labels, found.reachable) == (None, None)
    labels = [at.labels for at in found.curve]
    assert labels == sorted(labels)
    assert labels[0] == pytest.approx(40)
    assert labels[-1] >= 390
    assert all(at.iou.low <= at.iou.median <= at.iou.high for at in found.curve)


def test_the_same_question_has_the_same_answer() -> None:
    truth = Truth(0.88, 0.1, 0.9)
    assert forecast(truth, target=0.87) == forecast(truth, target=0.87)
