"""Savings: right on campaigns whose savings are known, and silent where nothing is measured."""

import math

import numpy as np
import pytest

from services.coordinator.domain.curve_draws import FrameIous
from services.coordinator.domain.learning_curve import (
    CurvePoint,
    FitProblem,
    LearningCurve,
    NoFit,
    fit_curve,
)
from services.coordinator.domain.power_law import Floats
from services.coordinator.domain.savings import LabelSavings, measure_savings
from tests.unit.services.coordinator.domain.simulated_campaigns import (
    INITIAL,
    Truth,
    batches,
    by_frame,
    measure,
    points,
    some_truth,
)

DRAWS = 120


def worth(labels: Floats, saved: float) -> Floats:
    """Return the random labels that a campaign's labels are worth; the initial ones are random."""
    return np.asarray(labels / (1 - saved * (1 - INITIAL / labels)))


def fitted(given: list[CurvePoint]) -> LearningCurve:
    curve = fit_curve(given)
    assert isinstance(curve, LearningCurve)
    return curve


def measured(
    active: list[CurvePoint],
    control: list[CurvePoint],
    measures: FrameIous | None = None,
    *,
    seed: int = 1,
    draws: int = DRAWS,
) -> LabelSavings:
    found = measure_savings(fitted(active), control, measures=measures, seed=seed, draws=draws)
    assert isinstance(found, LabelSavings)
    return found


def campaign(
    truth: Truth, *, saved: float, noise: float, phases: int = 10, share: int = 20, seed: int = 1
) -> LabelSavings:
    rng = np.random.default_rng(seed)
    ours, theirs = batches(phases), batches(phases, share)
    return measured(
        points(ours, measure(truth.iou(worth(ours, saved)), noise, rng)),
        points(theirs, measure(truth.iou(theirs), noise, rng)),
        seed=seed,
    )


def test_the_intervals_cover_the_truth_in_about_nine_of_ten_campaigns() -> None:
    rng = np.random.default_rng(21)
    phases, saved, campaigns = 8, 0.4, 60
    ours, theirs = batches(phases), batches(phases, 10)
    covered = np.zeros(2)
    grid = np.linspace(INITIAL, theirs[-1], 2000)
    sooner = float(grid[np.argmin(np.abs(worth(grid, saved) - theirs[-1]))])
    for number in range(campaigns):
        truth = some_truth(rng)
        rows = np.concatenate(
            [
                measure(truth.iou(worth(ours, saved)), 0.005, rng),
                measure(truth.iou(theirs), 0.005, rng),
            ]
        )
        frames = by_frame(rows, 0.05, rng)
        ious = np.clip(frames.ious.mean(axis=1), 0.01, 0.99)
        control = points(theirs, ious[phases:])
        found = measure_savings(
            fitted(points(ours, ious[:phases])), control, measures=frames, seed=number, draws=DRAWS
        )
        assert isinstance(found, LabelSavings)
        for index, (saving, true) in enumerate(
            (
                (found.newest, 1 - ours[-1] / worth(ours, saved)[-1]),
                (found.measured, 1 - sooner / theirs[-1]),
            )
        ):
            covered[index] += saving.share.low <= true <= saving.share.high
    assert (covered / campaigns >= 0.82).all(), covered / campaigns


def test_savings_are_found_without_noise() -> None:
    found = campaign(Truth(0.9, 0.15, 0.9), saved=0.4, noise=0.0005)
    ours = batches(10)
    true = 1 - ours[-1] / worth(ours, 0.4)[-1]
    assert found.newest.share.median == pytest.approx(true, abs=0.12)
    assert found.newest.share.low > 0
    assert found.measured.share.low > 0
    assert found.newest.random_labels.median > ours[-1]


def test_choosing_no_better_than_random_saves_nothing() -> None:
    found = campaign(Truth(0.9, 0.15, 0.9), saved=0.0, noise=0.001, phases=14, share=25)
    assert found.newest.share.low <= 0 <= found.newest.share.high
    assert abs(found.measured.share.median) < 0.1


def test_choosing_worse_than_random_shows_as_a_loss() -> None:
    found = campaign(Truth(0.9, 0.15, 0.9), saved=-1.0, noise=0.0005, phases=14, share=25)
    assert found.newest.share.median < -0.2
    assert found.measured.share.high < 0


def test_what_lies_beyond_the_control_labels_is_said() -> None:
    found = campaign(Truth(0.9, 0.15, 0.9), saved=0.3, noise=0.001)
    assert found.control_labels == 220
    assert found.extrapolated
    assert found.measured.random_labels.median == 220
    assert found.measured.active_labels.median < 220
    assert found.curve[-1].labels > 220


def test_pairing_by_frame_makes_hard_patients_cancel() -> None:
    rng = np.random.default_rng(31)
    truth = Truth(0.9, 0.15, 0.9)
    ours, theirs = batches(10), batches(10, 25)
    rows = np.concatenate([truth.iou(worth(ours, 0.4)), truth.iou(theirs)])
    paired = by_frame(rows, 0.08, rng)
    ious = paired.ious.mean(axis=1)
    arms = points(ours, ious[:10]), points(theirs, ious[10:])
    # The same spread, but of other patients in every row.
    apart = FrameIous(
        np.stack([row[rng.permutation(row.size)] for row in paired.ious]), paired.patients
    )
    width = []
    for measures in (paired, apart):
        share = measured(*arms, measures, draws=400).measured.share
        width.append(share.high - share.low)
    assert width[0] < 0.7 * width[1]


@pytest.mark.parametrize("sizes", [[], [40], [40, 50], [40, 40, 50, 50]])
def test_fewer_than_three_control_sets_are_refused_with_the_reason(sizes: list[int]) -> None:
    labels = batches(6)
    active = fitted(points(labels, Truth(0.9, 0.15, 0.9).iou(labels)))
    control = [CurvePoint(size, 0.7 + size / 1000) for size in sizes]
    refused = measure_savings(active, control, measures=None, seed=1)
    assert isinstance(refused, NoFit)
    assert refused.problem is FitProblem.NO_CONTROL
    assert ("control share" in refused.message) is (not sizes)


def test_control_that_does_not_rise_is_refused() -> None:
    labels = batches(6)
    active = fitted(points(labels, Truth(0.9, 0.15, 0.9).iou(labels)))
    control = [CurvePoint(40, 0.8), CurvePoint(50, 0.79), CurvePoint(60, 0.78)]
    refused = measure_savings(active, control, measures=None, seed=1)
    assert isinstance(refused, NoFit)
    assert refused.problem is FitProblem.NOT_RISING


def test_random_choice_that_never_gets_there_saves_everything_and_stays_finite() -> None:
    ours, theirs = batches(12), batches(12, 25)
    found = measured(
        points(ours, Truth(0.9, 0.15, 1.0).iou(ours)),
        points(theirs, np.full(12, 0.75) + 0.0001 * np.arange(12)),
    )
    share = found.newest.share
    assert -9 <= share.low <= share.median <= share.high <= 1
    assert math.isfinite(found.measured.share.low)
