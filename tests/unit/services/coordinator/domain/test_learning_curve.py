"""Learning curves: what is known is found again, what is not is said."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.coordinator.domain.errors import InvalidArgument
from services.coordinator.domain.learning_curve import (
    CurvePoint,
    FitProblem,
    LearningCurve,
    NoFit,
    fit_curve,
)
from tests.unit.services.coordinator.domain.simulated_campaigns import (
    Truth,
    batches,
    measure,
    points,
    some_truth,
)


def fitted(given: list[CurvePoint]) -> LearningCurve:
    curve = fit_curve(given)
    assert isinstance(curve, LearningCurve)
    return curve


@pytest.mark.parametrize("truth", [Truth(0.88, 0.1, 0.8), Truth(0.9, 0.2, 1.4)])
def test_a_curve_without_noise_is_found_again(truth: Truth) -> None:
    labels = batches(12)
    curve = fitted(points(labels, truth.iou(labels)))
    far = np.asarray([1.0, 3.0]) * labels[-1]
    assert [curve.iou(n) for n in far] == pytest.approx(truth.iou(far), abs=2e-3)
    target = truth.plateau - 0.01
    assert curve.labels_for(target) == pytest.approx(truth.labels_for(target), rel=0.15)
    assert curve.plateau - curve.scale * 500**-curve.exponent == pytest.approx(curve.iou(500))


def test_noise_averages_out_over_phases() -> None:
    rng = np.random.default_rng(3)
    errors = []
    for _ in range(40):
        truth = some_truth(rng)
        labels = batches(15)
        curve = fitted(points(labels, measure(truth.iou(labels), 0.006, rng)))
        errors.append(curve.iou(labels[-1]) - float(truth.iou(labels[-1:])[0]))
    assert abs(np.mean(errors)) < 0.002
    assert np.std(errors) < 0.006


def test_one_phase_that_went_wrong_does_not_bend_the_curve() -> None:
    truth = Truth(0.88, 0.1, 0.9)
    labels = batches(12)
    ious = truth.iou(labels)
    ious[6] -= 0.15
    curve = fitted(points(labels, ious))
    assert curve.iou(labels[-1]) == pytest.approx(float(truth.iou(labels[-1:])[0]), abs=0.006)
    assert curve.weights[6] < 0.3 * curve.weights[5]


def test_the_noise_is_learned_from_the_scatter() -> None:
    rng = np.random.default_rng(5)
    labels = batches(30)
    quiet, loud = (
        fitted(points(labels, measure(Truth(0.88, 0.1, 0.9).iou(labels), noise, rng))).noise
        for noise in (0.002, 0.02)
    )
    assert quiet < 0.005
    assert 0.012 < loud < 0.03


def test_points_of_one_size_are_too_few_however_many() -> None:
    for given_points in ([], [CurvePoint(40, 0.8)], [CurvePoint(40, 0.8), CurvePoint(40, 0.81)]):
        problem = fit_curve(given_points)
        assert isinstance(problem, NoFit)
        assert problem.problem is FitProblem.TOO_FEW_POINTS
        assert "next phase" in problem.message


def test_a_few_points_without_gain_are_no_plateau_and_many_are() -> None:
    falling = [CurvePoint(40, 0.82), CurvePoint(90, 0.81)]
    problem = fit_curve(falling)
    assert isinstance(problem, NoFit)
    assert problem.problem is FitProblem.NOT_RISING
    flat = fitted([CurvePoint(40 + 50 * n, 0.82) for n in range(8)])
    assert flat.plateau == pytest.approx(0.82)
    assert flat.labels_for(0.83) == np.inf
    assert flat.labels_for(0.8) == 40


@pytest.mark.parametrize(("labels", "iou"), [(0, 0.8), (10, 1.01), (10, -0.1), (10, float("nan"))])
def test_a_point_outside_its_range_is_refused(labels: int, iou: float) -> None:
    with pytest.raises(InvalidArgument):
        CurvePoint(labels, iou)


_POINTS = st.lists(
    st.builds(CurvePoint, st.integers(1, 100_000), st.integers(0, 10_000).map(lambda n: n / 1e4)),
    min_size=2,
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(_POINTS)
def test_any_points_give_a_curve_that_rises_within_bounds_or_a_reason(
    given_points: list[CurvePoint],
) -> None:
    curve = fit_curve(given_points)
    if isinstance(curve, NoFit):
        assert curve.message
        return
    assert 0 <= curve.plateau <= 1
    assert curve.drop >= 0
    assert curve.noise > 0
    ious = [curve.iou(n) for n in curve.anchor * np.asarray([1, 2, 10, 1e3, 1e6])]
    assert all(0 <= iou <= 1 for iou in ious)
    assert all(after >= before - 1e-12 for before, after in pairwise(ious))
    needed = [curve.labels_for(iou) for iou in (0.2, 0.5, 0.8, 0.95, 1.0)]
    assert not any(np.isnan(needed))
    assert needed == sorted(needed)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(_POINTS, st.integers(2, 50))
def test_counting_in_dozens_changes_nothing_but_the_unit(
    given_points: list[CurvePoint], unit: int
) -> None:
    plain = fit_curve(given_points)
    scaled = fit_curve([CurvePoint(point.labels * unit, point.iou) for point in given_points])
    assert isinstance(plain, NoFit) == isinstance(scaled, NoFit)
    if isinstance(plain, LearningCurve) and isinstance(scaled, LearningCurve):
        for at in (1.0, 3.0):
            labels = plain.anchor * at
            assert scaled.iou(labels * unit) == pytest.approx(plain.iou(labels), abs=1e-3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(_POINTS, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(
    given_points: list[CurvePoint], random: Random
) -> None:
    shuffled = list(given_points)
    random.shuffle(shuffled)
    one, other = fit_curve(given_points), fit_curve(shuffled)
    assert isinstance(one, NoFit) == isinstance(other, NoFit)
    if isinstance(one, LearningCurve) and isinstance(other, LearningCurve):
        assert other.iou(1000) == pytest.approx(one.iou(1000), abs=1e-3)
