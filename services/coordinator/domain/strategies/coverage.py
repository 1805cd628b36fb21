"""Strategy COVERAGE: uncertain frames that differ from each other and from what is labeled.

Greedy k-center: each frame chosen is the one farthest from all frames chosen or labeled so far, so
the largest distance left (the covering radius) is at most twice the smallest possible. Sources:
T. F. Gonzalez, "Clustering to Minimize the Maximum Intercluster Distance", Theoretical Computer
Science 38, 1985; O. Sener, S. Savarese, "Active Learning for Convolutional Neural Networks: A
Core-Set Approach", ICLR 2018, arXiv:1708.00489.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.coordinator.domain.strategies.directions import Directions
from services.coordinator.domain.strategies.limits import Allowance, Limits, Member

__all__ = ["coverage_batch"]

_CENTRES: Final = 512
"""Labeled frames compared at a time, which bounds memory."""


def coverage_batch(
    shortlist: Sequence[Member],
    vectors: NDArray[np.float32],
    labeled: NDArray[np.float32],
    k: int,
    *,
    limits: Limits,
    taken: Sequence[Member] = (),
) -> tuple[str, ...]:
    """Return k frames of the shortlist that cover it, in the order in which they were chosen.

    The first k' of the batch are the batch of size k'. Equal distances go to the frame that comes
    first in the shortlist; so does the first choice when nothing is labeled.

    Args:
        shortlist: [N] distinct frames, the most uncertain first.
        vectors: [N, D] embeddings of the shortlist, finite.
        labeled: [M, D] embeddings of the frames that are covered already; M may be 0.
        k: At least 0; more than N returns all.
        limits: A patient and a clip; see `Allowance` for when they rise.
        taken: Frames that the batch has besides; they count for the limits.

    Raises:
        ValueError: A vector is not finite, or shapes do not fit.
    """
    size = min(k, len(shortlist))
    if size <= 0:
        return ()
    points = Directions(vectors)
    if len(points) != len(shortlist):
        raise ValueError(f"{len(shortlist)} frames and {len(points)} vectors")
    radius = _distances(points, labeled)  # [N] to the nearest centre
    groups = _Groups(shortlist, Allowance(limits, taken))
    chosen: list[str] = []
    while len(chosen) < size:
        if not groups.open.any():
            groups.rise()
            continue
        # argmax takes the first of equals.
        pick = int(np.argmax(np.where(groups.open, radius, -1.0)))
        chosen.append(shortlist[pick].frame_id)
        groups.take(pick)
        new = points.squared_chords(points.part(slice(pick, pick + 1)))[:, 0]
        np.minimum(radius, new, out=radius)
    return tuple(chosen)


def _distances(points: Directions, labeled: NDArray[np.float32]) -> NDArray[np.float64]:
    nearest = np.full(len(points), np.inf)
    for start in range(0, len(labeled), _CENTRES):
        centres = Directions(labeled[start : start + _CENTRES])
        np.minimum(nearest, points.squared_chords(centres).min(axis=1), out=nearest)
    return nearest


class _Groups:
    """Which frames of the shortlist may be chosen; `open` is a bool [N]."""

    def __init__(self, members: Sequence[Member], allowance: Allowance) -> None:
        self._members = members
        self._allowance = allowance
        self._chosen = np.zeros(len(members), dtype=np.bool_)
        patients = {name: code for code, name in enumerate({m.patient_id for m in members})}
        clips = {
            name: code for code, name in enumerate({(m.patient_id, m.clip_id) for m in members})
        }
        self._patients = np.array([patients[m.patient_id] for m in members], np.intp)
        self._clips = np.array([clips[m.patient_id, m.clip_id] for m in members], np.intp)
        self._look()

    def _look(self) -> None:
        allowed = [self._allowance.allows(member) for member in self._members]
        self.open = np.array(allowed, dtype=np.bool_) & ~self._chosen

    def take(self, position: int) -> None:
        member = self._members[position]
        self._allowance.take(member)
        self._chosen[position] = True
        self.open[position] = False
        if self._allowance.patient_full(member.patient_id):
            self.open[self._patients == self._patients[position]] = False
        if self._allowance.clip_full(member):
            self.open[self._clips == self._clips[position]] = False

    def rise(self) -> None:
        self._allowance.rise()
        self._look()
