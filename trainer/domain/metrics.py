"""Agreement with an expert's mask, and the reference implementation of the acquisition maps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AcquisitionMaps",
    "acquisition_maps",
    "binary_entropy",
    "dice",
    "intersection_over_union",
]


def intersection_over_union(predicted: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    """Return the IoU of two binary masks of one frame, [H, W], in [0, 1].

    Any value but 0 is foreground. Two empty masks agree completely: 1.
    """
    intersection, total = _overlap(predicted, expected)
    union = total - intersection
    return intersection / union if union else 1.0


def dice(predicted: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    """Return the Dice coefficient of two binary masks of one frame, [H, W], in [0, 1].

    Any value but 0 is foreground. Two empty masks agree completely: 1.
    """
    intersection, total = _overlap(predicted, expected)
    return 2.0 * intersection / total if total else 1.0


def _overlap(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[int, int]:
    if a.shape != b.shape:
        raise ValueError(f"masks of different shapes: {a.shape} and {b.shape}")
    foreground_a, foreground_b = a != 0, b != 0
    total = int(np.count_nonzero(foreground_a)) + int(np.count_nonzero(foreground_b))
    return int(np.count_nonzero(foreground_a & foreground_b)), total


@dataclass(frozen=True, slots=True)
class AcquisitionMaps:
    """Uncertainty of every pixel, float64 [H, W]; entropies in nats.

    For every pixel 0 <= CFE <= MFE <= ln 2 (the entropy is concave: Jensen) and MI = MFE - CFE.

    Attributes:
        mfe: Mean First Entropy, H(mean_t p_t).
        cfe: Category First Entropy, mean_t H(p_t).
        mi: Mutual Information, |MFE - CFE|.
        std: Population standard deviation over t of p_t.
    """

    mfe: NDArray[np.float64]
    cfe: NDArray[np.float64]
    mi: NDArray[np.float64]
    std: NDArray[np.float64]

    def scores(self) -> NDArray[np.float64]:
        """Return the image scores MFE, CFE, MI, STD: sums over the pixels, float64 [4]."""
        return np.array([self.mfe.sum(), self.cfe.sum(), self.mi.sum(), self.std.sum()])


def acquisition_maps(probabilities: NDArray[np.floating]) -> AcquisitionMaps:
    """Return the maps of T stochastic passes.

    Args:
        probabilities: Foreground probability of every pass, [T, H, W], in [0, 1].
    """
    passes = probabilities.astype(np.float64)
    mfe = binary_entropy(passes.mean(axis=0))
    cfe = binary_entropy(passes).mean(axis=0)
    return AcquisitionMaps(mfe=mfe, cfe=cfe, mi=np.abs(mfe - cfe), std=passes.std(axis=0))


def binary_entropy(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -p ln p - (1 - p) ln(1 - p) in nats, with 0 ln 0 = 0; the shape is kept."""
    entropy = np.zeros_like(probability)
    for part in (probability, 1.0 - probability):
        positive = part > 0.0
        entropy[positive] -= part[positive] * np.log(part[positive])
    return entropy
