"""One driver task for every running campaign."""

import asyncio
import contextlib

import structlog

from services.coordinator.domain.campaign import Campaign, CampaignState
from services.coordinator.domain.phase import PhaseState
from services.coordinator.driver.campaign_driver import drive
from services.coordinator.driver.context import DriverContext
from services.coordinator.driver.notifier import DRIVERS
from services.platform.errors import EchoLoopError, NotFoundError

__all__ = ["DriverSupervisor"]

_log = structlog.get_logger(__name__)


class DriverSupervisor:
    """Keeps the set of driver tasks equal to the set of campaigns that run.

    What runs is read from the store, so a start of the process picks up every campaign where it
    was left. `run` is the one entry point; it is cancelled to end, which ends the drivers too.
    """

    def __init__(self, ctx: DriverContext) -> None:
        self._ctx = ctx
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def driven(self) -> frozenset[str]:
        """Ids of the campaigns that have a driver now."""
        return frozenset(self._tasks)

    async def run(self) -> None:
        """Start and end drivers as campaigns come and go, until cancelled."""
        try:
            while True:
                mark = self._ctx.notifier.mark(DRIVERS)
                try:
                    await self._reconcile()
                except EchoLoopError as error:
                    _log.warning("drivers.cannot_read_campaigns", error=error.message)
                await self._ctx.notifier.wait(DRIVERS, mark, self._ctx.poll_s)
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _reconcile(self) -> None:
        running = await asyncio.to_thread(
            self._ctx.stores.campaigns.in_state, CampaignState.RUNNING
        )
        for campaign in running:
            if campaign.id not in self._tasks and campaign.phase_state is not PhaseState.FAILED:
                self._start(campaign.id)
        for campaign_id in self._tasks.keys() - {campaign.id for campaign in running}:
            campaign = await asyncio.to_thread(self._ctx.stores.campaigns.get, campaign_id)
            # A paused campaign's step finishes; then its driver sees the pause and ends.
            if campaign.state is CampaignState.COMPLETED:
                await self._stop(campaign)

    def _start(self, campaign_id: str) -> None:
        task = asyncio.create_task(drive(self._ctx, campaign_id), name=f"drive-{campaign_id}")
        self._tasks[campaign_id] = task
        task.add_done_callback(lambda done: self._ended(campaign_id, done))

    def _ended(self, campaign_id: str, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(campaign_id) is task:
            del self._tasks[campaign_id]
        if not task.cancelled() and task.exception() is not None:
            _log.error("driver.crashed", campaign=campaign_id, exc_info=task.exception())
        self._ctx.board.forget(campaign_id)
        # It may have been resumed between the driver's last look and now.
        self._ctx.notifier.notify(DRIVERS)

    async def _stop(self, campaign: Campaign) -> None:
        task = self._tasks.get(campaign.id)
        if task is None:
            return
        if campaign.phase_state is PhaseState.COMPLETE:
            return  # it ended by itself; its driver is about to notice
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._cancel_jobs(campaign)

    async def _cancel_jobs(self, campaign: Campaign) -> None:
        """Ask the trainer to end the phase's jobs; a job that goes on does no harm."""
        phase = await self._ctx.read_phase(campaign)
        for job_id in (
            phase.segmenter_job,
            phase.uncertainty_job,
            phase.control_job,
            phase.evaluation_job,
            phase.control_evaluation_job,
        ):
            if job_id:
                try:
                    with contextlib.suppress(NotFoundError):
                        await self._ctx.trainer.cancel_job(job_id)
                except EchoLoopError as error:
                    _log.warning("campaign.job_not_cancelled", job=job_id, error=error.message)
