"""The control segmenter: trained on what chance chose, to measure what choosing is worth."""

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.phase import Phase
from services.coordinator.domain.ports import Stores
from services.coordinator.domain.ports.trainer import LabeledFrame
from services.coordinator.domain.query_config import ColdStart
from services.coordinator.domain.releases import ModelVersion

__all__ = ["FEWEST_PATIENTS", "control_frames", "control_warm_start"]

FEWEST_PATIENTS = 2
"""Labels of one patient say nothing of what random labels are worth on others."""


def control_frames(
    stores: Stores, campaign: Campaign, phase: Phase, labeled: tuple[LabeledFrame, ...]
) -> tuple[LabeledFrame, ...]:
    """Return the labels that a phase's control segmenter trains on; none where it has none.

    These are the labels that no strategy had a hand in: the control arm, and the initial query if
    it was random. A TYPICAL cold start is a choice, so then its labels do not count.

    There is no control segmenter without a control share, from labels of a single patient, and
    where no random label has come since the one before. Where chance chose every label, as in the
    first phase, all are returned, and the phase's segmenter is its own control.

    Args:
        stores: Where phases are.
        campaign: Of the phase.
        phase: In TRAINING or later.
        labeled: Every label of the campaign.
    """
    query = campaign.config.query
    if query.control_share <= 0:
        return ()
    if campaign.config.acquisition is AcquisitionFunction.RANDOM:
        by_chance = labeled
    else:
        chosen = stores.phases.randomly_chosen(
            campaign.id, initial=query.cold_start is ColdStart.RANDOM
        )
        by_chance = tuple(frame for frame in labeled if frame.frame_id in chosen)
    if len({frame.patient_id for frame in by_chance}) < FEWEST_PATIENTS:
        return ()
    before = _last_with_control(stores, phase)
    if before is not None and before.control_labeled == len(by_chance):
        return ()
    return by_chance


def control_warm_start(stores: Stores, phase: Phase) -> ModelVersion | None:
    """Return the control segmenter before this one; None where there is none.

    Never a segmenter of the campaign that has seen other labels, except in the first phases, when
    that was its own control.

    Args:
        stores: Where phases and releases are.
        phase: That trains.
    """
    before = _last_with_control(stores, phase)
    if before is None:
        return None
    release = before.control_release or before.segmenter_release
    return stores.releases.get(release).model if release else None


def _last_with_control(stores: Stores, phase: Phase) -> Phase | None:
    for number in range(phase.number - 1, 0, -1):
        before = stores.phases.get(phase.campaign_id, number)
        if before.control_iou is not None:
            return before
    return None
