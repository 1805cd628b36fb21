"""What jobs are asked to do.

Everything is decided when a job is accepted: an upgrade that changes a preset does not change a job
that waits.
"""

from dataclasses import dataclass
from typing import TypeAlias

from trainer.domain.search.plan import SearchPlan
from trainer.domain.specs import TrainingSpec

__all__ = [
    "DEFAULT_PASSES",
    "SEGMENTER_MODEL",
    "TRIAL_MODEL",
    "UNCERTAINTY_MODEL",
    "EvaluationSpec",
    "JobSpec",
    "LabeledFrame",
    "ModelVersion",
    "RetrainingSpec",
    "SearchSpec",
    "WorkSpec",
]

SEGMENTER_MODEL = "lv_segmenter"
UNCERTAINTY_MODEL = "lv_uncertainty"

TRIAL_MODEL = "lv_trial"
"""Never published: holds the network whose latency is being measured."""

DEFAULT_PASSES = 30
"""Stochastic passes inside an uncertainty graph: T of the source document."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One immutable version in the Triton repository.

    Attributes:
        model: Triton model name.
        version: Greater than 0, never reused.
        digest: SHA-256 of the ONNX file, lower-case hex.
    """

    model: str
    version: int
    digest: str = ""


@dataclass(frozen=True, slots=True)
class LabeledFrame:
    """A frame and its mask, by blob reference."""

    frame_id: str
    image_ref: str
    mask_ref: str
    patient_id: str = ""


@dataclass(frozen=True, slots=True)
class RetrainingSpec:
    """Train, export, publish and verify one model.

    Attributes:
        training: Everything that decides the weights; with dropout for an uncertainty model.
        n_passes: Stochastic passes inside an uncertainty graph.
        frames: The labels, at least one.
        warm_start: Published version whose weights to start from.
    """

    training: TrainingSpec
    n_passes: int
    frames: tuple[LabeledFrame, ...]
    warm_start: ModelVersion | None = None

    @property
    def model(self) -> str:
        """Triton model that the result becomes a version of."""
        return SEGMENTER_MODEL if self.training.dropout is None else UNCERTAINTY_MODEL


@dataclass(frozen=True, slots=True)
class EvaluationSpec:
    """Measure a published segmenter, through Triton, on labeled frames."""

    model: ModelVersion
    frames: tuple[LabeledFrame, ...]


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """Search the best network.

    Attributes:
        plan: How.
        frames: Labels of the training side, at least one, with patient ids.
        test_frames: Labels of the test side; may be empty.
    """

    plan: SearchPlan
    frames: tuple[LabeledFrame, ...]
    test_frames: tuple[LabeledFrame, ...] = ()


WorkSpec: TypeAlias = RetrainingSpec | EvaluationSpec
"""The work of one process; a search has a process for every trial instead."""

JobSpec: TypeAlias = WorkSpec | SearchSpec
