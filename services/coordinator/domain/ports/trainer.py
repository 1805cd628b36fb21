"""What the coordinator needs from the trainer: durable jobs, and which versions stay resident."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from services.coordinator.domain.campaign import Architecture, Hyperparameters
from services.coordinator.domain.releases import ModelVersion, ReleaseKind
from services.coordinator.domain.searches import SearchWinners

__all__ = [
    "EvaluationOrder",
    "FrameScore",
    "Job",
    "JobProgress",
    "JobState",
    "LabeledFrame",
    "Measurement",
    "TrainedModel",
    "Trainer",
    "TrainingOrder",
]


class JobState(StrEnum):
    """State of a trainer's job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the job will not change any more."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class LabeledFrame:
    """A frame with its mask, by blob references."""

    frame_id: str
    image_ref: str
    mask_ref: str
    patient_id: str


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """One model to train.

    Attributes:
        request_id: The same id is the same job, however often it is sent.
        campaign_id: For listing.
        kind: Segmenter or uncertainty model.
        preset: Fills what is left out.
        architecture: Instead of the preset's.
        hyperparameters: Instead of the preset's.
        epochs: 0 takes the preset's.
        seed: Of weights, order, augmentation and dropout.
        n_passes: Stochastic passes inside an uncertainty graph.
        warm_start: Version whose weights to start from; None trains from scratch.
        frames: The labels; at least one.
    """

    request_id: str
    campaign_id: str
    kind: ReleaseKind
    preset: str
    architecture: Architecture | None
    hyperparameters: Hyperparameters
    epochs: int
    seed: int
    n_passes: int
    warm_start: ModelVersion | None
    frames: Sequence[LabeledFrame]


@dataclass(frozen=True, slots=True)
class EvaluationOrder:
    """A published segmenter to measure on labeled frames, at least one."""

    request_id: str
    campaign_id: str
    model: ModelVersion
    frames: Sequence[LabeledFrame]


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is.

    Attributes:
        stage: For people, such as `training`.
        done: Epochs, or frames when evaluating.
        total: The same unit; 0 when unknown.
        eta_s: Seconds to the end; None when unknown.
    """

    stage: str = ""
    done: int = 0
    total: int = 0
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """What a training published."""

    model: ModelVersion
    architecture: Architecture


@dataclass(frozen=True, slots=True)
class FrameScore:
    """IoU and Dice of one test frame, in 0..1."""

    frame_id: str
    iou: float
    dice: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """What an evaluation measured: means over the frames, and each frame."""

    iou: float
    dice: float
    frames: tuple[FrameScore, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """Snapshot of a job.

    Attributes:
        id: Assigned by the trainer.
        state: Where it is.
        progress: How far it is.
        trained: Of a training that SUCCEEDED.
        measured: Of an evaluation that SUCCEEDED.
        failure_reason: Machine-readable, when FAILED.
        failure_message: Public text, when FAILED.
    """

    id: str
    state: JobState
    progress: JobProgress
    trained: TrainedModel | None = None
    measured: Measurement | None = None
    failure_reason: str = ""
    failure_message: str = ""


class Trainer(Protocol):
    """The trainer process.

    Every method raises UnavailableError while it cannot be reached, OverloadedError while it takes
    no more work, and NotFoundError for a job that it does not (or no longer) know.
    """

    async def check_training(
        self,
        kind: ReleaseKind,
        preset: str,
        architecture: Architecture | None,
        hyperparameters: Hyperparameters,
    ) -> None:
        """Return if such a network could be trained; what is not stated is the preset's.

        Raises:
            InvalidInputError: It could not; the text says what is allowed.
        """

    async def search_winners(self, job_id: str) -> SearchWinners:
        """Return what an architecture search found.

        Raises:
            SearchNotFound: The trainer has no job of that id.
            NotASearch: The job does something else.
            SearchUnfinished: It has not SUCCEEDED; the text says what to do.
        """

    async def start_training(self, order: TrainingOrder) -> Job:
        """Start a training, or return the job that the order's request id started before."""

    async def start_evaluation(self, order: EvaluationOrder) -> Job:
        """Start an evaluation, or return the job that its request id started before."""

    def watch_job(self, job_id: str) -> AsyncIterator[Job]:
        """Yield the job now and at every change; the last one yielded has ended."""

    async def cancel_job(self, job_id: str) -> None:
        """Ask a job to end; one that has ended stays as it is."""

    async def set_resident(self, model: str, versions: Sequence[int]) -> None:
        """State which versions of a model Triton shall hold."""
