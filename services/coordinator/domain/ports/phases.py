"""Port: phases, their history and their measurements."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from services.coordinator.domain.campaign import StopReason
from services.coordinator.domain.phase import FrameMeasure, Phase, PhaseState, PhaseTransition
from services.coordinator.domain.ports.paging import Page, PageRequest
from services.coordinator.domain.query_config import Arm

__all__ = ["PhaseJob", "PhaseStore"]


class PhaseJob(StrEnum):
    """Which of a phase's trainer jobs."""

    SEGMENTER = "segmenter"
    UNCERTAINTY = "uncertainty"
    EVALUATION = "evaluation"
    CONTROL = "control"
    CONTROL_EVALUATION = "control_evaluation"


class PhaseStore(Protocol):
    """Keeps phases. See the package for what holds for every store.

    `campaign_id` is an id, never a name. Every method raises `PhaseNotFound` for a phase (or
    campaign) that does not exist.
    """

    def begin(self, campaign_id: str, number: int) -> Phase:
        """Create the campaign's next phase, in TRAINING; return it if it exists already.

        Phase 0 is created by `CampaignStore.start`.

        Raises:
            IllegalTransition: The campaign is not RUNNING, or the phase before is not COMPLETE.
        """
        ...

    def get(self, campaign_id: str, number: int) -> Phase:
        """Return one phase."""
        ...

    def list(self, campaign_id: str, page: PageRequest) -> Page[Phase]:
        """Return a campaign's phases by number.

        Raises:
            InvalidPageToken: See `PageRequest`.
        """
        ...

    def history(self, campaign_id: str, page: PageRequest) -> Page[PhaseTransition]:
        """Return every state change of a campaign's phases, in order.

        Raises:
            InvalidPageToken: See `PageRequest`.
        """
        ...

    def advance(
        self,
        campaign_id: str,
        number: int,
        to_state: PhaseState,
        *,
        revision: int,
        note: str = "",
        stop_reason: StopReason | None = None,
    ) -> Phase:
        """Move a phase, if it is still at `revision`, and append the move to the history.

        Leaving ANNOTATING for COMPLETE needs every request of the phase ACCEPTED or SKIPPED.

        Args:
            campaign_id: Campaign.
            number: Phase.
            to_state: Where to; FAILED goes through `fail`.
            revision: Of the snapshot that the caller decided on.
            note: For the history.
            stop_reason: With COMPLETE only: also completes the campaign, in the same transaction.

        Raises:
            StaleRevision: The phase changed meanwhile. Read it again and decide again.
            IllegalTransition: Not in the table, or requests are still open.
        """
        ...

    def fail(self, campaign_id: str, number: int, message: str, *, revision: int) -> Phase:
        """Move a phase to FAILED and remember the step it was in.

        Args:
            campaign_id: Campaign.
            number: Phase.
            message: Public text of what went wrong.
            revision: Of the snapshot that the caller decided on.

        Raises:
            StaleRevision: The phase changed meanwhile.
            IllegalTransition: It is COMPLETE or FAILED.
        """
        ...

    def record_job(self, campaign_id: str, number: int, job: PhaseJob, job_id: str) -> Phase:
        """Note which trainer job does a step; replaces an earlier id. Idempotent."""
        ...

    def record_evaluation(
        self,
        campaign_id: str,
        number: int,
        *,
        iou: float,
        dice: float,
        frames: Sequence[FrameMeasure],
    ) -> Phase:
        """Store a phase's measurement; replaces an earlier one. Idempotent.

        Also sets the campaign's `test_iou` and that of the phase's segmenter release.

        Raises:
            InvalidArgument: A measure is outside 0..1.
        """
        ...

    def record_control(
        self,
        campaign_id: str,
        number: int,
        *,
        labeled: int,
        iou: float,
        frames: Sequence[FrameMeasure],
    ) -> Phase:
        """Store what a phase's control segmenter measured; replaces an earlier one. Idempotent.

        The phase's control release, if it has one, is RETIRED in the same transaction: it has done
        what it is for.

        Args:
            campaign_id: Campaign.
            number: Phase.
            labeled: Randomly chosen labels that it was trained on, at least 1.
            iou: Mean over the test frames.
            frames: Each of them.

        Raises:
            InvalidArgument: A measure is outside 0..1, or `labeled` is below 1.
        """
        ...

    def randomly_chosen(self, campaign_id: str, *, initial: bool) -> frozenset[str]:
        """Return the frames of a campaign that chance chose, in every phase so far.

        Args:
            campaign_id: Campaign.
            initial: Whether the initial query was random, so that its frames count.

        Returns:
            Frame ids of the control arm, and of phase 0 where `initial`; labeled or not.
        """
        ...

    def measures(
        self, campaign_id: str, number: int, page: PageRequest, *, arm: Arm = Arm.ACTIVE
    ) -> Page[FrameMeasure]:
        """Return the measures of a phase's test frames by frame id, of one of its segmenters.

        Raises:
            InvalidPageToken: See `PageRequest`.
        """
        ...
