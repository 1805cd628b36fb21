"""Vectors as directions, with distances that are exact.

The same stored vectors must give the same batch on every machine, but the last bits of a matrix
product depend on the processor, the library and its threads. So vectors are rounded to integers of
`BITS` bits. Products of those, and sums of `MAX_DIMENSIONS` of them, are below 2**53: float64
holds them exactly, in whatever order they are added. What follows (one square root, one division,
one subtraction an element) is correctly rounded by IEEE 754.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BITS", "MAX_DIMENSIONS", "Directions"]

BITS: Final = 14
"""Of an element's magnitude: an angle is kept to better than 0.01 degrees."""

MAX_DIMENSIONS: Final = 2 ** (53 - 2 * BITS)
"""Elements of a vector for which sums of squares stay exact: 33 million."""


class Directions:
    """Directions of vectors; lengths do not matter.

    The length of a pooled feature vector tells how much is in a picture, its direction what.

    Args:
        vectors: [N, D], finite. A vector of zeros is as far from all others as can be without
            pointing away from them, and at distance 0 from others like it.

    Raises:
        ValueError: Not finite, or not [N, D].
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        if vectors.ndim != 2 or vectors.shape[1] > MAX_DIMENSIONS:  # noqa: PLR2004  # [N, D]
            raise ValueError(f"vectors have shape {vectors.shape}; give [N, D]")
        if not np.isfinite(vectors).all():
            raise ValueError("a vector is not finite")
        grid = vectors.astype(np.float64)  # [N, D]
        largest = np.abs(grid).max(axis=1, initial=0.0, keepdims=True)  # [N, 1]
        np.divide(grid, largest, out=grid, where=largest > 0)
        grid *= 2**BITS
        np.rint(grid, out=grid)
        self._grid = grid
        self._squares = np.einsum("nd,nd->n", grid, grid)  # [N] exact

    def __len__(self) -> int:
        return len(self._grid)

    def squared_chords(self, others: "Directions") -> NDArray[np.float64]:
        """Return squared straight distances between points on the unit sphere: 2 - 2 cos.

        Args:
            others: M directions of as many dimensions.

        Returns:
            [N, M], 0 for the same direction to 4 for opposite ones.
        """
        product = self._grid @ others._grid.T  # [N, M] exact
        lengths = np.sqrt(self._squares[:, None] * others._squares[None, :])  # [N, M]
        cosine = np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0)
        both_zero = (self._squares[:, None] == 0) & (others._squares[None, :] == 0)
        cosine[both_zero] = 1.0
        squared: NDArray[np.float64] = np.maximum(2.0 - 2.0 * cosine, 0.0)
        return squared

    def part(self, rows: slice) -> "Directions":
        """Return some of the directions."""
        found = object.__new__(Directions)
        found._grid = self._grid[rows]
        found._squares = self._squares[rows]
        return found
