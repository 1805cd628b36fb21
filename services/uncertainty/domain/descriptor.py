"""What an image looks like, without a model: near for images that look alike.

For choosing the first frames to annotate, before anything is trained. Coarse appearance says which
view it is and where the heart lies; the directions of edges say what shapes are there (after
N. Dalal, B. Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIMENSIONS", "describe"]

_THUMBNAIL: Final = 12
_SMOOTHED: Final = 64
"""Side of the image that edges are looked for in: a speckle is smaller than its pixels."""

_CELLS: Final = 4
_DIRECTIONS: Final = 6
DIMENSIONS: Final = _THUMBNAIL**2 + _CELLS**2 * _DIRECTIONS
"""Length of a descriptor."""


def describe(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the descriptor of an image.

    Two parts of equal weight: the image reduced to 12 x 12 areas, with mean 0 and length 1, so that
    gain and brightness do not matter; and the strength of edges in 4 x 4 cells by 6 directions (of
    the half circle), its square root, with length 1.

    Args:
        image: uint8 [H, W], at least 64 x 64.

    Returns:
        float32 [240]; a part is zeros where the image has nothing of it.
    """
    gray = image.astype(np.float64)
    thumbnail = _areas(gray, _THUMBNAIL).ravel()
    down, right = np.gradient(_areas(gray, _SMOOTHED))
    strength = np.hypot(down, right)
    angle = np.arctan2(down, right) % np.pi
    direction = np.minimum((angle * (_DIRECTIONS / np.pi)).astype(np.intp), _DIRECTIONS - 1)
    edges = [
        _areas(np.where(direction == each, strength, 0.0), _CELLS).ravel()
        for each in range(_DIRECTIONS)
    ]
    parts = (_unit(thumbnail - thumbnail.mean()), _unit(np.sqrt(np.concatenate(edges))))
    return np.concatenate(parts).astype(np.float32)


def _areas(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Return means over side x side areas of about equal size."""
    height, width = values.shape
    rows = np.arange(side) * height // side
    columns = np.arange(side) * width // side
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    sizes = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))
    means: NDArray[np.float64] = sums / sizes
    return means


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    length = float(np.sqrt(np.square(values).sum()))
    # Rounding leaves an even image about 1e-13 of contrast.
    return values / length if length > 1e-6 else np.zeros_like(values)  # noqa: PLR2004
