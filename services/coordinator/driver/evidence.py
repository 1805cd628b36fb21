"""Vectors that a batch is chosen by, stored before the choice so that it can be repeated."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from services.coordinator.domain.acquisition import FrameFailure
from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.derivation import frames_to_describe, frames_to_embed
from services.coordinator.domain.embeddings import Embedding
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import Phase
from services.coordinator.domain.ports import FrameRef, PageRequest
from services.coordinator.domain.ports.uncertainty import DescribedFrame
from services.coordinator.domain.releases import Release
from services.coordinator.driver.context import DriverContext, StepFailed
from services.coordinator.driver.progress import Pace, StepProgress
from services.coordinator.driver.scoring import model_not_ready
from services.platform.errors import EchoLoopError, NotFoundError, UnavailableError

__all__ = ["gather_evidence"]

_PAGE: Final = 1000


async def gather_evidence(ctx: DriverContext, campaign: Campaign, phase: Phase) -> None:
    """Store the vectors that a phase in SELECTING chooses by, as far as they are not stored.

    A frame that gives none is left out, and not chosen; when not one does, the step fails.
    """
    if phase.number == 0:
        frames = await asyncio.to_thread(frames_to_describe, ctx.stores, campaign, phase)
        if frames:
            await _fetch(ctx, campaign, phase, frames, None)
        return
    shortlist = await asyncio.to_thread(frames_to_embed, ctx.stores, campaign, phase)
    if shortlist:
        labeled = await asyncio.to_thread(_labeled, ctx, campaign)
        release = await asyncio.to_thread(ctx.stores.releases.get, phase.uncertainty_release)
        await _fetch(ctx, campaign, phase, (*shortlist, *labeled), release)


async def _fetch(
    ctx: DriverContext,
    campaign: Campaign,
    phase: Phase,
    frame_ids: Sequence[str],
    release: Release | None,
) -> None:
    """Fetch and store what is missing: embeddings by a release, or descriptors without one."""
    vectors = await _Vectors.open(ctx, phase, len(frame_ids))
    missing = [frame_id for frame_id in frame_ids if frame_id not in vectors.stored]
    for start in range(0, len(missing), _PAGE):
        frames = await asyncio.to_thread(
            ctx.stores.queries.references, campaign.id, missing[start : start + _PAGE]
        )
        try:
            async for frame in _results(ctx, phase, frames, release):
                await vectors.add(frame)
        except EchoLoopError as error:
            await vectors.flush()  # what came before the call broke is not asked for again
            if release is not None and isinstance(error, NotFoundError | UnavailableError):
                raise await model_not_ready(ctx, error) from error
            raise
    await vectors.close()


async def _results(
    ctx: DriverContext, phase: Phase, frames: Sequence[FrameRef], release: Release | None
) -> AsyncIterator[DescribedFrame]:
    if release is None:
        async for described in ctx.scorer.describe(frames):
            yield described
        return
    async for result in ctx.scorer.score(
        frames, model=release.model, seed=phase.seed, include_embeddings=True
    ):
        yield DescribedFrame(result.outcome.frame_id, result.embedding, result.outcome.failure)


class _Vectors:
    """Stores vectors in batches and reports how far the fetching is."""

    def __init__(
        self, ctx: DriverContext, phase: Phase, stored: frozenset[str], total: int
    ) -> None:
        self.stored = stored
        self._ctx = ctx
        self._phase = phase
        self._total = total
        self._done = len(stored)
        self._given = len(stored)
        self._failure: FrameFailure | None = None
        self._pace = Pace(self._done)
        self._batch: list[Embedding] = []

    @classmethod
    async def open(cls, ctx: DriverContext, phase: Phase, total: int) -> "_Vectors":
        stored = await asyncio.to_thread(
            ctx.stores.embeddings.frame_ids, phase.campaign_id, phase.number
        )
        vectors = cls(ctx, phase, stored, total)
        vectors._report()
        return vectors

    async def add(self, frame: DescribedFrame) -> None:
        self._done += 1
        if frame.descriptor is None:
            self._failure = self._failure or frame.failure
            return
        self._given += 1
        self._batch.append(frame.descriptor)
        if len(self._batch) >= self._ctx.scoring_batch:
            await self.flush()

    async def flush(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            await asyncio.to_thread(
                self._ctx.stores.embeddings.put, self._phase.campaign_id, self._phase.number, batch
            )
        self._report()

    async def close(self) -> None:
        await self.flush()
        if not self._given:
            reason = self._failure.message if self._failure else "the model gives no embeddings."
            raise StepFailed(
                f"None of {self._total} frames could be compared with the others. The first one: "
                f"{reason}"
            )

    def _report(self) -> None:
        self._ctx.board.report(
            self._phase.campaign_id,
            StepProgress(
                "comparing frames with each other",
                min(self._done, self._total),
                self._total,
                self._pace.eta_s(self._done, self._total),
            ),
        )


def _labeled(ctx: DriverContext, campaign: Campaign) -> list[str]:
    frame_ids: list[str] = []
    token = ""
    while True:
        page = ctx.stores.campaigns.pool_frames(
            campaign.id, Pool.LABELED, PageRequest(_PAGE, token)
        )
        frame_ids += [frame.frame_id for frame in page.items]
        token = page.next_token
        if not token:
            return frame_ids
