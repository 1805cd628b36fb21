"""Driving one campaign: step by step, from whatever state is stored."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import structlog

from services.coordinator.domain.campaign import Campaign, CampaignState
from services.coordinator.domain.errors import StaleRevision
from services.coordinator.domain.phase import Phase, PhaseState
from services.coordinator.driver.annotating import await_readers, begin_next_phase
from services.coordinator.driver.context import DriverContext
from services.coordinator.driver.evaluation import evaluate_segmenter
from services.coordinator.driver.scoring import score_pool
from services.coordinator.driver.selecting import select_batch
from services.coordinator.driver.training import train_models
from services.platform.correlation import set_correlation_id
from services.platform.errors import EchoLoopError, OverloadedError, UnavailableError

__all__ = ["STEPS", "drive"]

Step: TypeAlias = Callable[[DriverContext, Campaign, Phase], Awaitable[None]]

STEPS: Final[Mapping[PhaseState, Step]] = {
    PhaseState.TRAINING: train_models,
    PhaseState.EVALUATING: evaluate_segmenter,
    PhaseState.SCORING: score_pool,
    PhaseState.SELECTING: select_batch,
    PhaseState.ANNOTATING: await_readers,
    PhaseState.COMPLETE: begin_next_phase,
}
"""What is done in each state. Every step may be repeated from its beginning at any time: it calls
others under request ids that follow from campaign, phase and step, stores what it learned, and
moves the phase on by compare-and-set at its very end."""

_STALE_PAUSE_S: Final = 0.02

_UNEXPECTED: Final = (
    "The coordinator failed unexpectedly in this step; its log has the details. Resume the "
    "campaign to repeat the step."
)

_log = structlog.get_logger(__name__)


async def drive(ctx: DriverContext, campaign_id: str) -> None:
    """Take a campaign from step to step until it is not RUNNING or its phase FAILED.

    A dependency that is down is waited for, without end. Any other failure of a step makes the
    phase FAILED, with a public message, for `ResumeCampaign` to repeat.
    """
    state: PhaseState | None = None
    shown: tuple[int, PhaseState] | None = None
    failures = 0
    reported = ctx.board.reports(campaign_id)
    while True:
        try:
            campaign = await asyncio.to_thread(ctx.stores.campaigns.get, campaign_id)
            if campaign.state is not CampaignState.RUNNING:
                return
            phase = await ctx.read_phase(campaign)
            state = phase.state
            if state is PhaseState.FAILED:
                return
            if shown != (phase.number, state):
                # What the step before reported last says nothing about this one.
                ctx.board.forget(campaign_id)
                shown = (phase.number, state)
            await _take_step(ctx, campaign, phase)
        except StaleRevision:
            await asyncio.sleep(_STALE_PAUSE_S)  # someone else moved it: look again
        except Exception as error:
            # Something is down; or a failure could not even be written down, which must not end
            # the driver. A step that got further before it failed starts over with short waits.
            message = error.message if isinstance(error, EchoLoopError) else _UNEXPECTED
            progressed = ctx.board.reports(campaign_id) != reported
            reported = ctx.board.reports(campaign_id)
            failures = 1 if progressed else failures + 1
            delay_s = ctx.backoff.delay_s(failures)
            if state is not None:
                ctx.metrics.step_waits(state)
            ctx.board.wait_for(campaign_id, f"waiting, will try again: {message}")
            _log.warning(
                "campaign.waiting",
                campaign=campaign_id,
                error=message,
                delay_s=delay_s,
                exc_info=not isinstance(error, EchoLoopError),
            )
            await asyncio.sleep(delay_s)
        else:
            failures = 0
            ctx.board.clear_wait(campaign_id)


async def _take_step(ctx: DriverContext, campaign: Campaign, phase: Phase) -> None:
    set_correlation_id(f"{campaign.id[:24]}-p{phase.number}-{phase.state.value}")
    _log.info("campaign.step", campaign=campaign.id, phase=phase.number, state=phase.state.value)
    try:
        await STEPS[phase.state](ctx, campaign, phase)
    except (UnavailableError, OverloadedError, StaleRevision):
        raise
    except EchoLoopError as error:
        await _fail(ctx, phase, error.message)
    except Exception:
        _log.exception("campaign.step_crashed", campaign=campaign.id, phase=phase.number)
        await _fail(ctx, phase, _UNEXPECTED)


async def _fail(ctx: DriverContext, phase: Phase, message: str) -> None:
    campaign = await asyncio.to_thread(ctx.stores.campaigns.get, phase.campaign_id)
    current = await asyncio.to_thread(ctx.stores.phases.get, phase.campaign_id, phase.number)
    if campaign.state is CampaignState.COMPLETED or current.state is not phase.state:
        return  # stopped, or moved on, while the step failed: its failure is of no interest
    _log.error("campaign.phase_failed", campaign=campaign.id, phase=phase.number, error=message)
    await asyncio.to_thread(
        ctx.stores.phases.fail, campaign.id, phase.number, message, revision=current.revision
    )
    ctx.metrics.step_failed(phase.state)
    ctx.notifier.notify(campaign.id)
