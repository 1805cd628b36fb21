"""Synthetic labeled frames: a dark ellipse on speckle, quick to make and to learn."""

import cv2
import numpy as np

from services.platform.blobs import BlobStore
from services.platform.images import encode_gray_png
from services.platform.masks import encode_mask_png
from trainer.jobs.specs import LabeledFrame

__all__ = ["store_ellipses"]


def store_ellipses(blobs: BlobStore, count: int, side: int = 96) -> list[LabeledFrame]:
    """Put frames and masks into a blob store and return their references."""
    rng = np.random.default_rng(5)
    frames = []
    for index in range(count):
        mask = np.zeros((side, side), np.uint8)
        centre = tuple(int(v) for v in rng.integers(side // 3, 2 * side // 3, 2))
        axes = tuple(int(v) for v in rng.integers(side // 8, side // 4, 2))
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        speckle = rng.normal(0, 12, (side, side))
        gray = np.clip(np.where(mask, 30, 140) + speckle, 0, 255).astype(np.uint8)
        frames.append(
            LabeledFrame(
                frame_id=f"frame-{index}",
                image_ref=blobs.put("frames", encode_gray_png(gray), ".png"),
                mask_ref=blobs.put("masks", encode_mask_png(mask), ".png"),
                patient_id=f"patient-{index % 5}",
            )
        )
    return frames
