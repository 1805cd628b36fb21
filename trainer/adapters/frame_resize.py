"""Resizing inside a graph, between the contract's 256x256 and the network's resolution.

Both directions are separable and linear: one constant matrix for rows, the same one for columns.
Matrix products give a frame the same bits whatever else is in its batch, and mean the same in every
runtime; the resizing operators of runtimes do neither.
"""

import torch
from torch import nn

from trainer.domain.specs import FRAME_SIZE

__all__ = ["FrameResize", "area_weights", "bilinear_weights"]


class FrameResize(nn.Module):
    """Resizes square maps by a fixed matrix.

    Args:
        weights: float32 [out, in]; rows sum to 1.
    """

    weights: torch.Tensor

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.is_identity = weights.shape[0] == weights.shape[1]
        self.register_buffer("weights", weights, persistent=False)

    @classmethod
    def shrinking_to(cls, size: int) -> "FrameResize":
        """Return the resize from frames to a network's resolution."""
        return cls(area_weights(FRAME_SIZE, size))

    @classmethod
    def enlarging_from(cls, size: int) -> "FrameResize":
        """Return the resize from a network's resolution to frames."""
        return cls(bilinear_weights(size, FRAME_SIZE))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return float32 [B, 1, out, out] of uint8 or float [B, 1, in, in]."""
        maps = maps.to(torch.float32)
        if self.is_identity:
            return maps
        return self.weights @ maps @ self.weights.T


def area_weights(source: int, target: int) -> torch.Tensor:
    """Return the weights of shrinking by area averaging: bilinear resizing, antialiased.

    They are those of `cv2.INTER_AREA`, which prepares the training frames, so that a graph sees
    what its network was trained on (up to the rounding of training frames to 8 bits).

    Returns:
        float32 [target, source].
    """
    scale = source / target
    starts = torch.arange(target, dtype=torch.float64)[:, None] * scale
    cells = torch.arange(source, dtype=torch.float64)[None, :]
    overlap = torch.minimum(starts + scale, cells + 1.0) - torch.maximum(starts, cells)
    return (overlap.clamp(min=0.0) / scale).to(torch.float32)


def bilinear_weights(source: int, target: int) -> torch.Tensor:
    """Return the weights of bilinear resizing with half-pixel centres, clamped at the border.

    Returns:
        float32 [target, source].
    """
    centres = (torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5
    distance = (centres.clamp(0.0, source - 1.0)[:, None] - torch.arange(source)[None, :]).abs()
    return (1.0 - distance).clamp(min=0.0).to(torch.float32)
