"""What decides the dropouts of all passes, computed inside the graph from the seeds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.adapters.stochastic_graph.builder import GraphBuilder, Integers
from trainer.domain.mask_hash import absorb, drop_threshold, pass_keys
from trainer.domain.specs import DropoutKind, DropoutSpec

__all__ = ["DrawSource"]


@dataclass(frozen=True, slots=True)
class DrawSource:
    """How draws come about; the counterpart of `MaskSource.draw_passes`, to the bit.

    Attributes:
        dropout: Kind and rate.
        words: Of all channels of all layers side by side, int64 [W]; see `channel_words`.
    """

    dropout: DropoutSpec
    words: NDArray[np.int64]

    def write(self, builder: GraphBuilder, seed: str, n_passes: int) -> str:
        """Write the draws of passes 0 to T - 1.

        Args:
            builder: Takes the nodes.
            seed: Name of int64 [B, 1].
            n_passes: T.

        Returns:
            Name of [B, T, W, 1, 1]: float32 scaled masks for CHANNEL, int64 hashes for ELEMENT.
        """
        numbers = Integers(builder, builder.constant(np.arange(n_passes)[None], np.int64))
        keys = pass_keys(Integers(builder, seed), numbers)  # [B, T]
        keys = Integers(builder, builder.reshape(keys.name, [0, n_passes, 1, 1, 1]))
        words = Integers(builder, builder.constant(self.words.reshape(1, 1, -1, 1, 1), np.int64))
        hashes: str = absorb(keys, words).name
        if self.dropout.kind is DropoutKind.ELEMENT:
            return hashes
        threshold = builder.constant(drop_threshold(self.dropout.rate), np.int64)
        kept = builder.add("GreaterOrEqual", hashes, threshold)
        scale = builder.constant(1.0 / (1.0 - self.dropout.rate), np.float32)
        return builder.add("Where", kept, scale, builder.constant(0.0, np.float32))
