"""What a scoring run needs from outside."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.domain.frames import Frame, FrameReference, ScoringRun

__all__ = ["FrameSource", "ModelAnswer", "ProposalStore", "ScoringObserver", "UncertaintyModel"]


class FrameSource(Protocol):
    """Reads and decodes frames. Thread-safe; called from worker threads."""

    def load(self, reference: FrameReference) -> Frame:
        """Return the frame.

        Raises:
            UnavailableError: The storage as a whole does not answer; no fault of this frame.
            EchoLoopError: Anything else is wrong with this frame only.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ModelAnswer:
    """What the uncertainty model says about one frame.

    Attributes:
        scores: float32 [4], in the order MFE, CFE, MI, STD.
        pixels: How many pixels were summed.
        embedding: float32 [D], when the run includes embeddings.
        mean_probability: float32 [256, 256], when the run includes proposals.
        std_map: float32 [256, 256], when the run includes proposals.
    """

    scores: NDArray[np.float32]
    pixels: int
    embedding: NDArray[np.float32] | None = None
    mean_probability: NDArray[np.float32] | None = None
    std_map: NDArray[np.float32] | None = None


class UncertaintyModel(Protocol):
    """A served uncertainty model."""

    async def score(
        self, run: ScoringRun, images: Sequence[NDArray[np.uint8]]
    ) -> Sequence[ModelAnswer]:
        """Score a batch of uint8 [256, 256] images, in order.

        Raises:
            UnavailableError: The server is down, too slow, or does not hold the version (now).
            OverloadedError: Its queue is full.
            EchoLoopError: Anything else is taken as caused by a frame of the batch.
        """
        ...

    async def check(self, run: ScoringRun) -> None:
        """Score a blank frame, to tell a frame that fails from a model that fails.

        Raises:
            UnavailableError: It fails, whatever the reason.
            OverloadedError: The server's queue is full.
        """
        ...


class ProposalStore(Protocol):
    """Keeps what readers start from. Thread-safe; called from worker threads."""

    def save(
        self,
        frame: Frame,
        mean_probability: NDArray[np.float32],
        std_map: NDArray[np.float32],
    ) -> tuple[str, str]:
        """Store the proposed mask and the uncertainty map; return their blob references.

        Args:
            frame: Says the size of the mask.
            mean_probability: float32 [256, 256].
            std_map: float32 [256, 256], 0 to 0.5.

        Raises:
            UnavailableError: The storage does not answer.
        """
        ...


Stage = Literal["load", "infer", "store", "describe"]


class ScoringObserver(Protocol):
    """Watches the flow, for metrics and logs. Called from the event loop's thread."""

    def stage(self, stage: Stage) -> AbstractContextManager[object]:
        """Time the block."""
        ...

    def batch(self, size: int) -> None:
        """Note that a batch of this many frames goes to the model."""
        ...

    def entered(self) -> None:
        """Note that a frame was read from the stream."""
        ...

    def left(self, frames: int = 1) -> None:
        """Note that the results of frames were taken, or their stream ended."""
        ...

    def scored(self) -> None:
        """Note a scored frame."""
        ...

    def described(self) -> None:
        """Note a described frame."""
        ...

    def failed(self, reason: str) -> None:
        """Note a frame without scores, or without a descriptor."""
        ...

    def unexpected(self, frame_id: str, error: Exception) -> None:
        """Log a defect that cost a frame its result."""
        ...
