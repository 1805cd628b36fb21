"""Query strategies: which frames a phase asks readers for, and the proof that it was these."""

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.coordinator.domain.acquisition import AcquisitionFunction, rank_order

__all__ = [
    "Candidate",
    "Proposal",
    "QueryBatch",
    "SelectionCheck",
    "initial_batch",
    "random_batch",
    "top_k",
    "verify_selection",
]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A frame that a phase may choose; `has_mask` when an expert's mask came with the import."""

    frame_id: str
    has_mask: bool


@dataclass(frozen=True, slots=True)
class QueryBatch:
    """The frames that a phase asks for, and all that is needed to derive them again.

    Attributes:
        frame_ids: By rank, most uncertain first.
        acquisition: Function that ranked; RANDOM in phase 0.
        seed: Of the phase.
        model_digest: Of the uncertainty model that scored; empty for RANDOM.
        query_size: How many frames were wanted.
    """

    frame_ids: tuple[str, ...]
    acquisition: AcquisitionFunction
    seed: int
    model_digest: str
    query_size: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """Blob references of what the model proposes for a frame."""

    frame_id: str
    proposal_ref: str
    uncertainty_ref: str


@dataclass(frozen=True, slots=True)
class SelectionCheck:
    """A phase's stored query batch against the one recomputed from what is stored.

    Attributes:
        phase: Number.
        verified: Equal, order included.
        selected: Frames in the stored batch.
        scored: Frames of the phase that have scores.
        unexpected: Stored but not recomputed, by rank.
        missing: Recomputed but not stored, by rank.
        acquisition: Function used.
        model_digest: Of the model that scored; empty for RANDOM.
        seed: Of the phase.
    """

    phase: int
    verified: bool
    selected: int
    scored: int
    unexpected: tuple[str, ...]
    missing: tuple[str, ...]
    acquisition: AcquisitionFunction
    model_digest: str
    seed: int


def top_k(frame_ids: Sequence[str], values: NDArray[np.float64], k: int) -> tuple[str, ...]:
    """Return the k frames of highest value, best first, ties by frame id.

    Args:
        frame_ids: [N] distinct ids, in any order.
        values: [N] finite.
        k: At least 0; more than N returns all.

    Raises:
        NonFiniteScore: A value is NaN or infinite.
    """
    order = rank_order(frame_ids, values)[:k]
    return tuple(frame_ids[position] for position in order)


def random_batch(frame_ids: Iterable[str], k: int, *, seed: int) -> tuple[str, ...]:
    """Return k frames chosen uniformly by seed.

    Each frame draws its lot, SHA-256 of seed and id, and the lowest win: the result does not depend
    on the order of the input, which may be a stream larger than memory.

    Args:
        frame_ids: Distinct ids.
        k: At least 0; more than there are returns all.
        seed: Of the phase.
    """
    return tuple(heapq.nsmallest(k, frame_ids, key=lambda frame_id: _lot(seed, frame_id)))


def initial_batch(candidates: Iterable[Candidate], k: int, *, seed: int) -> tuple[str, ...]:
    """Return the k frames of the initial query: random, those that came with a mask first."""
    chosen = heapq.nsmallest(k, candidates, key=lambda c: (not c.has_mask, _lot(seed, c.frame_id)))
    return tuple(candidate.frame_id for candidate in chosen)


def _lot(seed: int, frame_id: str) -> tuple[bytes, str]:
    return hashlib.sha256(f"lot\x1f{seed}\x1f{frame_id}".encode()).digest(), frame_id


def verify_selection(
    phase: int, stored: QueryBatch, recomputed: Sequence[str], *, scored: int
) -> SelectionCheck:
    """Compare a stored query batch with the one recomputed.

    Args:
        phase: Number.
        stored: What the phase selected.
        recomputed: Frame ids by rank.
        scored: Frames of the phase that have scores.
    """
    again = set(recomputed)
    before = set(stored.frame_ids)
    return SelectionCheck(
        phase=phase,
        verified=stored.frame_ids == tuple(recomputed),
        selected=len(stored.frame_ids),
        scored=scored,
        unexpected=tuple(f for f in stored.frame_ids if f not in again),
        missing=tuple(f for f in recomputed if f not in before),
        acquisition=stored.acquisition,
        model_digest=stored.model_digest,
        seed=stored.seed,
    )
