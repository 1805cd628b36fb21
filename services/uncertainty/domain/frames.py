"""Frames on their way through a scoring run, and what comes out."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.platform.errors import InternalError

__all__ = [
    "Described",
    "Frame",
    "FrameDescription",
    "FrameFailure",
    "FrameReference",
    "FrameScore",
    "NonFiniteScores",
    "Outcome",
    "Scores",
    "ScoringRun",
]


class NonFiniteScores(InternalError):
    """The model gave NaN or infinity for a frame; such a frame has no rank."""


@dataclass(frozen=True, slots=True)
class ScoringRun:
    """What one scoring run uses.

    Attributes:
        model: Triton model name.
        version: Triton version, pinned in every request.
        seed: Seed of the dropout masks.
        include_proposals: Store a proposed mask and an uncertainty map of every frame.
        include_embeddings: Return the pooled encoder features.
    """

    model: str
    version: int
    seed: int
    include_proposals: bool = False
    include_embeddings: bool = False


@dataclass(frozen=True, slots=True)
class FrameReference:
    """A frame to score or to describe.

    Attributes:
        frame_id: The caller's id, returned with the result.
        image_ref: Blob reference of the image.
    """

    frame_id: str
    image_ref: str


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame that was read, decoded and brought to the network's size.

    Attributes:
        frame_id: The caller's id.
        image: uint8 [256, 256].
        height: Rows of the image as it was imported, pixels.
        width: Columns of the image as it was imported, pixels.
    """

    frame_id: str
    image: NDArray[np.uint8]
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Scores:
    """The four acquisition scores of a frame: sums over pixels, entropies in nats.

    Attributes:
        mfe: Mean First Entropy.
        cfe: Category First Entropy.
        mi: Mutual Information.
        std: Standard deviation of the foreground probability.
        pixels: How many pixels were summed.
    """

    mfe: float
    cfe: float
    mi: float
    std: float
    pixels: int

    @classmethod
    def of(cls, frame_id: str, values: NDArray[np.float32], pixels: int) -> "Scores":
        """Take the scores of one frame from the model's answer.

        Args:
            frame_id: Named in the error.
            values: float32 [4], in the order MFE, CFE, MI, STD.
            pixels: How many pixels were summed.

        Raises:
            NonFiniteScores: A value is NaN or infinite.
        """
        mfe, cfe, mi, std = (float(value) for value in values)
        if not all(math.isfinite(value) for value in (mfe, cfe, mi, std)):
            raise NonFiniteScores(
                f"The model's scores of frame {frame_id} are not finite. The model is damaged or "
                "the frame is far from what it was trained on; look at the frame, then retrain."
            )
        return cls(mfe, cfe, mi, std, pixels)


@dataclass(frozen=True, slots=True, eq=False)
class FrameScore:
    """A frame that was scored.

    Attributes:
        frame_id: The caller's id.
        scores: The four scores.
        embedding: float32 [D], when asked for.
        proposal_ref: Blob reference of the proposed mask, when asked for.
        uncertainty_ref: Blob reference of the standard deviation map, when asked for.
    """

    frame_id: str
    scores: Scores
    embedding: NDArray[np.float32] | None = None
    proposal_ref: str | None = None
    uncertainty_ref: str | None = None


@dataclass(frozen=True, slots=True)
class FrameFailure:
    """A frame that has no scores, or no descriptor.

    Attributes:
        frame_id: The caller's id.
        reason: Stable machine-readable reason, such as `IMAGE`.
        message: Public text.
    """

    frame_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class FrameDescription:
    """A frame that was described.

    Attributes:
        frame_id: The caller's id.
        descriptor: float32 [D]; see `describe`.
    """

    frame_id: str
    descriptor: NDArray[np.float32]


Described: TypeAlias = FrameDescription | FrameFailure
Outcome: TypeAlias = FrameScore | FrameFailure
