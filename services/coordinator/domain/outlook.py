"""What a campaign's measured phases say about its labels: those to come, and those saved."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.coordinator.domain.campaign import Campaign, CampaignState
from services.coordinator.domain.curve_draws import FrameIous
from services.coordinator.domain.forecast import LabelForecast, forecast_labels
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.learning_curve import CurvePoint, NoFit, fit_curve
from services.coordinator.domain.phase import FrameMeasure, Phase
from services.coordinator.domain.ports import PageRequest, Stores
from services.coordinator.domain.query_config import Arm
from services.coordinator.domain.savings import LabelSavings, measure_savings

__all__ = ["LabelOutlook", "MeasuredPoint", "look_ahead", "measured_phases", "measures_of"]

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    """A segmenter that was measured: by which phase, on how many labels, with what test IoU."""

    phase: int
    labels: int
    iou: float


@dataclass(frozen=True, slots=True)
class LabelOutlook:
    """What can be said of a campaign's labels at the moment.

    Attributes:
        active: The campaign's segmenters, by phase.
        control: Its control segmenters, by phase.
        target_iou: Of the campaign; None when it has none.
        forecast: Labels to come, or why they cannot be said.
        savings: Labels saved, or why they cannot be said.
    """

    active: tuple[MeasuredPoint, ...]
    control: tuple[MeasuredPoint, ...]
    target_iou: float | None
    forecast: LabelForecast | NoFit
    savings: LabelSavings | NoFit


def look_ahead(stores: Stores, campaign: Campaign) -> LabelOutlook:
    """Read what was measured and say what follows.

    Takes a second or two of one processor core with dozens of phases.

    Args:
        stores: Where phases and measures are.
        campaign: Any, also one that never started.
    """
    phases = measured_phases(stores, campaign)
    active = tuple(
        MeasuredPoint(phase.number, phase.labeled, phase.test_iou)
        for phase in phases
        if phase.test_iou is not None
    )
    control = tuple(
        MeasuredPoint(phase.number, phase.control_labeled, phase.control_iou)
        for phase in phases
        if phase.control_iou is not None
    )
    target, seed = campaign.config.target_iou, campaign.config.seed
    curve = fit_curve(_points(active))
    forecast: LabelForecast | NoFit
    savings: LabelSavings | NoFit
    if isinstance(curve, NoFit):
        forecast = savings = curve
    else:
        measures = _frame_ious(stores, campaign, phases)
        of_active = None
        if measures is not None:
            of_active = FrameIous(measures.ious[: len(active)], measures.patients)
        forecast = forecast_labels(curve, target, measures=of_active, seed=seed)
        savings = measure_savings(curve, _points(control), measures=measures, seed=seed)
    return LabelOutlook(active, control, target, forecast, savings)


def measured_phases(stores: Stores, campaign: Campaign) -> list[Phase]:
    """Return a campaign's phases that have a measured segmenter, in order."""
    if campaign.state is CampaignState.DRAFT:
        return []
    phases: list[Phase] = []
    token = ""
    while True:
        page = stores.phases.list(campaign.id, PageRequest(_PAGE, token))
        phases += [phase for phase in page.items if phase.test_iou is not None and phase.labeled]
        token = page.next_token
        if not token:
            return phases


def measures_of(stores: Stores, phase: Phase, arm: Arm) -> list[FrameMeasure]:
    """Return the measures of one of a phase's segmenters on every test frame, by frame id."""
    measures: list[FrameMeasure] = []
    token = ""
    while True:
        page = stores.phases.measures(
            phase.campaign_id, phase.number, PageRequest(_PAGE, token), arm=arm
        )
        measures += page.items
        token = page.next_token
        if not token:
            return measures


def _points(measured: tuple[MeasuredPoint, ...]) -> list[CurvePoint]:
    return [CurvePoint(point.labels, point.iou) for point in measured]


def _frame_ious(stores: Stores, campaign: Campaign, phases: list[Phase]) -> FrameIous | None:
    """Return the measures of active, then control segmenters on the frames that all share."""
    rows = [
        {measure.frame_id: measure.iou for measure in measures_of(stores, phase, arm)}
        for arm in (Arm.ACTIVE, Arm.CONTROL)
        for phase in phases
        if arm is Arm.ACTIVE or phase.control_iou is not None
    ]
    patient_of = _test_patients(stores, campaign)
    shared = sorted(set(patient_of).intersection(*rows))
    if not shared:
        return None
    _, patients = np.unique([patient_of[frame] for frame in shared], return_inverse=True)
    ious = np.asarray([[row[frame] for frame in shared] for row in rows], dtype=np.float64)
    return FrameIous(ious, patients)


def _test_patients(stores: Stores, campaign: Campaign) -> dict[str, str]:
    patients: dict[str, str] = {}
    token = ""
    while True:
        page = stores.campaigns.pool_frames(campaign.id, Pool.TEST, PageRequest(_PAGE, token))
        patients |= {frame.frame_id: frame.patient_id for frame in page.items}
        token = page.next_token
        if not token:
            return patients
