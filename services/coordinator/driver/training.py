"""Step TRAINING: the models of a phase, side by side."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from services.coordinator.domain.campaign import Campaign, RetrainMode
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import Phase, PhaseState
from services.coordinator.domain.ports import PageRequest, PhaseJob, Stores
from services.coordinator.domain.ports.trainer import Job, LabeledFrame, TrainingOrder
from services.coordinator.domain.releases import ModelVersion, NewRelease, ReleaseKind
from services.coordinator.domain.seeds import derive_seed
from services.coordinator.driver.context import DriverContext, StepFailed
from services.coordinator.driver.control import control_frames, control_warm_start
from services.coordinator.driver.jobs import follow_job
from services.coordinator.driver.notifier import SERVING
from services.coordinator.driver.progress import StepProgress, merge_eta_s

__all__ = ["failures_of", "fingerprint", "labeled_frames", "train_models"]

_PAGE: Final = 1000


async def train_models(ctx: DriverContext, campaign: Campaign, phase: Phase) -> None:
    """Train, record and keep resident the phase's segmenter, uncertainty model and control.

    The last only where the campaign has a control arm; see `control_frames`.
    """
    frames = await asyncio.to_thread(labeled_frames, ctx.stores, campaign.id, Pool.LABELED)
    if not frames:
        raise StepFailed(
            "No frame is labeled, so nothing can be trained: every frame of the initial query was "
            "skipped. Stop this campaign and create one with more initial labels."
        )
    by_chance = await asyncio.to_thread(control_frames, ctx.stores, campaign, phase, frames)
    failures = await asyncio.to_thread(failures_of, ctx.stores, phase)
    report = _JointProgress(lambda progress: ctx.board.report(campaign.id, progress))
    models = [
        (ReleaseKind.SEGMENTER, phase.segmenter_release, frames),
        (ReleaseKind.UNCERTAINTY, phase.uncertainty_release, frames),
    ]
    if 0 < len(by_chance) < len(frames):
        models.append((ReleaseKind.CONTROL, phase.control_release, by_chance))
    await _side_by_side(
        _train(ctx, campaign, phase, kind, frames=labels, failures=failures, report=report)
        for kind, release, labels in models
        if not release
    )
    await ctx.retention.apply()
    await ctx.advance(phase, PhaseState.EVALUATING)


async def _side_by_side(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await all of the work.

    When one piece failed for good, the others are still seen to their end: their result counts
    after a resume. When one could not reach the trainer, all are left, to be taken up again.
    """
    tasks = [asyncio.create_task(each) for each in work]
    pending = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                error = task.exception()
                if error is not None and not isinstance(error, StepFailed):
                    raise error
        for task in tasks:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _train(
    ctx: DriverContext,
    campaign: Campaign,
    phase: Phase,
    kind: ReleaseKind,
    *,
    frames: tuple[LabeledFrame, ...],
    failures: int,
    report: "_JointProgress",
) -> None:
    config = campaign.config
    warm_start = await asyncio.to_thread(_warm_start, ctx.stores, campaign, phase, kind)

    async def start(request_id: str) -> Job:
        return await ctx.trainer.start_training(
            TrainingOrder(
                request_id=request_id,
                campaign_id=campaign.id,
                kind=kind,
                preset=config.preset,
                architecture=(
                    config.uncertainty if kind is ReleaseKind.UNCERTAINTY else config.segmenter
                ),
                hyperparameters=(
                    config.uncertainty_hyperparameters
                    if kind is ReleaseKind.UNCERTAINTY
                    else config.segmenter_hyperparameters
                ),
                epochs=config.epochs,
                seed=derive_seed(phase.seed, "training", kind.value),
                n_passes=config.n_passes,
                warm_start=warm_start,
                frames=frames,
            )
        )

    async def note_job(job: Job) -> None:
        await asyncio.to_thread(
            ctx.stores.phases.record_job, campaign.id, phase.number, PhaseJob(kind.value), job.id
        )

    job = await follow_job(
        ctx.trainer,
        start,
        request_id=f"{campaign.id}-p{phase.number}-{kind.value}-{fingerprint(frames)}",
        failures=failures,
        what=f"Training the {kind.value} model",
        on_start=note_job,
        on_change=lambda job: report(kind.value, job),
    )
    if job.trained is None:
        raise StepFailed(f"The trainer ended the {kind.value} training without a result.")
    await asyncio.to_thread(
        ctx.stores.releases.create,
        NewRelease(
            campaign_id=campaign.id,
            phase=phase.number,
            kind=kind,
            model=job.trained.model,
            labeled=len(frames),
            architecture=job.trained.architecture,
        ),
    )
    ctx.notifier.notify(campaign.id)
    ctx.notifier.notify(SERVING)


