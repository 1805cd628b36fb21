"""Specifications: what to build and how to train it. Pure data, checked when it is made."""

import math
from dataclasses import dataclass
from enum import StrEnum

from trainer.domain.errors import InvalidSpecification

__all__ = [
    "FRAME_SIZE",
    "IMAGE_SIZES",
    "SMALLEST_BATCH",
    "AugmentationPreset",
    "DropoutKind",
    "DropoutPlacement",
    "DropoutSpec",
    "ModelSpec",
    "Schedule",
    "TrainingSpec",
]

FRAME_SIZE = 256
"""Side, in pixels, of the frames that enter and leave an exported graph: the Triton contract."""

IMAGE_SIZES = tuple(range(64, FRAME_SIZE + 1, 32))
"""Working resolutions a network may have: multiples of 32, the coarsest encoder stride."""

SMALLEST_BATCH = 2
"""Frames of a training step: batch normalization needs two values."""

MIN_DEPTH, MAX_DEPTH = 3, 5
"""Encoder stages, as in the source document's search space."""


class DropoutPlacement(StrEnum):
    """Where dropout is inserted."""

    HEAD = "head"
    DECODER = "decoder"


class DropoutKind(StrEnum):
    """What a mask switches off: whole feature maps, or single values."""

    CHANNEL = "channel"
    ELEMENT = "element"


class AugmentationPreset(StrEnum):
    """How strongly training frames are varied."""

    NONE = "none"
    LIGHT = "light"
    DOCUMENT = "document"


class Schedule(StrEnum):
    """Learning rate over the course of a training."""

    ONE_CYCLE = "one_cycle"
    """Up, and down to almost nothing: best at its end, and only there."""
    CONSTANT = "constant"
    """A short rise, then level: what a training is worth can be told after any epoch."""


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidSpecification(message)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A segmentation network by name.

    Attributes:
        decoder: One of the nine decoders, for example "Linknet".
        encoder: Encoder name, for example "resnet18" or "tu-regnety_120".
        encoder_weights: Pretrained weights to download, or None to start from random weights.
        encoder_depth: Encoder stages, 3 to 5; each halves the resolution.
    """

    decoder: str
    encoder: str
    encoder_weights: str | None = None
    encoder_depth: int = 5

    def __post_init__(self) -> None:
        _require(
            MIN_DEPTH <= self.encoder_depth <= MAX_DEPTH,
            f"encoder_depth is {self.encoder_depth}; allowed are {MIN_DEPTH} to {MAX_DEPTH}",
        )

    def __str__(self) -> str:
        return f"{self.decoder}+{self.encoder}"


@dataclass(frozen=True, slots=True)
class DropoutSpec:
    """Dropout of an uncertainty model.

    The default rate is a compromise: with dropout after every decoder convolution, 0.2 cost a small
    network 0.03 IoU (0.843 instead of 0.871, `demo` preset, 48 synthetic frames), and more starves
    it; with less, thirty passes hardly differ where only the head drops.

    Attributes:
        placement: Before the last convolution only, or there and after every decoder convolution.
        kind: CHANNEL drops whole feature maps, which a convolution cannot undo from neighbouring
            pixels (Tompson et al., arXiv:1411.4280); ELEMENT drops single values.
        rate: Probability of dropping, strictly between 0 and 1.
    """

    placement: DropoutPlacement = DropoutPlacement.DECODER
    kind: DropoutKind = DropoutKind.CHANNEL
    rate: float = 0.2

    def __post_init__(self) -> None:
        _require(
            0.0 < self.rate < 1.0,
            f"the dropout rate is {self.rate}; it must lie strictly between 0 and 1",
        )


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """Everything that decides the weights, given the frames.

    Attributes:
        model: The network.
        dropout: None for a segmenter; where and how an uncertainty model drops.
        image_size: Working resolution, pixels a side; a multiple of 32 from 64 to 256.
        epochs: Passes over the labels.
        batch_size: Frames a step; at least `SMALLEST_BATCH`.
        learning_rate: Peak of the schedule.
        weight_decay: AdamW's decoupled decay.
        augmentation: How strongly frames are varied.
        seed: Seed of weights, order, augmentation and training dropout; 0 or greater.
        min_steps: Optimizer steps below which further passes over the labels are added to every
            epoch, so that a phase of few labels is not left untrained; 0 adds none.
        schedule: Learning rate over the course of the training.
        averaging: Whether the trained weights are an exponential moving average over about the last
            half epoch (Polyak & Juditsky, SIAM J. Control Optim. 30(4), 1992), which makes up for
            the decay that a constant rate lacks.
    """

    model: ModelSpec
    dropout: DropoutSpec | None = None
    image_size: int = 128
    epochs: int = 30
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    augmentation: AugmentationPreset = AugmentationPreset.LIGHT
    seed: int = 0
    min_steps: int = 0
    schedule: Schedule = Schedule.ONE_CYCLE
    averaging: bool = False

    def __post_init__(self) -> None:
        _require(
            self.image_size in IMAGE_SIZES,
            f"image_size is {self.image_size}; allowed are {', '.join(map(str, IMAGE_SIZES))}",
        )
        _require(self.epochs >= 1, f"epochs is {self.epochs}; at least 1 is needed")
        _require(
            self.batch_size >= SMALLEST_BATCH,
            f"batch_size is {self.batch_size}; at least {SMALLEST_BATCH} is needed",
        )
        _require(
            math.isfinite(self.learning_rate) and self.learning_rate > 0.0,
            f"learning_rate is {self.learning_rate}; it must be a positive number",
        )
        _require(
            math.isfinite(self.weight_decay) and self.weight_decay >= 0.0,
            f"weight_decay is {self.weight_decay}; it must be 0 or a positive number",
        )
        _require(self.seed >= 0, f"seed is {self.seed}; it must be 0 or greater")
        _require(self.min_steps >= 0, f"min_steps is {self.min_steps}; it must be 0 or greater")
