"""What jobs leave behind."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from trainer.domain.search.trials import Trial
from trainer.domain.specs import ModelSpec
from trainer.jobs.specs import ModelVersion

__all__ = [
    "EvaluationResult",
    "FrameMeasure",
    "JobResult",
    "RetrainingResult",
    "SearchResult",
    "TrainedModel",
    "Verification",
]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """What a worker hands to publication.

    Attributes:
        model: Triton model name.
        digest: SHA-256 of the ONNX file, lower-case hex.
        onnx: The exported graph.
        probe: Archive (`.npz`) of inputs and of PyTorch's answers to them.
        network: The network that was trained.
        parameters: Its number of parameters.
        loss: Mean training loss of the last epoch.
        iou: Mean training IoU of the last epoch.
        train_s: Seconds of training, all attempts together.
        image_size: Working resolution, pixels a side.
    """

    model: str
    digest: str
    onnx: Path
    probe: Path
    network: ModelSpec
    parameters: int
    loss: float
    iou: float
    train_s: float
    image_size: int


@dataclass(frozen=True, slots=True)
class Verification:
    """A version that Triton serves, and how well it agrees with PyTorch.

    Attributes:
        version: The published version.
        max_difference: Largest absolute difference of a probability on the probe frames.
        tolerance: Difference up to which publication is accepted.
    """

    version: ModelVersion
    max_difference: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class RetrainingResult:
    """What a retraining left behind; see `TrainedModel` and `Verification` for the fields."""

    version: ModelVersion
    network: ModelSpec
    parameters: int
    max_difference: float
    tolerance: float
    loss: float
    iou: float
    train_s: float
    image_size: int

    @classmethod
    def of(cls, trained: TrainedModel, verified: Verification) -> "RetrainingResult":
        """Join what the worker and the publication found."""
        return cls(
            version=verified.version,
            network=trained.network,
            parameters=trained.parameters,
            max_difference=verified.max_difference,
            tolerance=verified.tolerance,
            loss=trained.loss,
            iou=trained.iou,
            train_s=trained.train_s,
            image_size=trained.image_size,
        )


@dataclass(frozen=True, slots=True)
class FrameMeasure:
    """Agreement with the expert on one frame; both measures are 1 when both masks are empty."""

    frame_id: str
    iou: float
    dice: float


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What an evaluation measured.

    Attributes:
        iou: Mean over frames.
        dice: Mean over frames.
        frames: Every frame, in the request's order; empty in job lists.
    """

    iou: float
    dice: float
    frames: tuple[FrameMeasure, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        most_accurate: Highest reward IoU within the limits: for segmentation.
        fastest: Fastest of those whose IoU is within 0.01 of that: for uncertainty.
        pareto_front: Numbers of the trials that no other beats in IoU and in every cost of the
            objective, by falling IoU.
        complete: Trials that were trained to the last epoch.
        pruned: Trials that were not, because others were better or a limit was broken.
        failed: Trials that could not be trained.
        epochs: Epochs trained, all trials together.
        seconds: Seconds of training and measuring, all trials together.
        image_size: Working resolution of the trials, pixels a side.
        encoder_weights: Weights that the trials' encoders started from; None for random ones.
    """

    most_accurate: Trial
    fastest: Trial
    pareto_front: tuple[int, ...]
    complete: int
    pruned: int
    failed: int
    epochs: int
    seconds: float
    image_size: int
    encoder_weights: str | None = None


JobResult: TypeAlias = RetrainingResult | EvaluationResult | SearchResult
