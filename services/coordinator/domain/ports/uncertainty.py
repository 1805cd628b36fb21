"""What the coordinator needs from the uncertainty service: scores and proposals of frames."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Protocol

from services.coordinator.domain.acquisition import FrameScores
from services.coordinator.domain.ports.scores import FrameRef
from services.coordinator.domain.releases import ModelVersion

__all__ = ["ScoredFrame", "UncertaintyScorer"]


@dataclass(frozen=True, slots=True)
class ScoredFrame:
    """Outcome of one frame; the references are empty unless proposals were asked for."""

    outcome: FrameScores
    proposal_ref: str = ""
    uncertainty_ref: str = ""


class UncertaintyScorer(Protocol):
    """The uncertainty service."""

    def score(
        self,
        frames: Iterable[FrameRef],
        *,
        model: ModelVersion,
        seed: int,
        include_proposals: bool = False,
    ) -> AsyncIterator[ScoredFrame]:
        """Score frames with a published model; one result a frame, in any order, when ready.

        `frames` is consumed no faster than the service takes them.

        Raises:
            UnavailableError: The service, or Triton behind it, cannot be reached; what was yielded
                before is good.
            NotFoundError: Triton does not hold the version.
        """
