"""Campaigns: create, drive, watch, check."""

from collections.abc import Iterator
from typing import Final

from clients.connection import Connection, new_request_id
from clients.paging import PAGE_SIZE, every_item
from echoloop.v1 import coordinator_pb2 as pb

__all__ = ["Campaigns"]

_SERVICE: Final = "echoloop.v1.CoordinatorService"


class Campaigns:
    """The campaigns of one coordinator. Every method takes a campaign's id or name.

    All methods raise the `EchoLoopError` that the coordinator answered: `NotFoundError` for an
    unknown campaign, `IllegalStateError` for a move that its state forbids, and so on.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, name: str, config: pb.CampaignConfig) -> pb.Campaign:
        """Create a campaign in state DRAFT."""
        request = pb.CreateCampaignRequest(name=name, config=config, request_id=new_request_id())
        answer = self._connection.call(
            f"{_SERVICE}/CreateCampaign",
            request,
            pb.CreateCampaignResponse,
            # The trainer builds both networks to see that they exist and fit.
            timeout_s=300,
        )
        return answer.campaign

    def get(self, campaign: str) -> pb.Campaign:
        """Read one campaign."""
        request = pb.GetCampaignRequest(campaign=campaign)
        return self._connection.call(
            f"{_SERVICE}/GetCampaign", request, pb.GetCampaignResponse
        ).campaign

    def list(self) -> Iterator[pb.Campaign]:
        """Yield every campaign, newest first."""
        return every_item(
            lambda token: self._connection.call(
                f"{_SERVICE}/ListCampaigns",
                pb.ListCampaignsRequest(page_size=PAGE_SIZE, page_token=token),
                pb.ListCampaignsResponse,
            ),
            lambda page: page.campaigns,
        )

    def start(self, campaign: str) -> pb.Campaign:
        """Fill the pools and start the phases."""
        request = pb.StartCampaignRequest(campaign=campaign, request_id=new_request_id())
        return self._connection.call(
            f"{_SERVICE}/StartCampaign", request, pb.StartCampaignResponse, timeout_s=120
        ).campaign

    def pause(self, campaign: str) -> pb.Campaign:
        """Hold the campaign before its next step."""
        request = pb.PauseCampaignRequest(campaign=campaign, request_id=new_request_id())
        return self._connection.call(
            f"{_SERVICE}/PauseCampaign", request, pb.PauseCampaignResponse
        ).campaign

    def resume(self, campaign: str) -> pb.Campaign:
        """Go on after a pause or a failed phase."""
        request = pb.ResumeCampaignRequest(campaign=campaign, request_id=new_request_id())
        return self._connection.call(
            f"{_SERVICE}/ResumeCampaign", request, pb.ResumeCampaignResponse
        ).campaign

    def stop(self, campaign: str) -> pb.Campaign:
        """End the campaign for good; labels and releases stay."""
        request = pb.StopCampaignRequest(campaign=campaign, request_id=new_request_id())
        return self._connection.call(
            f"{_SERVICE}/StopCampaign", request, pb.StopCampaignResponse
        ).campaign

    def watch(self, campaign: str) -> Iterator[pb.WatchCampaignResponse]:
        """Yield the campaign now and at every change, until it is COMPLETED.

        A restarted coordinator is waited for and followed again, as long as patience lasts; the
        present state is then sent once more.
        """
        return self._connection.follow(
            f"{_SERVICE}/WatchCampaign",
            pb.WatchCampaignRequest(campaign=campaign),
            pb.WatchCampaignResponse,
            ended=lambda event: event.campaign.state == pb.CAMPAIGN_STATE_COMPLETED,
        )

    def phases(self, campaign: str) -> Iterator[pb.Phase]:
        """Yield the phases in order."""
        return every_item(
            lambda token: self._connection.call(
                f"{_SERVICE}/ListPhases",
                pb.ListPhasesRequest(campaign=campaign, page_size=PAGE_SIZE, page_token=token),
                pb.ListPhasesResponse,
            ),
            lambda page: page.phases,
        )

    def history(self, campaign: str) -> Iterator[pb.PhaseTransition]:
        """Yield the state changes of the phases in order."""
        return every_item(
            lambda token: self._connection.call(
                f"{_SERVICE}/ListPhaseHistory",
                pb.ListPhaseHistoryRequest(
                    campaign=campaign, page_size=PAGE_SIZE, page_token=token
                ),
                pb.ListPhaseHistoryResponse,
            ),
            lambda page: page.transitions,
        )

    def pool(self, campaign: str, pool: "pb.Pool.ValueType") -> Iterator[pb.PoolFrame]:
        """Yield the frames of one pool."""
        return every_item(
            lambda token: self._connection.call(
                f"{_SERVICE}/ListPoolFrames",
                pb.ListPoolFramesRequest(
                    campaign=campaign, pool=pool, page_size=PAGE_SIZE, page_token=token
                ),
                pb.ListPoolFramesResponse,
            ),
            lambda page: page.frames,
        )

    def scores(self, campaign: str, phase: int) -> Iterator[pb.FrameScores]:
        """Yield the stored scores of a phase, highest first."""
        return every_item(
            lambda token: self._connection.call(
                f"{_SERVICE}/ListScores",
                pb.ListScoresRequest(
                    campaign=campaign, phase=phase, page_size=PAGE_SIZE, page_token=token
                ),
                pb.ListScoresResponse,
            ),
            lambda page: page.scores,
        )

    def forecast(self, campaign: str) -> pb.GetForecastResponse:
        """Estimate the labels still needed and the labels saved, with 90 % intervals."""
        request = pb.GetForecastRequest(campaign=campaign)
        return self._connection.call(
            f"{_SERVICE}/GetForecast", request, pb.GetForecastResponse, timeout_s=120
        )

    def verify(self, campaign: str, phase: int | None = None) -> pb.VerifySelectionResponse:
        """Recompute query batches from what is stored, and compare."""
        request = pb.VerifySelectionRequest(campaign=campaign, phase=phase)
        return self._connection.call(
            f"{_SERVICE}/VerifySelection", request, pb.VerifySelectionResponse, timeout_s=120
        )
