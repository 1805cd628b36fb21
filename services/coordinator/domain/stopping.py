"""When a campaign stops, and how many frames its next query may ask for."""

from services.coordinator.domain.campaign import CampaignConfig, StopReason

__all__ = ["decide_stop", "query_size"]


def decide_stop(
    config: CampaignConfig, *, labeled: int, unlabeled: int, test_iou: float | None
) -> StopReason | None:
    """Return why the campaign stops after an evaluation, or None to go on.

    The first reason that holds is given, in the order target, budget, pool.

    Args:
        config: Of the campaign.
        labeled: Accepted labels.
        unlabeled: Frames that may still be chosen.
        test_iou: Of the segmenter just evaluated; None when not measured.
    """
    if config.target_iou is not None and test_iou is not None and test_iou >= config.target_iou:
        return StopReason.TARGET_REACHED
    if config.label_budget and labeled >= config.label_budget:
        return StopReason.BUDGET_EXHAUSTED
    if unlabeled == 0:
        return StopReason.POOL_EXHAUSTED
    return None


def query_size(config: CampaignConfig, *, phase: int, labeled: int) -> int:
    """Return how many frames the phase asks for: K, or what the label budget leaves.

    Args:
        config: Of the campaign.
        phase: Number; 0 asks for the initial labels.
        labeled: Accepted labels.
    """
    wanted = config.initial_labels if phase == 0 else config.query_size
    if config.label_budget:
        wanted = min(wanted, config.label_budget - labeled)
    return max(wanted, 0)
