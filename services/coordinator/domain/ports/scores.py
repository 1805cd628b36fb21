"""Port: acquisition scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.coordinator.domain.acquisition import FrameScores
from services.coordinator.domain.ports.paging import Page, PageRequest

__all__ = ["FrameRef", "ScoreStore", "ScoringProgress"]


@dataclass(frozen=True, slots=True)
class FrameRef:
    """A frame id and the blob reference of its image."""

    frame_id: str
    image_ref: str


@dataclass(frozen=True, slots=True)
class ScoringProgress:
    """How far a phase's scoring is, in frames; `remaining` have neither scores nor a failure."""

    scored: int
    failed: int
    remaining: int


class ScoreStore(Protocol):
    """Keeps scores. See the package for what holds for every store.

    `campaign_id` is an id, never a name.
    """

    def put(self, campaign_id: str, phase: int, outcomes: Sequence[FrameScores]) -> None:
        """Store scores and failures; an outcome of the same frame replaces the earlier one.

        Raises:
            PhaseNotFound: There is none.
            IllegalTransition: The phase is not SCORING: what selection was made from must not
                change. Or its function is not chosen yet; see `ChoiceStore.record`.
            InvalidArgument: A frame is not in the campaign.
        """
        ...

    def unscored(
        self, campaign_id: str, phase: int, *, after: str = "", limit: int = 500
    ) -> tuple[FrameRef, ...]:
        """Return unlabeled frames with neither scores nor failure in the phase, by frame id.

        Args:
            campaign_id: Campaign.
            phase: Number.
            after: Only ids greater than this; pass the last id of the page before.
            limit: At most this many. An empty answer is the end.
        """
        ...

    def progress(self, campaign_id: str, phase: int) -> ScoringProgress:
        """Return how far the scoring is."""
        ...

    def list(self, campaign_id: str, phase: int, page: PageRequest) -> Page[FrameScores]:
        """Return a phase's outcomes with their ranks, highest score first, failed frames last.

        Ordered by the phase's acquisition function, ties by frame id.

        Raises:
            InvalidPageToken: See `PageRequest`.
        """
        ...

    def values(self, campaign_id: str, phase: int) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Return every scored frame and its value by the phase's acquisition function.

        Returns:
            [N] frame ids in id order, and [N] finite values.
        """
        ...

    def misplaced(self, campaign_id: str, phase: int) -> int:
        """Return how many frames `list` shows in another place than their scores give.

        None, unless somebody changed the database.
        """
        ...
