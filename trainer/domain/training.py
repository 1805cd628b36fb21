"""What a training reports and leaves behind."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["EpochProgress", "TrainingResult"]


@dataclass(frozen=True, slots=True)
class EpochProgress:
    """How far a training is, after an epoch.

    Attributes:
        epoch: Epochs done.
        epochs: Epochs in all.
        loss: Mean training loss of the epoch.
        iou: Mean IoU over its (augmented) training frames.
        eta_s: Estimated seconds until the training ends.
    """

    epoch: int
    epochs: int
    loss: float
    iou: float
    eta_s: float


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A trained network.

    Attributes:
        weights: File that `trainer.adapters.weights.load_weights` reads.
        parameters: Parameters of the network.
        epochs: Epochs trained.
        loss: Mean training loss of the last epoch.
        iou: Mean IoU over the (augmented) training frames of the last epoch.
        train_s: Seconds of training, interrupted epochs not counted.
    """

    weights: Path
    parameters: int
    epochs: int
    loss: float
    iou: float
    train_s: float
