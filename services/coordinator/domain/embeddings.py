"""Vectors of frames: embeddings by a model, or descriptors of the image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Embedding"]


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A frame's vector.

    Attributes:
        frame_id: The frame.
        vector: float32 [D], finite, D at least 1.

    Raises:
        ValueError: The vector has another shape, or is not finite.
    """

    frame_id: str
    vector: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.vector.ndim != 1 or not self.vector.size:
            raise ValueError(f"a vector has shape {self.vector.shape}; give [D]")
        if not np.isfinite(self.vector).all():
            raise ValueError("a vector is not finite")
