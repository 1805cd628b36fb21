"""Metrics and acquisition maps: their definitions and their bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from trainer.domain.metrics import (
    acquisition_maps,
    binary_entropy,
    dice,
    intersection_over_union,
)

masks = arrays(np.uint8, (6, 5), elements=st.integers(0, 1))
passes = arrays(
    np.float64,
    array_shapes(min_dims=3, max_dims=3, max_side=6),
    elements=st.floats(0.0, 1.0, allow_nan=False),
)
tiny = 1e-12


def test_empty_masks_agree_completely() -> None:
    empty = np.zeros((4, 4), np.uint8)
    assert intersection_over_union(empty, empty) == 1.0
    assert dice(empty, empty) == 1.0


def test_one_empty_mask_agrees_not_at_all() -> None:
    empty, full = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    assert intersection_over_union(empty, full) == 0.0
    assert dice(full, empty) == 0.0


def test_half_overlap() -> None:
    a = np.array([[1, 1, 0, 0]], np.uint8)
    b = np.array([[0, 1, 1, 0]], np.uint8)
    assert intersection_over_union(a, b) == pytest.approx(1 / 3)
    assert dice(a, b) == pytest.approx(1 / 2)


def test_any_value_but_zero_is_foreground() -> None:
    a = np.array([[0, 255]], np.uint8)
    assert intersection_over_union(a, a // 255) == 1.0


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        dice(np.zeros((1, 4), np.uint8), np.zeros((4, 1), np.uint8))


@given(masks, masks)
def test_overlap_is_symmetric_and_dice_follows_from_iou(
    a: NDArray[np.uint8], b: NDArray[np.uint8]
) -> None:
    iou = intersection_over_union(a, b)
    assert iou == intersection_over_union(b, a)
    assert 0.0 <= iou <= 1.0
    assert dice(a, b) == pytest.approx(2.0 * iou / (1.0 + iou))


@given(passes)
def test_entropies_obey_jensen_and_the_bound_of_two_classes(p: NDArray[np.float64]) -> None:
    maps = acquisition_maps(p)
    assert (maps.cfe >= 0.0).all()
    assert (maps.cfe <= maps.mfe + tiny).all()
    assert (maps.mfe <= np.log(2.0) + tiny).all()
    assert (maps.mi >= 0.0).all()
    np.testing.assert_allclose(maps.mi, maps.mfe - maps.cfe, atol=tiny)


@given(passes)
def test_standard_deviation_is_at_most_one_half(p: NDArray[np.float64]) -> None:
    std = acquisition_maps(p).std
    assert ((std >= 0.0) & (std <= 0.5 + tiny)).all()


@given(arrays(np.float64, (3, 4), elements=st.floats(0.0, 1.0, allow_nan=False)), st.integers(1, 9))
def test_passes_that_all_agree_have_no_mutual_information(
    p: NDArray[np.float64], n_passes: int
) -> None:
    maps = acquisition_maps(np.repeat(p[None], n_passes, axis=0))
    np.testing.assert_allclose(maps.mi, 0.0, atol=tiny)
    np.testing.assert_allclose(maps.std, 0.0, atol=tiny)


@given(passes)
def test_background_and_foreground_are_interchangeable(p: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(
        acquisition_maps(p).scores(), acquisition_maps(1.0 - p).scores(), atol=1e-9
    )


def test_certain_passes_that_contradict_each_other_are_all_mutual_information() -> None:
    maps = acquisition_maps(np.array([0.0, 1.0]).reshape(2, 1, 1))
    assert maps.cfe.item() == 0.0
    assert maps.mfe.item() == pytest.approx(np.log(2.0))
    assert maps.mi.item() == pytest.approx(np.log(2.0))
    assert maps.std.item() == pytest.approx(0.5)


def test_scores_are_image_sums_in_the_order_mfe_cfe_mi_std() -> None:
    maps = acquisition_maps(np.full((3, 2, 4), 0.5))
    np.testing.assert_allclose(
        maps.scores(), [8 * np.log(2.0), 8 * np.log(2.0), 0.0, 0.0], atol=1e-9
    )


def test_entropy_of_certainty_is_zero() -> None:
    np.testing.assert_array_equal(binary_entropy(np.array([0.0, 1.0])), 0.0)
