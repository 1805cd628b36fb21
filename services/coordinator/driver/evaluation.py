"""Step EVALUATING: measure the segmenter, promote it if it is not worse, stop or go on."""

import asyncio

import structlog

from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import FrameMeasure, Phase, PhaseState
from services.coordinator.domain.ports import PhaseJob
from services.coordinator.domain.ports.trainer import EvaluationOrder, Job
from services.coordinator.domain.releases import Release, ReleaseState, deserves_promotion
from services.coordinator.domain.stopping import decide_stop
from services.coordinator.driver.context import DriverContext, StepFailed
from services.coordinator.driver.jobs import follow_job
from services.coordinator.driver.notifier import SERVING
from services.coordinator.driver.progress import StepProgress
from services.coordinator.driver.training import failures_of, fingerprint, labeled_frames

__all__ = ["evaluate_segmenter"]

_log = structlog.get_logger(__name__)


async def evaluate_segmenter(ctx: DriverContext, campaign: Campaign, phase: Phase) -> None:
    """Measure the phase's segmenter on the test pool and decide what follows."""
    release = await asyncio.to_thread(ctx.stores.releases.get, phase.segmenter_release)
    if phase.test_iou is None:
        await _measure(ctx, campaign, phase, release)
    await _promote_if_not_worse(ctx, campaign, release.id)
    # Counted now: labels and pools may have changed since the step began.
    campaign = await asyncio.to_thread(ctx.stores.campaigns.get, campaign.id)
    phase = await ctx.read_phase(campaign)
    reason = decide_stop(
        campaign.config,
        labeled=campaign.labeled,
        unlabeled=campaign.unlabeled,
        test_iou=phase.test_iou,
    )
    await ctx.advance(
        phase,
        PhaseState.SCORING if reason is None else PhaseState.COMPLETE,
        stop_reason=reason,
    )


async def _measure(ctx: DriverContext, campaign: Campaign, phase: Phase, release: Release) -> None:
    frames = await asyncio.to_thread(labeled_frames, ctx.stores, campaign.id, Pool.TEST)
    if not frames:
        raise StepFailed(
            "The test pool has no frame with a mask, so nothing can be measured. Import test "
            "frames with masks and create a new campaign."
        )
    failures = await asyncio.to_thread(failures_of, ctx.stores, phase)

    async def start(request_id: str) -> Job:
        return await ctx.trainer.start_evaluation(
            EvaluationOrder(request_id, campaign.id, release.model, frames)
        )

    async def note_job(job: Job) -> None:
        await asyncio.to_thread(
            ctx.stores.phases.record_job, campaign.id, phase.number, PhaseJob.EVALUATION, job.id
        )

    def report(job: Job) -> None:
        progress = job.progress
        ctx.board.report(
            campaign.id,
            StepProgress(
                "measuring the segmenter on the test pool",
                progress.done,
                progress.total,
                progress.eta_s,
            ),
        )

    job = await follow_job(
        ctx.trainer,
        start,
        request_id=f"{campaign.id}-p{phase.number}-evaluation-{fingerprint(frames)}",
        failures=failures,
        what="Evaluating the segmenter",
        on_start=note_job,
        on_change=report,
    )
    if job.measured is None:
        raise StepFailed("The trainer ended the evaluation without a result.")
    await asyncio.to_thread(
        ctx.stores.phases.record_evaluation,
        campaign.id,
        phase.number,
        iou=job.measured.iou,
        dice=job.measured.dice,
        frames=[FrameMeasure(f.frame_id, f.iou, f.dice) for f in job.measured.frames],
    )
    ctx.notifier.notify(campaign.id)


async def _promote_if_not_worse(ctx: DriverContext, campaign: Campaign, release_id: str) -> None:
    release = await asyncio.to_thread(ctx.stores.releases.get, release_id)
    champion = await asyncio.to_thread(ctx.stores.releases.champion, campaign.id)
    # Only a candidate: a RETIRED one was rolled back by someone who knows better.
    if release.state is ReleaseState.CANDIDATE and deserves_promotion(release, champion):
        await asyncio.to_thread(ctx.stores.releases.promote, release_id, by_operator=False)
        ctx.notifier.notify(SERVING)
        _log.info("release.promoted", release=release_id, test_iou=release.test_iou)
    await ctx.retention.apply()
