"""What segmenting needs from outside, besides releases and the codec."""

from contextlib import AbstractContextManager
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from services.gateway.domain.releases import ModelVersion, Serving

__all__ = ["GatewayObserver", "Models", "Stage"]


class Models(Protocol):
    """The served networks."""

    async def probability(self, model: ModelVersion, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the foreground probability, uint8 [256, 256] of 0..255, of such an image.

        Raises:
            ReleaseNotLoaded: The version is not loaded (any more, or yet).
            UnavailableError: The server does not answer.
        """
        ...

    async def mean_uncertainty(self, model: ModelVersion, image: NDArray[np.uint8]) -> float:
        """Return the standard deviation over the stochastic passes, mean over the pixels.

        Deterministic: always with the same seed.

        Raises:
            ReleaseNotLoaded: The version is not loaded (any more, or yet).
            UnavailableError: The server does not answer.
        """
        ...


Stage = Literal["decode", "infer", "uncertainty", "outline"]


class GatewayObserver(Protocol):
    """Watches the work, for metrics and logs. Called from the event loop's thread."""

    def stage(self, stage: Stage) -> AbstractContextManager[object]:
        """Time the block."""
        ...

    def frame(self, outcome: str) -> None:
        """Count a frame: `ok`, or the reason of its failure."""
        ...

    def serving(self, serving: Serving | None) -> None:
        """Note what serves now."""
        ...

    def coordinator(self, *, connected: bool) -> None:
        """Note whether the coordinator is heard."""
        ...

    def unexpected(self, error: Exception) -> None:
        """Log a defect that cost a frame its result."""
        ...