class _JointProgress:
    """Adds up the progress of jobs that run side by side."""

    def __init__(self, report: Callable[[StepProgress], None]) -> None:
        self._report = report
        self._jobs: dict[str, Job] = {}

    def __call__(self, name: str, job: Job) -> None:
        self._jobs[name] = job
        jobs = [(key, self._jobs[key]) for key in sorted(self._jobs)]
        self._report(
            StepProgress(
                activity="; ".join(describe_job(key, each) for key, each in jobs),
                done=sum(each.progress.done for _, each in jobs),
                total=sum(each.progress.total for _, each in jobs),
                eta_s=merge_eta_s(
                    [0.0 if each.state.ended else each.progress.eta_s for _, each in jobs]
                ),
            )
        )


def describe_job(name: str, job: Job) -> str:
    """Return what a job does, for people: `segmenter training, epoch 3 of 12`."""
    if job.state.ended:
        return f"{name} {job.state.value}"
    progress = job.progress
    text = f"{name} {progress.stage or job.state.value}"
    if progress.total and progress.stage == "training":
        text += f", epoch {progress.done} of {progress.total}"
    return text


def _warm_start(
    stores: Stores, campaign: Campaign, phase: Phase, kind: ReleaseKind
) -> ModelVersion | None:
    if campaign.config.retrain_mode is not RetrainMode.WARM_START or phase.number <= 1:
        return None
    if kind is ReleaseKind.CONTROL:
        return control_warm_start(stores, phase)
    before = stores.phases.get(campaign.id, phase.number - 1)
    release = (
        before.segmenter_release if kind is ReleaseKind.SEGMENTER else before.uncertainty_release
    )
    return stores.releases.get(release).model if release else None


def fingerprint(frames: Iterable[LabeledFrame]) -> str:
    """Return what tells sets of labels apart, for request ids.

    A label that is corrected while its job runs makes a repeated request another one, which the
    trainer would rightly refuse under the same id.
    """
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(f"{frame.frame_id} {frame.mask_ref}\n".encode())
    return digest.hexdigest()[:12]


def labeled_frames(stores: Stores, campaign_id: str, pool: Pool) -> tuple[LabeledFrame, ...]:
    """Return every frame of a pool that has a mask, by frame id."""
    frames: list[LabeledFrame] = []
    token = ""
    while True:
        page = stores.campaigns.pool_frames(campaign_id, pool, PageRequest(_PAGE, token))
        frames += [
            LabeledFrame(frame.frame_id, frame.image_ref, frame.mask_ref, frame.patient_id)
            for frame in page.items
            if frame.mask_ref
        ]
        token = page.next_token
        if not token:
            return tuple(frames)


def failures_of(stores: Stores, phase: Phase) -> int:
    """Return how often a phase failed so far."""
    count = 0
    token = ""
    while True:
        page = stores.phases.history(phase.campaign_id, PageRequest(_PAGE, token))
        count += sum(
            move.phase == phase.number and move.to_state is PhaseState.FAILED for move in page.items
        )
        token = page.next_token
        if not token:
            return count
