"""Choosing a phase's query batch from what is stored, and proving afterwards that it was that."""

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.errors import PhaseNotFound
from services.coordinator.domain.phase import Phase
from services.coordinator.domain.ports import Stores
from services.coordinator.domain.selection import QueryBatch, SelectionCheck, verify_selection
from services.coordinator.domain.stopping import query_size
from services.coordinator.domain.strategies import initial_batch, random_batch, top_k

__all__ = ["choose_batch", "verify_batch"]


def choose_batch(
    stores: Stores, campaign: Campaign, phase: Phase, *, model_digest: str = ""
) -> QueryBatch:
    """Return the batch that a phase in SELECTING asks for; `stores.queries.save` stores it.

    Phase 0 chooses at random, frames that came with a mask first; later phases by the campaign's
    acquisition function from the phase's stored scores. Failed frames have no score and are never
    chosen. May be empty.

    Args:
        stores: Where scores and candidates are.
        campaign: As it is now.
        phase: The phase.
        model_digest: Of the uncertainty model that scored; ignored where nothing was scored.
    """
    acquisition = AcquisitionFunction.RANDOM if phase.number == 0 else campaign.config.acquisition
    wanted = query_size(campaign.config, phase=phase.number, labeled=campaign.labeled)
    return QueryBatch(
        frame_ids=_derive(stores, phase, acquisition, wanted),
        acquisition=acquisition,
        seed=phase.seed,
        model_digest=model_digest if acquisition.needs_scores else "",
        query_size=wanted,
    )


def verify_batch(stores: Stores, campaign_id: str, phase: int) -> SelectionCheck:
    """Recompute a phase's batch from stored scores, seed and strategy, and compare.

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
    snapshot = stores.phases.get(campaign_id, phase)
    recomputed = _derive(stores, snapshot, batch.acquisition, batch.query_size)
    scored = stores.scores.progress(campaign_id, phase).scored
    return verify_selection(phase, batch, recomputed, scored=scored)


def _derive(
    stores: Stores, phase: Phase, acquisition: AcquisitionFunction, wanted: int
) -> tuple[str, ...]:
    candidates = stores.queries.candidates(phase.campaign_id, phase.number)
    if phase.number == 0:
        return initial_batch(candidates, wanted, seed=phase.seed)
    if acquisition is AcquisitionFunction.RANDOM:
        return random_batch((c.frame_id for c in candidates), wanted, seed=phase.seed)
    frame_ids, values = stores.scores.values(phase.campaign_id, phase.number)
    return top_k(frame_ids, values, wanted)
