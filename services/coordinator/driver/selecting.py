"""Step SELECTING: the query batch, and proposals for the readers."""

import asyncio

from services.coordinator.domain.campaign import Campaign, StopReason
from services.coordinator.domain.phase import Phase, PhaseState
from services.coordinator.domain.querying import choose_batch
from services.coordinator.domain.selection import Proposal, QueryBatch
from services.coordinator.driver.context import DriverContext
from services.coordinator.driver.evidence import gather_evidence
from services.coordinator.driver.progress import StepProgress
from services.coordinator.driver.scoring import model_not_ready
from services.platform.errors import NotFoundError, UnavailableError

__all__ = ["select_batch"]


async def select_batch(ctx: DriverContext, campaign: Campaign, phase: Phase) -> None:
    """Choose and store the batch, attach proposals, open it to the readers."""
    ctx.board.report(campaign.id, StepProgress("choosing the frames to annotate"))
    batch = await _stored_batch(ctx, campaign, phase)
    ctx.notifier.notify(campaign.id)
    if not batch.frame_ids:
        reason = StopReason.POOL_EXHAUSTED if phase.number else None
        await ctx.advance(phase, PhaseState.COMPLETE, note="nothing to ask for", stop_reason=reason)
        return
    if phase.uncertainty_release:
        await _attach_proposals(ctx, campaign, phase)
    counts = await asyncio.to_thread(
        ctx.stores.annotations.count_by_state, campaign.id, phase.number
    )
    if sum(counts.values()):
        await ctx.advance(phase, PhaseState.ANNOTATING)
    else:
        await ctx.advance(phase, PhaseState.COMPLETE, note="every label came with the import")


async def _stored_batch(ctx: DriverContext, campaign: Campaign, phase: Phase) -> QueryBatch:
    batch = await asyncio.to_thread(ctx.stores.queries.batch, campaign.id, phase.number)
    if batch is not None:
        return batch
    await gather_evidence(ctx, campaign, phase)
    digest = ""
    if phase.uncertainty_release:
        release = await asyncio.to_thread(ctx.stores.releases.get, phase.uncertainty_release)
        digest = release.model.digest
    batch = await asyncio.to_thread(choose_batch, ctx.stores, campaign, phase, model_digest=digest)
    return await asyncio.to_thread(ctx.stores.queries.save, campaign.id, phase.number, batch)


async def _attach_proposals(ctx: DriverContext, campaign: Campaign, phase: Phase) -> None:
    frames = await asyncio.to_thread(ctx.stores.queries.without_proposal, campaign.id, phase.number)
    if not frames:
        return
    release = await asyncio.to_thread(ctx.stores.releases.get, phase.uncertainty_release)
    activity = "drawing proposals for the readers"
    ctx.board.report(campaign.id, StepProgress(activity, 0, len(frames)))
    proposals: list[Proposal] = []
    done = 0
    try:
        async for result in ctx.scorer.score(
            frames, model=release.model, seed=phase.seed, include_proposals=True
        ):
            done += 1
            ctx.board.report(campaign.id, StepProgress(activity, done, len(frames)))
            # A frame without proposal is drawn from nothing; it does not hold up the others.
            if result.outcome.scores is not None:
                proposals.append(
                    Proposal(result.outcome.frame_id, result.proposal_ref, result.uncertainty_ref)
                )
    except (NotFoundError, UnavailableError) as error:
        raise await model_not_ready(ctx, error) from error
    await asyncio.to_thread(ctx.stores.queries.set_proposals, campaign.id, phase.number, proposals)
