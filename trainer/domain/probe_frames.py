"""Fixed frames on which an exported graph is compared with PyTorch."""

import numpy as np
from numpy.typing import NDArray

from trainer.domain.specs import FRAME_SIZE

__all__ = ["probe_frames", "probe_seeds"]


def probe_frames() -> NDArray[np.uint8]:
    """Return three frames, uint8 [3, 1, 256, 256]: noise, a drawn echo sector, a smooth ramp.

    Noise meets every weight, the sector resembles what the network was trained on (with a dark
    cavity to segment), the ramp has no texture at all.
    """
    rng = np.random.default_rng(20190917)
    noise = rng.integers(0, 256, (FRAME_SIZE, FRAME_SIZE))
    rows, columns = np.mgrid[0:FRAME_SIZE, 0:FRAME_SIZE] / FRAME_SIZE
    inside_sector = np.abs(np.arctan2(columns - 0.5, rows)) < 0.65  # noqa: PLR2004
    wall = ((rows - 0.45) / 0.32) ** 2 + ((columns - 0.5) / 0.22) ** 2
    cavity = ((rows - 0.45) / 0.24) ** 2 + ((columns - 0.5) / 0.14) ** 2
    tissue = np.where(cavity < 1.0, 12.0, np.where(wall < 1.0, 170.0, 70.0))
    sector = np.where(inside_sector, tissue * rng.uniform(0.6, 1.4, tissue.shape), 0.0)
    ramp = 255.0 * (rows + columns) / 2.0
    frames = np.stack([noise, sector, ramp])[:, None]
    return frames.clip(0, 255).astype(np.uint8)


def probe_seeds() -> NDArray[np.int64]:
    """Return the seeds of the probe frames, int64 [3, 1]; they span what a seed may be."""
    return np.array([[0], [12_345], [2**62 + 1]], np.int64)
