"""Step ANNOTATING: wait for the readers. And what follows a COMPLETE phase."""

import asyncio

from services.coordinator.domain.annotation import AnnotationState
from services.coordinator.domain.campaign import Campaign, StopReason
from services.coordinator.domain.phase import Phase, PhaseState
from services.coordinator.driver.context import DriverContext
from services.coordinator.driver.notifier import readers_of
from services.coordinator.driver.progress import Pace, StepProgress

__all__ = ["await_readers", "begin_next_phase"]

_ENDED = (AnnotationState.ACCEPTED, AnnotationState.SKIPPED)


async def await_readers(ctx: DriverContext, campaign: Campaign, phase: Phase) -> None:
    """Wait until every request is accepted or skipped.

    Wakes on the notices of submits and skips; looks by itself every `poll_s` for those that
    another process took.
    """
    topic = readers_of(campaign.id)
    pace: Pace | None = None
    while True:
        mark = ctx.notifier.mark(topic)
        counts = await asyncio.to_thread(
            ctx.stores.annotations.count_by_state, campaign.id, phase.number
        )
        total = sum(counts.values())
        done = sum(counts[state] for state in _ENDED)
        if done == total:
            break
        pace = pace or Pace(done)
        ctx.board.report(
            campaign.id,
            StepProgress("waiting for readers", done, total, pace.eta_s(done, total)),
        )
        await ctx.notifier.wait(topic, mark, ctx.poll_s)
    current = await asyncio.to_thread(ctx.stores.campaigns.get, campaign.id)
    nothing_left = current.labeled == 0 and current.unlabeled == 0
    await ctx.advance(
        phase,
        PhaseState.COMPLETE,
        stop_reason=StopReason.POOL_EXHAUSTED if nothing_left else None,
    )


async def begin_next_phase(ctx: DriverContext, campaign: Campaign, phase: Phase) -> None:
    """Begin the phase after a COMPLETE one."""
    await asyncio.to_thread(ctx.stores.phases.begin, campaign.id, phase.number + 1)
    ctx.notifier.notify(campaign.id)
