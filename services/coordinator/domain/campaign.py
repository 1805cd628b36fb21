"""A campaign: one active-learning project, its configuration and its states."""

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.errors import IllegalTransition, InvalidConfig
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.query_config import DOCUMENT_QUERY, QueryConfig

__all__ = [
    "IMAGE_SIZES",
    "Architecture",
    "Campaign",
    "CampaignConfig",
    "CampaignState",
    "Hyperparameters",
    "RetrainMode",
    "StopReason",
    "check_campaign_move",
]


class CampaignState(StrEnum):
    """State of a campaign."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"


class StopReason(StrEnum):
    """Why a campaign ended."""

    TARGET_REACHED = "target_reached"
    BUDGET_EXHAUSTED = "budget_exhausted"
    POOL_EXHAUSTED = "pool_exhausted"
    STOPPED_BY_OPERATOR = "stopped_by_operator"


class RetrainMode(StrEnum):
    """How a phase's models start."""

    FROM_SCRATCH = "from_scratch"
    WARM_START = "warm_start"


_MOVES: frozenset[tuple[CampaignState, CampaignState]] = frozenset(
    {
        (CampaignState.DRAFT, CampaignState.RUNNING),
        (CampaignState.DRAFT, CampaignState.COMPLETED),
        (CampaignState.RUNNING, CampaignState.PAUSED),
        (CampaignState.RUNNING, CampaignState.COMPLETED),
        (CampaignState.PAUSED, CampaignState.RUNNING),
        (CampaignState.PAUSED, CampaignState.COMPLETED),
    }
)


def check_campaign_move(from_state: CampaignState, to_state: CampaignState) -> None:
    """Pass if the move is in the transition table.

    Raises:
        IllegalTransition: It is not; the message says what is allowed.
    """
    if (from_state, to_state) not in _MOVES:
        allowed = sorted(to.value for at, to in _MOVES if at is from_state)
        raise IllegalTransition(
            f"The campaign is {from_state.value.upper()} and cannot become "
            f"{to_state.value.upper()}. "
            + (
                f"From here it can become {' or '.join(allowed).upper()}."
                if allowed
                else "That is final; create a new campaign."
            )
        )


@dataclass(frozen=True, slots=True)
class Architecture:
    """A segmentation network by name; `encoder_weights` None trains from scratch."""

    decoder: str
    encoder: str
    encoder_weights: str | None = None


MAX_JOB_ID = 200

