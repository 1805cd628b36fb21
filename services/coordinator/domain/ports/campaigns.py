"""Port: campaigns and their pools."""

from collections.abc import Mapping
from typing import Protocol

from services.coordinator.domain.campaign import (
    Campaign,
    CampaignConfig,
    CampaignState,
    StopReason,
)
from services.coordinator.domain.frames import Pool, PoolFrame
from services.coordinator.domain.ports.paging import Page, PageRequest

__all__ = ["CampaignStore"]


class CampaignStore(Protocol):
    """Keeps campaigns. See the package for what holds for every store.

    `campaign` is an id or a name everywhere; an id wins.
    """

    def create(self, name: str, config: CampaignConfig, *, request_id: str = "") -> Campaign:
        """Create a campaign in DRAFT.

        Raises:
            InvalidName: Not a name.
            CampaignExists: The name is taken (by another request id).
            DatasetNotFound: `config.dataset` does not exist.
        """
        ...

    def get(self, campaign: str) -> Campaign:
        """Return one campaign.

        Raises:
            CampaignNotFound: There is none.
        """
        ...

    def list(self, page: PageRequest) -> Page[Campaign]:
        """Return campaigns, newest first.

        Raises:
            InvalidPageToken: See `PageRequest`.
        """
        ...

    def in_state(self, state: CampaignState) -> tuple[Campaign, ...]:
        """Return every campaign in a state, oldest first: what a driver picks up after a start."""
        ...

    def count_by_state(self) -> Mapping[CampaignState, int]:
        """Return how many campaigns are in each state, every state listed."""
        ...

    def start(self, campaign: str, *, request_id: str = "") -> Campaign:
        """Fill the pools from the data set as it is now, begin phase 0 in SELECTING, run.

        Test-side frames with a mask go to TEST, train-side frames to UNLABELED.

        Raises:
            CampaignNotFound: There is none.
            IllegalTransition: Not DRAFT.
            InvalidConfig: The data set has no train-side or no test-side frame.
        """
        ...

    def pause(self, campaign: str, *, request_id: str = "") -> Campaign:
        """RUNNING -> PAUSED.

        Raises:
            CampaignNotFound: There is none.
            IllegalTransition: Not RUNNING.
        """
        ...

    def resume(self, campaign: str, *, request_id: str = "") -> Campaign:
        """PAUSED -> RUNNING, and a FAILED phase back to the step that failed.

        Raises:
            CampaignNotFound: There is none.
            IllegalTransition: COMPLETED or DRAFT, or RUNNING without a FAILED phase.
        """
        ...

    def stop(
        self,
        campaign: str,
        reason: StopReason = StopReason.STOPPED_BY_OPERATOR,
        *,
        request_id: str = "",
    ) -> Campaign:
        """End for good. The phase stays where it is; labels and releases stay.

        A campaign COMPLETED for the same reason is returned as it is.

        Raises:
            CampaignNotFound: There is none.
            IllegalTransition: COMPLETED for another reason.
        """
        ...

    def pool_frames(self, campaign: str, pool: Pool, page: PageRequest) -> Page[PoolFrame]:
        """Return the frames of a pool by frame id.

        Raises:
            CampaignNotFound: There is none.
            InvalidPageToken: See `PageRequest`.
        """
        ...
