"""Cold start TYPICAL: the most typical frame of each cluster of images.

Before anything is labeled no model can say what it does not know, and what helps most is what is
common. So the images are clustered, one cluster a wanted label, and of each the frame in its
densest place is taken. Source: G. Hacohen, A. Dekel, D. Weinshall, "Active Learning on a Budget:
Opposite Strategies Suit High and Low Budgets", ICML 2022, arXiv:2202.02794 (TypiClust), with
image descriptors in the place of self-supervised features.
"""

import heapq
from collections import deque
from collections.abc import Sequence, Set
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.coordinator.domain.strategies.clusters import k_means, on_grid, squared_distances
from services.coordinator.domain.strategies.limits import Allowance, Limits, Member

__all__ = ["MAX_CLUSTERS", "typical_batch"]

MAX_CLUSTERS: Final = 500
"""As in the paper; when more frames are wanted, clusters give several."""

_NEIGHBOURS: Final = 20
"""Nearest neighbours that density is estimated from; as in the paper."""

_FRACTION: Final = 2**10
"""Distances are rounded to this fraction of a grid step, so that their sums are exact."""

_ROWS: Final = 512


def typical_batch(
    members: Sequence[Member],
    descriptors: NDArray[np.float32],
    k: int,
    *,
    seed: int,
    limits: Limits,
    given: Set[str] = frozenset(),
) -> tuple[str, ...]:
    """Return k typical frames.

    Clusters give in turn, those that gave least first, the larger ones before the smaller; each
    gives its most typical frame that the limits allow.

    Args:
        members: [N] distinct frames, in any order.
        descriptors: [N, D] of the frames' images, finite.
        k: At least 0; more than there are returns all that are not given.
        seed: Of the phase.
        limits: A patient and a clip; see `Allowance` for when they rise.
        given: Ids of members that the batch has already: their clusters have given them.

    Raises:
        ValueError: A descriptor is not finite, or the shapes do not fit.
    """
    if len(descriptors) != len(members):
        raise ValueError(f"{len(members)} frames and {len(descriptors)} descriptors")
    order = sorted(range(len(members)), key=lambda n: members[n].frame_id)
    sorted_members = [members[n] for n in order]
    wanted = min(k, sum(member.frame_id not in given for member in members))
    if wanted <= 0:
        return ()
    points = on_grid(descriptors[order])
    clusters = min(wanted + len(given), MAX_CLUSTERS)
    nearest = k_means(points, clusters, seed=seed)
    queues = []
    for cluster in np.unique(nearest):
        positions = np.flatnonzero(nearest == cluster)
        by_density = positions[np.argsort(_sparsity(points[positions]), kind="stable")]
        queues.append([sorted_members[n] for n in by_density])
    allowance = Allowance(limits, [m for m in sorted_members if m.frame_id in given])
    return _in_turn(queues, wanted, allowance, given)


def _sparsity(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean distance to the nearest neighbours, the lower the more typical."""
    neighbours = min(_NEIGHBOURS, len(points) - 1)
    if neighbours == 0:
        return np.zeros(len(points))
    sums = []
    for start in range(0, len(points), _ROWS):
        squared = squared_distances(points[start : start + _ROWS], points)
        # The nearest of all is the point itself, at distance 0.
        smallest = np.partition(squared, neighbours, axis=1)[:, : neighbours + 1]
        sums.append(np.rint(np.sqrt(smallest) * _FRACTION).sum(axis=1))
    sparsity: NDArray[np.float64] = np.concatenate(sums)
    return sparsity


def _in_turn(
    queues: Sequence[Sequence[Member]], wanted: int, allowance: Allowance, given: Set[str]
) -> tuple[str, ...]:
    waiting = [deque(m for m in queue if m.frame_id not in given) for queue in queues]
    heap = [
        (len(queue) - len(waiting[n]), -len(queue), n)
        for n, queue in enumerate(queues)
        if waiting[n]
    ]
    heapq.heapify(heap)
    passed: list[tuple[int, int, int]] = []
    chosen: list[str] = []
    while len(chosen) < wanted:
        if not heap:
            # Nothing left fits.
            allowance.rise()
            heap, passed = passed, []
            heapq.heapify(heap)
        turn, size, n = heapq.heappop(heap)
        member = next((m for m in waiting[n] if allowance.allows(m)), None)
        if member is None:
            passed.append((turn, size, n))
            continue
        waiting[n].remove(member)
        allowance.take(member)
        chosen.append(member.frame_id)
        if waiting[n]:
            heapq.heappush(heap, (turn + 1, size, n))
    return tuple(chosen)
