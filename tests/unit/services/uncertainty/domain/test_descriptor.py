import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.platform.images import NETWORK_SIZE
from services.uncertainty.domain.descriptor import DIMENSIONS, describe


def picture(seed: int, *, shift: int = 0, noise: float = 0.0) -> NDArray[np.uint8]:
    """A bright ring on a dark ground, somewhere by seed."""
    rng = np.random.default_rng(seed)
    down, right, radius = rng.uniform(60, 190), rng.uniform(60, 190), rng.uniform(20, 55)
    rows, columns = np.mgrid[:NETWORK_SIZE, :NETWORK_SIZE]
    distance = np.hypot(rows - down, columns - right - shift)
    gray = 20 + 150 * np.exp(-(((distance - radius) / 8) ** 2))
    gray += np.random.default_rng(seed + 1).normal(size=gray.shape) * noise
    found: NDArray[np.uint8] = np.clip(gray, 0, 255).astype(np.uint8)
    return found


@given(st.integers(0, 1000))
def test_a_descriptor_is_finite_and_always_the_same(seed: int) -> None:
    first = describe(picture(seed))
    assert first.shape == (DIMENSIONS,)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.array_equal(first, describe(picture(seed).copy(order="F")))
    assert np.linalg.norm(first) == pytest.approx(np.sqrt(2), rel=1e-5)


def test_neighbours_in_a_clip_are_nearer_than_other_pictures() -> None:
    others = [describe(picture(seed)) for seed in range(1, 12)]
    frame = describe(picture(0))
    neighbour = describe(picture(0, shift=3, noise=4))
    assert np.linalg.norm(frame - neighbour) < 0.5 * min(
        np.linalg.norm(frame - other) for other in others
    )


def test_gain_and_brightness_do_not_matter() -> None:
    image = picture(5)
    brighter = (image.astype(np.float64) * 0.5 + 60).astype(np.uint8)
    assert np.linalg.norm(describe(image) - describe(brighter)) < 0.1


def test_the_direction_of_edges_shows() -> None:
    stripes = np.zeros((NETWORK_SIZE, NETWORK_SIZE), np.uint8)
    for row in range(8):
        stripes[row::16] = 200
    apart = describe(stripes) - describe(stripes.T)
    assert np.linalg.norm(apart[144:]) > 1.0


def test_an_even_image_is_all_zeros() -> None:
    assert not describe(np.full((256, 256), 90, np.uint8)).any()
