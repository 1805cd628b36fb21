# ruff: noqa: N802  # RPCs are named by the contract
"""CoordinatorService: data sets, campaigns, pools and phases."""

import asyncio
import re
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any, Final

from echoloop.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.coordinator.domain.campaign import (
    Campaign,
    CampaignConfig,
    CampaignState,
    Hyperparameters,
)
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import PageRequest, Stores
from services.coordinator.domain.ports.trainer import Trainer
from services.coordinator.domain.querying import verify_batch
from services.coordinator.domain.releases import ReleaseKind
from services.coordinator.domain.searches import with_winners
from services.coordinator.domain.selection import SelectionCheck
from services.coordinator.driver import DRIVERS, ChangeNotifier, Outlooks, ProgressBoard
from services.coordinator.rpc import enums
from services.coordinator.rpc.campaign_messages import (
    campaign_to_message,
    config_from_message,
    dataset_to_message,
    page_request,
    phase_to_message,
    pool_frame_to_message,
    progress_to_message,
    score_to_message,
    selection_check_to_message,
    transition_to_message,
)
from services.coordinator.rpc.forecast_messages import outlook_to_message
from services.coordinator.rpc.frame_import import FrameImport
from services.coordinator.rpc.watching import watch
from services.platform.blobs import BlobStore
from services.platform.errors import InvalidInputError

__all__ = ["CoordinatorServicer"]