IMAGE_SIZES = tuple(range(64, 257, 32))
"""Working resolutions of a network, pixels a side: multiples of its coarsest stride."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """How a network is trained; 0 takes the preset's.

    Attributes:
        learning_rate: Peak of the schedule, a positive number.
        batch_size: Frames a step, 2 to 1024.
        image_size: Working resolution, a multiple of 32 from 64 to 256.

    Raises:
        InvalidConfig: A value is outside its range.
    """

    learning_rate: float = 0.0
    batch_size: int = 0
    image_size: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate >= 0):
            raise InvalidConfig(
                f"learning_rate is {self.learning_rate}; it must be a positive number, or 0 for "
                "the preset's."
            )
        # Batch normalization needs two frames.
        if self.batch_size and not 2 <= self.batch_size <= 1024:  # noqa: PLR2004
            raise InvalidConfig(
                f"batch_size is {self.batch_size}; it must be 2 to 1024, or 0 for the preset's."
            )
        if self.image_size and self.image_size not in IMAGE_SIZES:
            allowed = ", ".join(map(str, IMAGE_SIZES))
            raise InvalidConfig(
                f"image_size is {self.image_size}; it must be one of {allowed}, or 0 for the "
                "preset's."
            )


@dataclass(frozen=True, slots=True)
class CampaignConfig:
    """How a campaign runs, every default filled in.

    Attributes:
        dataset: Name of the data set.
        preset: Training preset.
        query_size: Frames asked for in each phase (K), at least 1.
        initial_labels: Labeled frames before the first training, at least 1.
        acquisition: Function that ranks the frames.
        seed: Seed of everything random.
        target_iou: Stop when the test IoU reaches it, in (0, 1]; None never stops for it.
        label_budget: Stop when this many labels are accepted; 0 means no limit.
        epochs: Epochs of each training; 0 takes the preset's.
        retrain_mode: Start of each training; None takes the preset's.
        n_passes: Stochastic passes of a score (T), 2 to 1000.
        lease_s: Seconds a reader may hold a request, 1 to 604,800 (a week).
        segmenter: Network instead of the preset's.
        uncertainty: Network instead of the preset's.
        segmenter_hyperparameters: How the segmenter is trained, instead of the preset's.
        uncertainty_hyperparameters: The same of the uncertainty model.
        search: Search job that some of the above came from; empty when none was used.
        query: How query batches are chosen.

    Raises:
        InvalidConfig: A value is outside its range.
    """

    dataset: str
    preset: str = "cpu"
    query_size: int = 50
    initial_labels: int = 40
    acquisition: AcquisitionFunction = AcquisitionFunction.MFE
    seed: int = 0
    target_iou: float | None = 0.87
    label_budget: int = 0
    epochs: int = 0
    retrain_mode: RetrainMode | None = None
    n_passes: int = 30
    lease_s: int = 900
    segmenter: Architecture | None = None
    uncertainty: Architecture | None = None
    segmenter_hyperparameters: Hyperparameters = Hyperparameters()
    uncertainty_hyperparameters: Hyperparameters = Hyperparameters()
    search: str = ""
    query: QueryConfig = DOCUMENT_QUERY

    def __post_init__(self) -> None:
        if not self.dataset:
            raise InvalidConfig("A campaign needs a data set. Name one that was imported.")
        if len(self.search) > MAX_JOB_ID:
            raise InvalidConfig(f"The id of a search has at most {MAX_JOB_ID} characters.")
        for name, value, low, high in (
            ("query_size", self.query_size, 1, 100_000),
            ("initial_labels", self.initial_labels, 1, 100_000),
            ("label_budget", self.label_budget, 0, 2**31 - 1),
            ("epochs", self.epochs, 0, 100_000),
            ("n_passes", self.n_passes, 2, 1000),
            ("lease_s", self.lease_s, 1, 604_800),
            ("seed", self.seed, -(2**63), 2**63 - 1),
        ):
            if not low <= value <= high:
                raise InvalidConfig(f"{name} is {value}; it must be {low} to {high}.")
        if self.target_iou is not None and not 0 < self.target_iou <= 1:
            raise InvalidConfig(f"target_iou is {self.target_iou}; it must be above 0, at most 1.")
        if 0 < self.label_budget < self.initial_labels:
            raise InvalidConfig(
                f"label_budget is {self.label_budget} and initial_labels {self.initial_labels}; "
                "the budget must cover the initial labels."
            )


@dataclass(frozen=True, slots=True)
class Campaign:
    """Snapshot of a campaign and of its current phase.

    Attributes:
        id: Assigned by the coordinator.
        name: Unique, given by people.
        config: How it runs.
        state: Where it is.
        stop_reason: Set when COMPLETED.
        phase: Number of the current phase; 0 is the initial query (and the value while DRAFT).
        phase_state: State of the current phase; None while DRAFT.
        labeled: Frames with an accepted label.
        unlabeled: Frames that may still be chosen, those out for annotation included.
        test: Frames that measure.
        excluded: Frames that a reader skipped; never chosen again.
        test_iou: Of the newest evaluated segmenter; None before the first.
        failure: Why the current phase FAILED; empty otherwise.
        create_time: UTC.
        revision: Grows with every change of the campaign, its phases or its pools.
    """

    id: str
    name: str
    config: CampaignConfig
    state: CampaignState
    stop_reason: StopReason | None
    phase: int
    phase_state: PhaseState | None
    labeled: int
    unlabeled: int
    test: int
    excluded: int
    test_iou: float | None
    failure: str
    create_time: datetime
    revision: int
