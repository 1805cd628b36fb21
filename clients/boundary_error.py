"""What a human's contour differs from the truth by: a smooth shift of the border."""

import hashlib
from typing import Final

import cv2
import numpy as np

from services.platform.masks import Mask

__all__ = ["with_boundary_error"]

# Hands wander slowly along a border: the shift varies over about this share of the frame.
_WAVELENGTH: Final = 0.06


def with_boundary_error(mask: Mask, sigma_px: float, *, seed: int, name: str) -> Mask:
    """Move the border of a mask in and out by a smooth random field.

    Args:
        mask: uint8 [H, W] of 0 and 1.
        sigma_px: Standard deviation of the border's shift, pixels; 0 changes nothing.
        seed: Of the reader.
        name: Of the frame; the same reader draws the same frame the same way.

    Returns:
        uint8 [H, W] of 0 and 1; never empty unless the mask was.
    """
    if sigma_px <= 0 or not mask.any():
        return mask
    key = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    random = np.random.default_rng(np.frombuffer(key, np.uint32))
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    field = cv2.GaussianBlur(
        random.normal(size=mask.shape), (0, 0), sigmaX=max(mask.shape) * _WAVELENGTH
    )
    field *= sigma_px / field.std()
    moved: Mask = (inside - outside + field > 0).astype(np.uint8)
    return moved if moved.any() else mask