_MAX_HASHES: Final = 10_000
_PAGE: Final = 1000
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class CoordinatorServicer(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """The service over gRPC.

    Args:
        stores: State.
        trainer: Asked whether the models of a new campaign can be trained, and what a search found.
        blobs: Where imported files are put.
        notifier: Told of changes; wakes watches and drivers.
        board: Progress of the steps.
        outlooks: What the measured phases say of the labels.
        executor: Threads for decoding imported images.
        poll_s: How often a watch looks for changes of other processes, seconds.
    """

    def __init__(
        self,
        stores: Stores,
        trainer: Trainer,
        blobs: BlobStore,
        notifier: ChangeNotifier,
        board: ProgressBoard,
        *,
        outlooks: Outlooks,
        executor: Executor,
        poll_s: float = 2.0,
    ) -> None:
        self._stores = stores
        self._trainer = trainer
        self._blobs = blobs
        self._notifier = notifier
        self._board = board
        self._outlooks = outlooks
        self._executor = executor
        self._poll_s = poll_s

    # ---- data sets -----------------------------------------------------------------------------

    async def ImportFrames(
        self,
        request_iterator: AsyncIterator[coordinator_pb2.ImportFramesRequest],
        context: Any,
    ) -> coordinator_pb2.ImportFramesResponse:
        """Import a stream of frames."""
        intake = FrameImport(self._stores.datasets, self._blobs, self._executor)
        return await intake.run(request_iterator)

    async def FindMissingFrames(
        self, request: coordinator_pb2.FindMissingFramesRequest, context: Any
    ) -> coordinator_pb2.FindMissingFramesResponse:
        """Say which frames are not stored yet."""
        if len(request.sha256s) > _MAX_HASHES:
            raise InvalidInputError(f"At most {_MAX_HASHES} hashes a call; ask in parts.")
        if not all(_HASH.fullmatch(sha256) for sha256 in request.sha256s):
            raise InvalidInputError("A SHA-256 has 64 lower-case hexadecimal digits.")
        missing = await asyncio.to_thread(
            self._stores.datasets.find_missing,
            request.dataset,
            list(request.sha256s),
            labeled=request.labeled,
        )
        return coordinator_pb2.FindMissingFramesResponse(missing=missing)

    async def ListDatasets(
        self, request: coordinator_pb2.ListDatasetsRequest, context: Any
    ) -> coordinator_pb2.ListDatasetsResponse:
        """List data sets by name."""
        page = await asyncio.to_thread(self._stores.datasets.list, page_request(request))
        return coordinator_pb2.ListDatasetsResponse(
            datasets=map(dataset_to_message, page.items), next_page_token=page.next_token
        )

    async def ListLabeledFrames(
        self, request: coordinator_pb2.ListLabeledFramesRequest, context: Any
    ) -> coordinator_pb2.ListLabeledFramesResponse:
        """List the frames of one side that were imported with a mask."""
        split = enums.from_number(enums.SPLITS, request.split, "split")
        page = await asyncio.to_thread(
            self._stores.datasets.labeled_frames, request.dataset, split, page_request(request)
        )
        return coordinator_pb2.ListLabeledFramesResponse(
            frames=map(pool_frame_to_message, page.items), next_page_token=page.next_token
        )

    # ---- campaigns -----------------------------------------------------------------------------

    async def CreateCampaign(
        self, request: coordinator_pb2.CreateCampaignRequest, context: Any
    ) -> coordinator_pb2.CreateCampaignResponse:
        """Create a campaign in DRAFT."""
        config = config_from_message(request.config)
        if config.search:
            config = with_winners(config, await self._trainer.search_winners(config.search))
        await self._check_models(config)
        campaign = await asyncio.to_thread(
            self._stores.campaigns.create,
            request.name,
            config,
            request_id=request.request_id,
        )
        return coordinator_pb2.CreateCampaignResponse(campaign=self._changed(campaign))

    async def _check_models(self, config: CampaignConfig) -> None:
        """Ask the trainer about models that differ from the preset's.

        Now, not in the first training: by then readers have drawn the initial labels.
        """
        for kind, architecture, hyperparameters in (
            (ReleaseKind.SEGMENTER, config.segmenter, config.segmenter_hyperparameters),
            (ReleaseKind.UNCERTAINTY, config.uncertainty, config.uncertainty_hyperparameters),
        ):
            if architecture is not None or hyperparameters != Hyperparameters():
                await self._trainer.check_training(
                    kind, config.preset, architecture, hyperparameters
                )

    async def GetCampaign(
        self, request: coordinator_pb2.GetCampaignRequest, context: Any
    ) -> coordinator_pb2.GetCampaignResponse:
        """Read one campaign."""
        campaign = await asyncio.to_thread(self._stores.campaigns.get, request.campaign)
        return coordinator_pb2.GetCampaignResponse(campaign=campaign_to_message(campaign))

    async def ListCampaigns(
        self, request: coordinator_pb2.ListCampaignsRequest, context: Any
    ) -> coordinator_pb2.ListCampaignsResponse:
        """List campaigns, newest first."""
        page = await asyncio.to_thread(self._stores.campaigns.list, page_request(request))
        return coordinator_pb2.ListCampaignsResponse(
            campaigns=map(campaign_to_message, page.items), next_page_token=page.next_token
        )

    async def StartCampaign(
        self, request: coordinator_pb2.StartCampaignRequest, context: Any
    ) -> coordinator_pb2.StartCampaignResponse:
        """Fill the pools and start the phases."""
        campaign = await asyncio.to_thread(
            self._stores.campaigns.start, request.campaign, request_id=request.request_id
        )
        return coordinator_pb2.StartCampaignResponse(campaign=self._changed(campaign))

    async def PauseCampaign(
        self, request: coordinator_pb2.PauseCampaignRequest, context: Any
    ) -> coordinator_pb2.PauseCampaignResponse:
        """Hold the campaign before its next step."""
        campaign = await asyncio.to_thread(
            self._stores.campaigns.pause, request.campaign, request_id=request.request_id
        )
        return coordinator_pb2.PauseCampaignResponse(campaign=self._changed(campaign))

    async def ResumeCampaign(
        self, request: coordinator_pb2.ResumeCampaignRequest, context: Any
    ) -> coordinator_pb2.ResumeCampaignResponse:
        """Go on after a pause or a failed phase."""
        campaign = await asyncio.to_thread(
            self._stores.campaigns.resume, request.campaign, request_id=request.request_id
        )
        return coordinator_pb2.ResumeCampaignResponse(campaign=self._changed(campaign))

    async def StopCampaign(
        self, request: coordinator_pb2.StopCampaignRequest, context: Any
    ) -> coordinator_pb2.StopCampaignResponse:
        """End the campaign for good."""
        campaign = await asyncio.to_thread(
            self._stores.campaigns.stop, request.campaign, request_id=request.request_id
        )
        return coordinator_pb2.StopCampaignResponse(campaign=self._changed(campaign))

    async def WatchCampaign(
        self, request: coordinator_pb2.WatchCampaignRequest, context: Any
    ) -> AsyncIterator[coordinator_pb2.WatchCampaignResponse]:
        """Send the campaign at every change until it is COMPLETED."""
        campaign = await asyncio.to_thread(self._stores.campaigns.get, request.campaign)

        def read() -> coordinator_pb2.WatchCampaignResponse:
            now = self._stores.campaigns.get(campaign.id)
            return coordinator_pb2.WatchCampaignResponse(
                campaign=campaign_to_message(now),
                progress=progress_to_message(self._board.read(now.id, idle=_idle(now))),
            )

        completed = coordinator_pb2.CAMPAIGN_STATE_COMPLETED
        snapshots = watch(
            self._notifier,
            campaign.id,
            read,
            poll_s=self._poll_s,
            ended=lambda response: response.campaign.state == completed,
        )
        async with aclosing(snapshots):
            async for response in snapshots:
                yield response

    def _changed(self, campaign: Campaign) -> coordinator_pb2.Campaign:
        self._notifier.notify(campaign.id)
        self._notifier.notify(DRIVERS)
        return campaign_to_message(campaign)

    # ---- what a campaign holds -----------------------------------------------------------------

    async def ListPhases(
        self, request: coordinator_pb2.ListPhasesRequest, context: Any
    ) -> coordinator_pb2.ListPhasesResponse:
        """List a campaign's phases in order."""
        campaign = await asyncio.to_thread(self._stores.campaigns.get, request.campaign)
        page = await asyncio.to_thread(self._stores.phases.list, campaign.id, page_request(request))
        arms = await asyncio.to_thread(self._stores.choices.arms, campaign.id)
        return coordinator_pb2.ListPhasesResponse(
            phases=[phase_to_message(phase, arms.get(phase.number, ())) for phase in page.items],
            next_page_token=page.next_token,
        )

    async def ListPhaseHistory(
        self, request: coordinator_pb2.ListPhaseHistoryRequest, context: Any
    ) -> coordinator_pb2.ListPhaseHistoryResponse:
        """List the state changes of a campaign's phases in order."""
        campaign = await asyncio.to_thread(self._stores.campaigns.get, request.campaign)
        page = await asyncio.to_thread(
            self._stores.phases.history, campaign.id, page_request(request)
        )
        return coordinator_pb2.ListPhaseHistoryResponse(
            transitions=map(transition_to_message, page.items), next_page_token=page.next_token
        )

    async def ListPoolFrames(
        self, request: coordinator_pb2.ListPoolFramesRequest, context: Any
    ) -> coordinator_pb2.ListPoolFramesResponse:
        """List the frames of one pool."""
        pool = enums.from_number(enums.POOLS, request.pool, "pool")
        page = await asyncio.to_thread(
            self._stores.campaigns.pool_frames, request.campaign, pool, page_request(request)
        )
        return coordinator_pb2.ListPoolFramesResponse(
            frames=map(pool_frame_to_message, page.items), next_page_token=page.next_token
        )

    async def ListScores(
        self, request: coordinator_pb2.ListScoresRequest, context: Any
    ) -> coordinator_pb2.ListScoresResponse:
        """List the stored scores of one phase."""
        campaign = await asyncio.to_thread(self._stores.campaigns.get, request.campaign)
        page = await asyncio.to_thread(
            self._stores.scores.list, campaign.id, request.phase, page_request(request)
        )
        return coordinator_pb2.ListScoresResponse(
            scores=map(score_to_message, page.items), next_page_token=page.next_token
        )

    async def VerifySelection(
        self, request: coordinator_pb2.VerifySelectionRequest, context: Any
    ) -> coordinator_pb2.VerifySelectionResponse:
        """Recompute query batches from what is stored and compare."""
        phase = request.phase if request.HasField("phase") else None
        checks = await asyncio.to_thread(self._verify, request.campaign, phase)
        return coordinator_pb2.VerifySelectionResponse(
            verified=all(check.verified for check in checks),
            checks=map(selection_check_to_message, checks),
        )

    async def GetForecast(
        self, request: coordinator_pb2.GetForecastRequest, context: Any
    ) -> coordinator_pb2.GetForecastResponse:
        """Say which labels are still needed and which were saved."""
        campaign = await asyncio.to_thread(self._stores.campaigns.get, request.campaign)
        outlook = await asyncio.to_thread(self._outlooks.read, campaign)
        return outlook_to_message(outlook, campaign)

    def _verify(self, name: str, phase: int | None) -> list[SelectionCheck]:
        campaign = self._stores.campaigns.get(name)
        if phase is not None:
            return [verify_batch(self._stores, campaign.id, phase)]
        if campaign.state is CampaignState.DRAFT:
            return []
        checks: list[SelectionCheck] = []
        token = ""
        while True:
            page = self._stores.phases.list(campaign.id, PageRequest(_PAGE, token))
            checks += [
                verify_batch(self._stores, campaign.id, each.number)
                for each in page.items
                if self._stores.queries.batch(campaign.id, each.number) is not None
            ]
            token = page.next_token
            if not token:
                return checks


def _idle(campaign: Campaign) -> str:
    """Say what a campaign does while no step of it is under way."""
    if campaign.phase_state is PhaseState.FAILED and campaign.state is not CampaignState.COMPLETED:
        return "failed, waits to be resumed"
    if campaign.state is CampaignState.RUNNING:
        return "about to begin the next step"
    return campaign.state.value
