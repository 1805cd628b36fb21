"""The graph of the uncertainty model: `lv_uncertainty` of the Triton contract.

T stochastic passes run inside the graph, so that a frame costs four floats of traffic instead of T
probability maps. What lies in front of the first dropout is deterministic and runs once a frame:
the encoder always, the decoder too when only the head drops.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from trainer.adapters.frame_resize import FrameResize
from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.domain.errors import InvalidSpecification
from trainer.domain.specs import DropoutPlacement

__all__ = ["N_PASSES", "UncertaintyGraph"]

N_PASSES = 30
"""T of the source document."""

_PIXELS_AT_ONCE = 5 * 256 * 256
"""Passes times pixels of a frame that are folded into the batch at once; bounds memory.

With 64 feature maps at half the resolution, as many a decoder has, a chunk's largest tensor is
then 20 MiB a frame, 160 MiB for a full Triton batch.
"""


@dataclass(slots=True)
class _PassSums:
    """Sums over the passes so far, each float32 [B, 1, s, s].

    Foreground and background are summed apart: 1 - p loses every digit where p is close to 1.
    Deviations are taken from the first pass and not from 0: their squares then do not cancel, and
    passes that all agree give a standard deviation of exactly 0.
    """

    first: torch.Tensor
    foreground: torch.Tensor
    background: torch.Tensor
    entropy: torch.Tensor
    deviation: torch.Tensor
    squared_deviation: torch.Tensor

    @classmethod
    def of(cls, logits: torch.Tensor, first: torch.Tensor | None) -> "_PassSums":
        """Sum over the passes of a chunk, [B, K, s, s]; `first` is None for the first chunk."""
        foreground = torch.sigmoid(logits)
        if first is None:
            first = foreground[:, :1]
        deviation = foreground - first
        return cls(
            first=first,
            foreground=_sum_passes(foreground),
            background=_sum_passes(torch.sigmoid(-logits)),
            entropy=_sum_passes(_entropy_of_logits(logits)),
            deviation=_sum_passes(deviation),
            squared_deviation=_sum_passes(deviation * deviation),
        )

    def plus(self, other: "_PassSums") -> "_PassSums":
        """Return the sums over both chunks."""
        return _PassSums(
            first=self.first,
            foreground=self.foreground + other.foreground,
            background=self.background + other.background,
            entropy=self.entropy + other.entropy,
            deviation=self.deviation + other.deviation,
            squared_deviation=self.squared_deviation + other.squared_deviation,
        )


class UncertaintyGraph(nn.Module):
    """8-bit gray frame and seed in, acquisition scores out.

    The answer for a frame depends on that frame and its seed only, not on the rest of the batch.
    """

    INPUTS = ("image", "seed")
    OUTPUTS = ("scores", "embedding", "mean_probability", "std_map", "pixels")

    def __init__(
        self,
        network: SegmentationNetwork,
        image_size: int,
        n_passes: int = N_PASSES,
        passes_at_once: int | None = None,
    ) -> None:
        super().__init__()
        if network.dropout is None:
            raise InvalidSpecification("An uncertainty graph needs a network with dropout.")
        if n_passes < 2:  # noqa: PLR2004
            raise InvalidSpecification(f"n_passes is {n_passes}; at least 2 passes are needed.")
        self.network = network
        self.shrink = FrameResize.shrinking_to(image_size)
        self.enlarge = FrameResize.enlarging_from(image_size)
        self.head_only = network.dropout.placement is DropoutPlacement.HEAD
        self.n_passes = n_passes
        at_once = passes_at_once or max(1, _PIXELS_AT_ONCE // image_size**2)
        # Chunks of nearly equal size: the largest one decides the memory.
        self.passes_at_once = math.ceil(n_passes / math.ceil(n_passes / at_once))
        self.eval()

    def forward(
        self, image: torch.Tensor, seed: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Score frames.

        Args:
            image: uint8 [B, 1, 256, 256].
            seed: int64 [B, 1].

        Returns:
            scores: float32 [B, 4]; MFE, CFE, MI, STD summed over the pixels of the network's
                working resolution, entropies in nats.
            embedding: float32 [B, D], the deepest encoder features averaged over space.
            mean_probability: float32 [B, 1, 256, 256], mean over the passes.
            std_map: float32 [B, 1, 256, 256], population standard deviation over the passes.
            pixels: int64 [B, 1], how many pixels were summed for a score.
        """
        features = self.network.encode(self.shrink(image))
        embedding = features[-1].mean(dim=(2, 3))
        if self.head_only:
            features = [self.network.decode(features)]
        sums: _PassSums | None = None
        for hashes in torch.split(
            self.network.masks.hash_passes(seed, self.n_passes), self.passes_at_once, dim=1
        ):
            logits = self._logits(features, hashes)
            if sums is None:
                sums = _PassSums.of(logits, first=None)
            else:
                sums = sums.plus(_PassSums.of(logits, sums.first))
        assert sums is not None  # n_passes >= 2
        mean = sums.foreground / self.n_passes
        mfe = _entropy(mean, sums.background / self.n_passes)
        cfe = sums.entropy / self.n_passes
        mean_deviation = sums.deviation / self.n_passes
        variance = sums.squared_deviation / self.n_passes - mean_deviation * mean_deviation
        std = torch.sqrt(torch.clamp(variance, min=0.0))
        maps = torch.cat([mfe, cfe, (mfe - cfe).abs(), std], dim=1)  # [B, 4, s, s]
        pixels = torch.full_like(seed, maps.shape[2] * maps.shape[3])
        return maps.sum(dim=(2, 3)), embedding, self.enlarge(mean), self.enlarge(std), pixels

    def _logits(self, features: list[torch.Tensor], hashes: torch.Tensor) -> torch.Tensor:
        """Return the logits [B, K, s, s] of the passes with these hashes [B, K, W]."""
        n_passes = hashes.shape[1]
        # Row b * K + k of the folded batch is pass k of frame b.
        folded = [
            feature[:, None].expand(-1, n_passes, -1, -1, -1).reshape(-1, *feature.shape[1:])
            for feature in features
        ]
        with self.network.masks.running(hashes.flatten(0, 1)):
            decoded = folded[0] if self.head_only else self.network.decode(folded)
            logits = self.network.classify(decoded)
        return logits.reshape(-1, n_passes, *logits.shape[2:])


def _sum_passes(values: torch.Tensor) -> torch.Tensor:
    """Return the sum over the passes, [B, 1, s, s], of [B, K, s, s].

    A matrix product, because runtimes choose the order of a reduction by the shape of the whole
    tensor: a frame would get other last digits in another batch.
    """
    batch, n_passes, height, width = values.shape
    sums = torch.ones(1, n_passes) @ values.reshape(batch, n_passes, height * width)
    return sums.reshape(batch, 1, height, width)


def _entropy_of_logits(logits: torch.Tensor) -> torch.Tensor:
    """Return the binary entropy, in nats, of sigmoid(logits), without ever taking log(0).

    With e = exp(-|z|): H = ln(1 + e) + |z| e / (1 + e).
    """
    magnitude = logits.abs()
    tail = torch.exp(-magnitude)
    return torch.log(1.0 + tail) + magnitude * tail / (1.0 + tail)


def _entropy(foreground: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Return -p ln p - q ln q in nats; an underflow to 0 counts as the limit, 0."""
    smallest = torch.finfo(torch.float32).tiny
    return -(
        foreground * torch.log(foreground.clamp(min=smallest))
        + background * torch.log(background.clamp(min=smallest))
    )
