"""Resizing inside a graph, between the contract's 256x256 and the network's resolution."""

import torch
from torch import nn
from torch.nn import functional

from trainer.domain.specs import FRAME_SIZE

__all__ = ["AreaShrink", "enlarge"]


class AreaShrink(nn.Module):
    """Shrinks square frames by area averaging, the antialiased form of bilinear resizing.

    Two constant matrices do it: rows then columns. The weights are those of `cv2.INTER_AREA`,
    which prepares the training frames, so a graph sees what its network was trained on (up to the
    rounding of training frames to 8 bits). Matrix products are the same in every runtime, while
    runtimes differ in resizing operators.
    """

    weights: torch.Tensor

    def __init__(self, size: int, source_size: int = FRAME_SIZE) -> None:
        super().__init__()
        self.is_identity = size == source_size
        scale = source_size / size
        starts = torch.arange(size, dtype=torch.float64)[:, None] * scale
        cells = torch.arange(source_size, dtype=torch.float64)[None, :]
        overlap = torch.minimum(starts + scale, cells + 1.0) - torch.maximum(starts, cells)
        weights = (overlap.clamp(min=0.0) / scale).to(torch.float32)  # [size, source_size]
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return float32 [B, 1, size, size] of uint8 or float [B, 1, source, source]."""
        frames = frames.to(torch.float32)
        if self.is_identity:
            return frames
        return self.weights @ frames @ self.weights.T


def enlarge(maps: torch.Tensor) -> torch.Tensor:
    """Return maps [B, 1, s, s] bilinearly resized to [B, 1, FRAME_SIZE, FRAME_SIZE]."""
    if maps.shape[-1] == FRAME_SIZE:
        return maps
    return functional.interpolate(
        maps, size=(FRAME_SIZE, FRAME_SIZE), mode="bilinear", align_corners=False
    )
