"""Query batches: which frames a phase asks readers for, and the proof that it was these."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.coordinator.domain.acquisition import AcquisitionFunction

__all__ = [
    "Candidate",
    "Proposal",
    "QueryBatch",
    "SelectionCheck",
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
