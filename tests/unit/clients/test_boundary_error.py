"""The simulated reader's error."""

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clients.boundary_error import with_boundary_error
from services.platform.masks import Mask


def _disc(radius: int = 20) -> Mask:
    mask = np.zeros((96, 96), np.uint8)
    cv2.circle(mask, (48, 48), radius, 1, -1)
    return mask


def test_no_error_and_an_empty_mask_change_nothing() -> None:
    mask = _disc()
    assert with_boundary_error(mask, 0.0, seed=1, name="a") is mask
    empty = np.zeros_like(mask)
    assert not with_boundary_error(empty, 5.0, seed=1, name="a").any()


def test_the_same_reader_draws_the_same_frame_the_same_way() -> None:
    once, again = (with_boundary_error(_disc(), 2.0, seed=1, name="a") for _ in range(2))
    assert (once == again).all()
    assert (once != with_boundary_error(_disc(), 2.0, seed=1, name="b")).any()
    assert (once != with_boundary_error(_disc(), 2.0, seed=2, name="a")).any()


@given(sigma=st.floats(0.5, 4.0), seed=st.integers(0, 2**31))
def test_the_error_stays_near_the_border(sigma: float, seed: int) -> None:
    drawn = with_boundary_error(_disc(), sigma, seed=seed, name="a")
    assert drawn.any()
    assert set(np.unique(drawn)) <= {0, 1}
    changed = drawn != _disc()
    border = cv2.distanceTransform(_disc(), cv2.DIST_L2, 5) + cv2.distanceTransform(
        1 - _disc(), cv2.DIST_L2, 5
    )
    assert not changed.any() or border[changed].max() < 6 * sigma
