"""Labels to reach, ratios and areas, on curves whose answers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.experiment.analysis import (
    Bound,
    Curve,
    area,
    labels_to_reach,
    mean_curve,
    ratio,
)
from services.platform.errors import InvalidInputError

LABELS = tuple(range(20, 220, 20))


def saturating(plateau: float, scale: float, *, noise: float = 0.0, seed: int = 0) -> Curve:
    """Return plateau * (1 - exp(-labels / scale)) with normal noise."""
    clean = plateau * (1 - np.exp(-np.array(LABELS) / scale))
    noisy = clean + np.random.default_rng(seed).normal(0, noise, len(LABELS))
    return Curve(LABELS, tuple(noisy.tolist()))


def test_a_crossing_is_interpolated_between_measurements() -> None:
    curve = Curve((20, 40, 80), (0.5, 0.7, 0.8))
    assert labels_to_reach(curve, 0.6).labels == pytest.approx(30)
    assert labels_to_reach(curve, 0.75).labels == pytest.approx(60)
    assert labels_to_reach(curve, 0.8).labels == pytest.approx(80)
    assert labels_to_reach(curve, 0.8).bound is Bound.EXACT


def test_what_is_never_reached_is_said_to_be_above_the_budget() -> None:
    reach = labels_to_reach(Curve((20, 40), (0.5, 0.7)), 0.71)
    assert (reach.labels, reach.bound) == (40, Bound.ABOVE)


def test_what_is_there_from_the_first_measurement_is_a_bound_too() -> None:
    reach = labels_to_reach(Curve((20, 40), (0.5, 0.7)), 0.5)
    assert (reach.labels, reach.bound) == (20, Bound.AT_MOST)


def test_the_first_crossing_counts_where_a_curve_falls_back() -> None:
    reach = labels_to_reach(Curve((10, 20, 30, 40), (0.4, 0.6, 0.5, 0.7)), 0.6)
    assert reach.labels == pytest.approx(20)


@given(
    scale=st.floats(20, 80), target=st.floats(0.35, 0.75), plateau=st.floats(0.8, 0.95)
)  # fmt: skip
def test_the_crossing_of_a_smooth_curve_is_found_within_the_spacing_of_labels(
    scale: float, target: float, plateau: float
) -> None:
    reach = labels_to_reach(saturating(plateau, scale), target)
    exact = -scale * np.log(1 - target / plateau)
    if reach.bound is Bound.EXACT:
        assert abs(reach.labels - exact) < 5  # of 20 labels between measurements
    else:
        assert exact <= 20 or exact >= 200


def test_a_strategy_that_learns_twice_as_fast_needs_half_the_labels() -> None:
    fast = {seed: saturating(0.85, 30, noise=0.002, seed=seed) for seed in range(3)}
    slow = {seed: saturating(0.85, 60, noise=0.002, seed=10 + seed) for seed in range(3)}
    found = ratio(fast, slow, 0.7)
    assert found.bound is Bound.EXACT
    assert found.value == pytest.approx(0.5, abs=0.05)
    assert found.low <= found.value <= found.high
    assert found.high < 0.6


def test_a_strategy_compared_with_itself_has_the_ratio_one() -> None:
    curves = {seed: saturating(0.85, 30 + 10 * seed) for seed in range(4)}
    found = ratio(curves, curves, 0.7)
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_resampling_many_seeds_is_the_same_every_time() -> None:
    fast = {seed: saturating(0.85, 30, noise=0.02, seed=seed) for seed in range(8)}
    slow = {seed: saturating(0.85, 50, noise=0.02, seed=20 + seed) for seed in range(8)}
    first = ratio(fast, slow, 0.7)
    assert first == ratio(fast, slow, 0.7)
    assert first.low < first.value < first.high


def test_only_seeds_of_both_strategies_are_compared() -> None:
    ours = {0: Curve((10, 20), (0.5, 0.7)), 1: Curve((10, 20), (0.0, 1.0))}
    theirs = {0: Curve((10, 20), (0.4, 0.6)), 7: Curve((10, 20), (0.0, 1.0))}
    assert ratio(ours, theirs, 0.6).value == pytest.approx(15 / 20)
    with pytest.raises(InvalidInputError, match="seed in common"):
        ratio({1: ours[1]}, {7: theirs[7]}, 0.6)


@pytest.mark.parametrize(
    ("ours", "theirs", "bound"),
    [
        ((0.5, 0.7), (0.5, 0.55), Bound.AT_MOST),
        ((0.5, 0.55), (0.5, 0.7), Bound.ABOVE),
        ((0.5, 0.55), (0.5, 0.55), Bound.UNKNOWN),
        ((0.65, 0.7), (0.5, 0.7), Bound.AT_MOST),
        ((0.5, 0.7), (0.65, 0.7), Bound.ABOVE),
    ],
)
def test_a_ratio_of_bounds_is_a_bound(
    ours: tuple[float, float], theirs: tuple[float, float], bound: Bound
) -> None:
    found = ratio({0: Curve((10, 20), ours)}, {0: Curve((10, 20), theirs)}, 0.6)
    assert found.bound is bound


def test_the_mean_is_over_seeds_and_the_deviation_of_a_sample() -> None:
    labels, mean, deviation = mean_curve(
        {0: Curve((10, 20, 30), (0.5, 0.6, 0.7)), 1: Curve((10, 20), (0.7, 0.8))}
    )
    assert labels == (10, 20)
    assert deviation is not None
    np.testing.assert_allclose(mean, (0.6, 0.7))
    np.testing.assert_allclose(deviation, (np.sqrt(0.02), np.sqrt(0.02)))


def test_one_seed_has_no_deviation() -> None:
    assert mean_curve({0: Curve((10,), (0.5,))})[2] is None


def test_the_area_is_the_mean_height_and_its_gain_is_paired() -> None:
    ours = {0: Curve((10, 20, 40), (0.5, 0.7, 0.7)), 1: Curve((10, 20, 40), (0.6, 0.8, 0.8))}
    theirs = {0: Curve((10, 20, 40), (0.5, 0.5, 0.5)), 1: Curve((10, 20, 40), (0.6, 0.6, 0.6))}
    found = area(ours, theirs)
    # (0.6 * 10 + 0.7 * 20) / 30, and 0.1 more for the other seed
    assert found.mean == pytest.approx((0.6 * 10 + 0.7 * 20) / 30 + 0.05)
    assert found.gain == pytest.approx((0.1 * 10 + 0.2 * 20) / 30)
    assert found.gain_sd == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "iou"),
    [((), ()), ((10,), ()), ((20, 10), (0.1, 0.2)), ((10, 10), (0.1, 0.2)), ((1,), (np.nan,))],
)
def test_what_is_no_curve_is_refused(labels: tuple[int, ...], iou: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInputError):
        Curve(labels, iou)
