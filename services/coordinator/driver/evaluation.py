"""Step EVALUATING: measure the segmenter and its control, promote, stop or go on."""

import asyncio
from typing import Final

import structlog

from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.outlook import measures_of
from services.coordinator.domain.phase import FrameMeasure, Phase, PhaseState
from services.coordinator.domain.ports import PhaseJob
from services.coordinator.domain.ports.trainer import EvaluationOrder, Job, Measurement
from services.coordinator.domain.query_config import Arm
from services.coordinator.domain.releases import Release, ReleaseState, deserves_promotion
from services.coordinator.domain.stopping import decide_stop
from services.coordinator.driver.context import DriverContext, StepFailed
from services.coordinator.driver.control import control_frames
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
        await _measure_segmenter(ctx, campaign, phase, release)
    await _promote_if_not_worse(ctx, campaign, release.id)
    if phase.control_iou is None:
        await _measure_control(ctx, campaign, phase)
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
    # Last: it is for people only, and takes a moment.
    await ctx.outlooks.refresh(campaign)


async def _measure_segmenter(
    ctx: DriverContext, campaign: Campaign, phase: Phase, release: Release
) -> None:
    measured = await _measure(ctx, campaign, phase, release, PhaseJob.EVALUATION)
    await asyncio.to_thread(
        ctx.stores.phases.record_evaluation,
        campaign.id,
        phase.number,
        iou=measured.iou,
        dice=measured.dice,
        frames=_frame_measures(measured),
    )
    ctx.notifier.notify(campaign.id)


async def _measure_control(ctx: DriverContext, campaign: Campaign, phase: Phase) -> None:
    """Measure the phase's control segmenter, where it has one; it is never promoted."""
    if phase.control_release:
        release = await asyncio.to_thread(ctx.stores.releases.get, phase.control_release)
        measured = await _measure(ctx, campaign, phase, release, PhaseJob.CONTROL_EVALUATION)
        labeled, iou, frames = release.labeled, measured.iou, _frame_measures(measured)
    else:
        labels = await asyncio.to_thread(labeled_frames, ctx.stores, campaign.id, Pool.LABELED)
        by_chance = await asyncio.to_thread(control_frames, ctx.stores, campaign, phase, labels)
        own = await ctx.read_phase(campaign)
        if not by_chance or len(by_chance) < len(labels) or own.test_iou is None:
            return
        # Every label was chosen by chance, so the segmenter is its own control.
        labeled, iou = len(labels), own.test_iou
        frames = await asyncio.to_thread(measures_of, ctx.stores, own, Arm.ACTIVE)
    await asyncio.to_thread(
        ctx.stores.phases.record_control,
        campaign.id,
        phase.number,
        labeled=labeled,
        iou=iou,
        frames=frames,
    )
    ctx.notifier.notify(campaign.id)
    if phase.control_release:
        await ctx.retention.apply()


def _frame_measures(measured: Measurement) -> list[FrameMeasure]:
    return [FrameMeasure(frame.frame_id, frame.iou, frame.dice) for frame in measured.frames]


_MEASURED: Final = {
    PhaseJob.EVALUATION: "segmenter",
    PhaseJob.CONTROL_EVALUATION: "control segmenter",
}


async def _measure(
    ctx: DriverContext, campaign: Campaign, phase: Phase, release: Release, kind: PhaseJob
) -> Measurement:
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
            ctx.stores.phases.record_job, campaign.id, phase.number, kind, job.id
        )

    def report(job: Job) -> None:
        progress = job.progress
        ctx.board.report(
            campaign.id,
            StepProgress(
                f"measuring the {_MEASURED[kind]} on the test pool",
                progress.done,
                progress.total,
                progress.eta_s,
            ),
        )

    job = await follow_job(
        ctx.trainer,
        start,
        request_id=f"{campaign.id}-p{phase.number}-{kind.value}-{fingerprint(frames)}",
        failures=failures,
        what=f"Evaluating the {_MEASURED[kind]}",
        on_start=note_job,
        on_change=report,
    )
    if job.measured is None:
        raise StepFailed("The trainer ended the evaluation without a result.")
    return job.measured


async def _promote_if_not_worse(ctx: DriverContext, campaign: Campaign, release_id: str) -> None:
    release = await asyncio.to_thread(ctx.stores.releases.get, release_id)
    champion = await asyncio.to_thread(ctx.stores.releases.champion, campaign.id)
    # Only a candidate: a RETIRED one was rolled back by someone who knows better.
    if release.state is ReleaseState.CANDIDATE and deserves_promotion(release, champion):
        await asyncio.to_thread(ctx.stores.releases.promote, release_id, by_operator=False)
        ctx.notifier.notify(SERVING)
        _log.info("release.promoted", release=release_id, test_iou=release.test_iou)
    await ctx.retention.apply()
