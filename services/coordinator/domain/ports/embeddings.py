"""Port: vectors that batches were chosen by."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.coordinator.domain.embeddings import Embedding

__all__ = ["EmbeddingStore"]


class EmbeddingStore(Protocol):
    """Keeps vectors. See the package for what holds for every store.

    `campaign_id` is an id, never a name. In phase 0 the vectors are descriptors of images, later
    embeddings by the phase's uncertainty model.
    """

    def put(self, campaign_id: str, phase: int, vectors: Sequence[Embedding]) -> None:
        """Store vectors; one of the same frame replaces the earlier one.

        Raises:
            PhaseNotFound: There is none.
            IllegalTransition: The phase is not SELECTING, or has selected: what selection was made
                from must not change.
            InvalidArgument: A frame is not in the campaign.
        """
        ...

    def frame_ids(self, campaign_id: str, phase: int) -> frozenset[str]:
        """Return the frames that have a vector in the phase."""
        ...

    def get(self, campaign_id: str, phase: int) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Return every vector of a phase.

        Returns:
            [N] frame ids in id order, and float32 [N, D]; [0, 0] when there is none.

        Raises:
            InternalError: The vectors differ in length: the database was damaged.
        """
        ...
