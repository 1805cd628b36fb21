"""What can go wrong between a specification and a trained, exported model.

Every message is public: what was wrong, what is allowed, what to do next.
"""

from collections.abc import Sequence

from services.platform.errors import (
    CancelledError,
    IllegalStateError,
    InvalidInputError,
    NotFoundError,
)

__all__ = [
    "CheckpointMismatch",
    "DiskFull",
    "EmptyDataSet",
    "IncompatibleArchitecture",
    "InvalidSpecification",
    "NonFiniteLoss",
    "OutOfMemory",
    "ParityFailure",
    "TrainingCancelled",
    "TrainingError",
    "UnknownArchitecture",
    "UnknownPreset",
    "UnreadableFrame",
    "WeightsUnavailable",
    "ZeroVarianceModel",
]


class TrainingError(IllegalStateError):
    """A model could not be produced from a well-formed specification."""


class InvalidSpecification(InvalidInputError):
    """A field of a specification is outside what is allowed."""


class UnknownArchitecture(InvalidInputError):
    """No encoder or decoder of that name exists.

    Attributes:
        part: "encoder" or "decoder".
        name: The name that was asked for.
        matches: Known names that look like it, best first.
    """

    def __init__(self, part: str, name: str, matches: Sequence[str]) -> None:
        hint = f"Did you mean {', '.join(matches)}?" if matches else "No known name is close to it."
        super().__init__(f"There is no {part} {name!r}. {hint}")
        self.part = part
        self.name = name
        self.matches = tuple(matches)


class IncompatibleArchitecture(InvalidInputError):
    """Encoder, decoder, depth and working resolution each exist but do not fit together."""


class UnknownPreset(NotFoundError):
    """No preset of that name exists."""


class EmptyDataSet(InvalidInputError):
    """There is not a single labeled frame to train on."""


class UnreadableFrame(InvalidInputError):
    """The image or the mask of a training frame cannot be decoded."""


class WeightsUnavailable(TrainingError):
    """Pretrained encoder weights were asked for and could not be obtained; never a fallback."""


class CheckpointMismatch(IllegalStateError):
    """A checkpoint belongs to another specification or another network."""


class NonFiniteLoss(TrainingError):
    """The training loss became NaN or infinite."""


class OutOfMemory(TrainingError):
    """A step of the training does not fit into memory; a smaller batch may."""


class DiskFull(TrainingError):
    """A checkpoint cannot be written for want of space; the one before it is whole."""


class TrainingCancelled(CancelledError):
    """Training ended on request; what it had finished is in the last checkpoint."""


class ParityFailure(TrainingError):
    """The exported graph does not compute what the PyTorch network computes."""


class ZeroVarianceModel(TrainingError):
    """The stochastic passes of an uncertainty model all agree: its scores carry no information."""
