"""Port: query batches."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from services.coordinator.domain.ports.scores import FrameRef
from services.coordinator.domain.selection import Candidate, Proposal, QueryBatch
from services.coordinator.domain.strategies import Member

__all__ = ["QueryStore"]


class QueryStore(Protocol):
    """Keeps query batches. See the package for what holds for every store.

    `campaign_id` is an id, never a name. `services.coordinator.domain.querying` chooses and
    verifies batches through this port.
    """

    def candidates(self, campaign_id: str, phase: int) -> Iterator[Candidate]:
        """Yield the train-side frames that no earlier phase selected, by frame id.

        That is what the phase could choose from, however much later it is asked: a selected frame
        never comes back. Read page by page; no transaction stays open between two items.
        """
        ...

    def members(self, campaign_id: str, frame_ids: Sequence[str]) -> tuple[Member, ...]:
        """Return frames of the campaign with patient and clip, in the order given.

        Raises:
            InvalidArgument: One is not in the campaign.
        """
        ...

    def references(self, campaign_id: str, frame_ids: Sequence[str]) -> tuple[FrameRef, ...]:
        """Return frames of the campaign with their images, in the order given.

        Raises:
            InvalidArgument: One is not in the campaign.
        """
        ...

    def save(self, campaign_id: str, phase: int, batch: QueryBatch) -> QueryBatch:
        """Store a phase's batch and open its annotation requests, in one transaction.

        Saving the same batch again, after a crash, changes nothing. In phase 0 a frame that came
        with a mask is labeled by it at once and gets no request. Readers see the requests when the
        phase enters ANNOTATING, so that proposals can be added first.

        Raises:
            PhaseNotFound: There is none.
            IllegalTransition: The phase is not SELECTING.
            SelectionConflict: Another batch is stored, or a frame is not a candidate.
        """
        ...

    def batch(self, campaign_id: str, phase: int) -> QueryBatch | None:
        """Return a phase's batch; None before it selected.

        Raises:
            PhaseNotFound: There is none.
        """
        ...

    def without_proposal(self, campaign_id: str, phase: int) -> tuple[FrameRef, ...]:
        """Return the frames of a phase's unfinished requests that have no proposal, by rank."""
        ...

    def set_proposals(self, campaign_id: str, phase: int, proposals: Sequence[Proposal]) -> None:
        """Attach proposals to the phase's requests; frames without a request are ignored."""
        ...
