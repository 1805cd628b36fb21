"""Query batches: which frames a phase asks readers for, and the proof that it was these."""

from dataclasses import dataclass

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.query_config import Arm, QueryStrategy

__all__ = [
    "Candidate",
    "Choice",
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
class Choice:
    """The frames of a batch by rank, and those of them that are control frames."""

    frame_ids: tuple[str, ...]
    control: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class QueryBatch:
    """The frames that a phase asks for, and all that is needed to derive them again.

    Attributes:
        frame_ids: By rank: in the order of the strategy, control frames spread among them.
        acquisition: Function that ranked; RANDOM in phase 0.
        seed: Of the phase.
        model_digest: Of the uncertainty model that scored; empty for RANDOM.
        query_size: How many frames were wanted.
        control: Those of the frames that were drawn at random, to measure what choosing is worth.
    """

    frame_ids: tuple[str, ...]
    acquisition: AcquisitionFunction
    seed: int
    model_digest: str
    query_size: int
    control: frozenset[str] = frozenset()

    def arm(self, frame_id: str) -> Arm:
        """Return why a frame of the batch is in it."""
        return Arm.CONTROL if frame_id in self.control else Arm.ACTIVE


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
        verified: Equal, order and arms included, and ranked by the function that was due.
        selected: Frames in the stored batch.
        scored: Frames of the phase that have scores.
        unexpected: Stored but not recomputed, by rank.
        missing: Recomputed but not stored, by rank.
        acquisition: Function used.
        model_digest: Of the model that scored; empty for RANDOM.
        seed: Of the phase.
        strategy: Strategy used; None for the initial query and for RANDOM.
        control: Control frames in the stored batch.
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
    strategy: QueryStrategy | None
    control: int


def verify_selection(
    phase: int,
    stored: QueryBatch,
    recomputed: Choice,
    *,
    scored: int,
    strategy: QueryStrategy,
    evidence_agrees: bool = True,
) -> SelectionCheck:
    """Compare a stored query batch with the one recomputed.

    Args:
        phase: Number.
        stored: What the phase selected.
        recomputed: What it selects when done again.
        scored: Frames of the phase that have scores.
        strategy: The campaign's.
        evidence_agrees: Whether what it was chosen from is without contradiction.
    """
    again = set(recomputed.frame_ids)
    before = set(stored.frame_ids)
    return SelectionCheck(
        phase=phase,
        verified=evidence_agrees
        and stored.frame_ids == recomputed.frame_ids
        and stored.control == recomputed.control,
        selected=len(stored.frame_ids),
        scored=scored,
        unexpected=tuple(f for f in stored.frame_ids if f not in again),
        missing=tuple(f for f in recomputed.frame_ids if f not in before),
        acquisition=stored.acquisition,
        model_digest=stored.model_digest,
        seed=stored.seed,
        strategy=strategy if phase and stored.acquisition.needs_scores else None,
        control=len(stored.control),
    )
