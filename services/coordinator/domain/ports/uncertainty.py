"""What the coordinator needs from the uncertainty service: scores, vectors, proposals."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Protocol

from services.coordinator.domain.acquisition import FrameFailure, FrameScores
from services.coordinator.domain.embeddings import Embedding
from services.coordinator.domain.ports.scores import FrameRef
from services.coordinator.domain.releases import ModelVersion

__all__ = ["DescribedFrame", "ScoredFrame", "UncertaintyScorer"]


@dataclass(frozen=True, slots=True)
class ScoredFrame:
    """Outcome of one frame; the references are empty unless proposals were asked for.

    `embedding` is None unless asked for, and when the model gave none that is usable.
    """

    outcome: FrameScores
    proposal_ref: str = ""
    uncertainty_ref: str = ""
    embedding: Embedding | None = None


@dataclass(frozen=True, slots=True)
class DescribedFrame:
    """Descriptor of one frame's image, or why there is none."""

    frame_id: str
    descriptor: Embedding | None = None
    failure: FrameFailure | None = None


class UncertaintyScorer(Protocol):
    """The uncertainty service."""

    def score(
        self,
        frames: Iterable[FrameRef],
        *,
        model: ModelVersion,
        seed: int,
        include_proposals: bool = False,
        include_embeddings: bool = False,
    ) -> AsyncIterator[ScoredFrame]:
        """Score frames with a published model; one result a frame, in any order, when ready.

        `frames` is consumed no faster than the service takes them.

        Raises:
            UnavailableError: The service, or Triton behind it, cannot be reached; what was yielded
                before is good.
            NotFoundError: Triton does not hold the version.
        """
        ...

    def describe(self, frames: Iterable[FrameRef]) -> AsyncIterator[DescribedFrame]:
        """Describe images without a model; one result a frame, in any order, when ready.

        Raises:
            UnavailableError: The service cannot be reached; what was yielded before is good.
        """
        ...
