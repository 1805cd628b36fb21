"""Step SCORING: an outcome for every unlabeled frame."""

import asyncio
import contextlib
import time
from typing import Final

from services.coordinator.domain.acquisition import FrameScores
from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.phase import Phase, PhaseState
from services.coordinator.domain.ports import FrameRef
from services.coordinator.domain.ranking import settle_function
from services.coordinator.domain.releases import Release
from services.coordinator.driver.context import DriverContext, StepFailed
from services.coordinator.driver.progress import Pace, StepProgress
from services.platform.errors import EchoLoopError, NotFoundError, UnavailableError

__all__ = ["model_not_ready", "score_pool"]

_PAGE: Final = 1000
_FLUSH_S: Final = 1.0


async def score_pool(ctx: DriverContext, campaign: Campaign, phase: Phase) -> None:
    """Score what is not scored yet, store it batch by batch, move on to SELECTING.

    Which function ranks the frames is settled first.

    A frame that cannot be scored is recorded with its reason and blocks nothing; when not one can
    be, the step fails.
    """
    function = await asyncio.to_thread(settle_function, ctx.stores, campaign, phase)
    if not function.needs_scores:
        await ctx.advance(phase, PhaseState.SELECTING, note="random choice needs no scores")
        return
    release = await asyncio.to_thread(ctx.stores.releases.get, phase.uncertainty_release)
    outcomes = await _Outcomes.open(ctx, phase)
    after = ""
    while frames := await asyncio.to_thread(
        ctx.stores.scores.unscored, campaign.id, phase.number, after=after, limit=_PAGE
    ):
        try:
            await _score_page(ctx, phase, release, frames, outcomes)
        except (NotFoundError, UnavailableError) as error:
            raise await model_not_ready(ctx, error) from error
        after = frames[-1].frame_id
    await outcomes.close()
    await ctx.advance(phase, PhaseState.SELECTING)


async def _score_page(
    ctx: DriverContext,
    phase: Phase,
    release: Release,
    frames: tuple[FrameRef, ...],
    outcomes: "_Outcomes",
) -> None:
    try:
        async for result in ctx.scorer.score(frames, model=release.model, seed=phase.seed):
            await outcomes.add(result.outcome)
    except EchoLoopError:
        await outcomes.flush()  # what was scored before the call broke is not scored again
        raise
    await outcomes.flush()


async def model_not_ready(ctx: DriverContext, error: EchoLoopError) -> UnavailableError:
    """Return what to raise after a failed scoring call, having asked for the model's version.

    Triton may not hold the version: nothing else would bring it back while the step waits.
    """
    with contextlib.suppress(EchoLoopError):
        await ctx.retention.apply()
    return UnavailableError(error.message, reason=error.reason)


class _Outcomes:
    """Stores outcomes in batches and reports how far the scoring is.

    Failures are held back until one frame was scored: if none can be, the cause is not the frames,
    and a resume must try them all again.
    """

    def __init__(self, ctx: DriverContext, phase: Phase, scored: int, failed: int, total: int):
        self._ctx = ctx
        self._phase = phase
        self._scored = scored
        self._done = scored + failed
        self._total = total
        self._pace = Pace(self._done)
        self._batch: list[FrameScores] = []
        self._held: list[FrameScores] = []
        self._flushed_s = time.monotonic()

    @classmethod
    async def open(cls, ctx: DriverContext, phase: Phase) -> "_Outcomes":
        progress = await asyncio.to_thread(
            ctx.stores.scores.progress, phase.campaign_id, phase.number
        )
        total = progress.scored + progress.failed + progress.remaining
        outcomes = cls(ctx, phase, progress.scored, progress.failed, total)
        outcomes._report()
        return outcomes

    async def add(self, outcome: FrameScores) -> None:
        self._done += 1
        if outcome.scores is None:
            self._held.append(outcome)
        else:
            self._scored += 1
            self._batch.append(outcome)
        full = len(self._batch) >= self._ctx.scoring_batch
        if full or time.monotonic() - self._flushed_s > _FLUSH_S:
            await self.flush()

    async def flush(self) -> None:
        self._flushed_s = time.monotonic()
        if self._scored:
            self._batch += self._held
            self._held = []
        if self._batch:
            batch, self._batch = self._batch, []
            await asyncio.to_thread(
                self._ctx.stores.scores.put, self._phase.campaign_id, self._phase.number, batch
            )
            failed = sum(outcome.scores is None for outcome in batch)
            self._ctx.metrics.frames_scored(len(batch) - failed, failed)
        self._report()

    async def close(self) -> None:
        await self.flush()
        if not self._held:
            return
        failure = self._held[0].failure
        raise StepFailed(
            f"None of the {len(self._held)} unlabeled frames could be scored. The first one: "
            f"{failure.message if failure else 'no reason was given.'}"
        )

    def _report(self) -> None:
        self._ctx.board.report(
            self._phase.campaign_id,
            StepProgress(
                "scoring the unlabeled frames",
                self._done,
                self._total,
                self._pace.eta_s(self._done, self._total),
            ),
        )
