"""Choosing a phase's query batch from what is stored, and proving afterwards that it was that."""

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.derivation import derive, function_of, wanted_frames
from services.coordinator.domain.errors import PhaseNotFound
from services.coordinator.domain.phase import Phase
from services.coordinator.domain.ports import Stores
from services.coordinator.domain.ranking import due_choice, same_arms
from services.coordinator.domain.selection import QueryBatch, SelectionCheck, verify_selection

__all__ = ["choose_batch", "verify_batch"]


def choose_batch(
    stores: Stores, campaign: Campaign, phase: Phase, *, model_digest: str = ""
) -> QueryBatch:
    """Return the batch that a phase in SELECTING asks for; `stores.queries.save` stores it.

    Phase 0 chooses by the campaign's cold start, frames that came with a mask first; later phases
    by its strategy from the phase's stored scores and vectors. Failed frames have no score and are
    never chosen. May be empty.

    Args:
        stores: Where scores, vectors and candidates are.
        campaign: As it is now.
        phase: The phase.
        model_digest: Of the uncertainty model that scored; ignored where nothing was scored.
    """
    acquisition = function_of(campaign, phase)
    wanted = wanted_frames(campaign, phase)
    chosen = derive(stores, campaign, phase, acquisition, wanted)
    return QueryBatch(
        frame_ids=chosen.frame_ids,
        acquisition=acquisition,
        seed=phase.seed,
        model_digest=model_digest if acquisition.needs_scores else "",
        query_size=wanted,
        control=chosen.control,
    )


def verify_batch(stores: Stores, campaign_id: str, phase: int) -> SelectionCheck:
    """Recompute a phase's batch from stored scores, vectors, seed and strategy, and compare.

    Args:
        stores: Where all of it is.
        campaign_id: Campaign.
        phase: Number.

    Raises:
        PhaseNotFound: There is no such phase, or it has not selected yet.
    """
    batch = stores.queries.batch(campaign_id, phase)
    if batch is None:
        raise PhaseNotFound(
            f"Phase {phase} has not selected frames yet, so nothing can be checked."
        )
    campaign = stores.campaigns.get(campaign_id)
    snapshot = stores.phases.get(campaign_id, phase)
    return verify_selection(
        phase,
        batch,
        derive(stores, campaign, snapshot, batch.acquisition, batch.query_size),
        scored=stores.scores.progress(campaign_id, phase).scored,
        strategy=campaign.config.query.strategy,
        evidence_agrees=_evidence_agrees(stores, campaign, snapshot, batch),
    )


def _evidence_agrees(stores: Stores, campaign: Campaign, phase: Phase, batch: QueryBatch) -> bool:
    """Return whether the function was the one that was due, and scores are listed as they are."""
    if phase.number == 0:
        return batch.acquisition is AcquisitionFunction.RANDOM
    due = due_choice(stores, campaign, phase)
    stored = stores.choices.arms(campaign.id).get(phase.number, ())
    return (
        batch.acquisition is due.function
        and phase.ranked_by in (None, due.function)
        and same_arms(stored, due.arms)
        and not stores.scores.misplaced(campaign.id, phase.number)
    )
