"""k-means that gives the same clusters on every machine.

Points and centres are integers below 2**`BITS`, so squared distances and the sums of k-means++ are
exact in float64 whatever the order of addition; see `directions` for why that matters. Chance comes
from lots. Sources: S. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information
Theory 28(2), 1982; D. Arthur, S. Vassilvitskii, "k-means++: The Advantages of Careful Seeding",
SODA 2007.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.coordinator.domain.strategies.lots import chance

__all__ = ["BITS", "k_means", "on_grid", "squared_distances"]

BITS: Final = 12
_ITERATIONS: Final = 30
_ROWS: Final = 2048
"""Points compared at a time, which bounds memory."""


def on_grid(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return vectors as integers, on one scale for all of them.

    Args:
        vectors: [N, D], finite, D at most 4,096 (sums over 131,072 points stay exact).

    Returns:
        [N, D] integers of magnitude at most 2**`BITS`.

    Raises:
        ValueError: A vector is not finite.
    """
    if not np.isfinite(vectors).all():
        raise ValueError("a vector is not finite")
    grid = vectors.astype(np.float64)
    largest = np.abs(grid).max(initial=0.0)
    if largest > 0:
        grid *= 2**BITS / largest
    return np.rint(grid)


def squared_distances(
    points: NDArray[np.float64], centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return squared Euclidean distances of integer points.

    Args:
        points: [N, D] integers.
        centres: [M, D] integers.

    Returns:
        [N, M] exact.
    """
    own = np.einsum("nd,nd->n", points, points)
    others = np.einsum("nd,nd->n", centres, centres)
    distances: NDArray[np.float64] = own[:, None] + others[None, :] - 2.0 * (points @ centres.T)
    return distances


def k_means(points: NDArray[np.float64], k: int, *, seed: int) -> NDArray[np.intp]:
    """Return the cluster of each point.

    Args:
        points: [N, D] integers, N at least 1; the order is part of the input.
        k: Clusters wanted, at least 1. There are fewer when fewer points differ.
        seed: Of the draw of the first centres.

    Returns:
        [N] numbers from 0; not every number need occur.
    """
    centres = _first_centres(points, k, seed)
    nearest = _nearest(points, centres)
    for _ in range(_ITERATIONS):
        centres = _means(points, nearest, centres)
        again = _nearest(points, centres)
        if np.array_equal(again, nearest):
            break
        nearest = again
    return nearest


def _first_centres(points: NDArray[np.float64], k: int, seed: int) -> NDArray[np.float64]:
    chosen = [int(chance(seed, "k-means++", "0") * len(points))]
    distances = squared_distances(points, points[chosen])[:, 0]  # [N] to the nearest centre
    while len(chosen) < k:
        ends = np.cumsum(distances)  # integers: exact
        if ends[-1] == 0:
            break
        target = np.floor(chance(seed, "k-means++", str(len(chosen))) * ends[-1])
        pick = int(np.searchsorted(ends, target, side="right"))
        chosen.append(pick)
        new = squared_distances(points, points[pick : pick + 1])[:, 0]
        np.minimum(distances, new, out=distances)
    return points[chosen]


def _nearest(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.intp]:
    found = [
        squared_distances(points[start : start + _ROWS], centres).argmin(axis=1)
        for start in range(0, len(points), _ROWS)
    ]
    return np.concatenate(found)


def _means(
    points: NDArray[np.float64], nearest: NDArray[np.intp], centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    order = np.argsort(nearest, kind="stable")
    used, starts, counts = np.unique(nearest[order], return_index=True, return_counts=True)
    moved = centres.copy()  # a centre without points stays
    sums = np.add.reduceat(points[order], starts, axis=0)  # [used, D]
    moved[used] = np.rint(sums / counts[:, None])
    return moved
