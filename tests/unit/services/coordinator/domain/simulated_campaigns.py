"""Campaigns whose learning curves are known, to see what is made of their measurements."""

from dataclasses import dataclass

import numpy as np

from services.coordinator.domain.curve_draws import FrameIous
from services.coordinator.domain.learning_curve import CurvePoint
from services.coordinator.domain.power_law import Floats

INITIAL = 40
BATCH = 50
PATIENTS = 60
FRAMES_A_PATIENT = 2


@dataclass(frozen=True)
class Truth:
    """IoU(n) = plateau - drop * (n / 40) ** -exponent."""

    plateau: float
    drop: float
    exponent: float

    def iou(self, labels: Floats) -> Floats:
        return np.asarray(self.plateau - self.drop * (labels / INITIAL) ** -self.exponent)

    def labels_for(self, iou: float) -> float:
        return float(INITIAL * ((self.plateau - iou) / self.drop) ** (-1 / self.exponent))


def some_truth(rng: np.random.Generator) -> Truth:
    """Draw a learning curve such as those of the source document's table."""
    return Truth(
        plateau=rng.uniform(0.84, 0.92),
        drop=rng.uniform(0.05, 0.2),
        exponent=float(np.clip(np.exp(rng.normal(np.log(0.9), 0.4)), 0.3, 2.2)),
    )


def batches(phases: int, size: int = BATCH) -> Floats:
    """Return the labels of each phase."""
    return np.asarray(INITIAL + size * np.arange(phases), dtype=np.float64)


def measure(ious: Floats, noise: float, rng: np.random.Generator) -> Floats:
    """Return what trainings of another seed would have shown, scattering less on many labels."""
    scatter = noise * np.linspace(1.2, 0.8, len(ious))
    return np.asarray(np.clip(ious + scatter * rng.standard_normal(len(ious)), 0.01, 0.999))


def points(labels: Floats, ious: Floats) -> list[CurvePoint]:
    return [CurvePoint(int(n), float(iou)) for n, iou in zip(labels, ious, strict=True)]


def by_frame(ious: Floats, spread: float, rng: np.random.Generator) -> FrameIous:
    """Return frame measures about given IoU: easy and hard patients, the same for every row.

    The mean over the frames of a row differs from what it was: by what these patients, and not all
    there are, make of it.
    """
    patients = np.repeat(np.arange(PATIENTS), FRAMES_A_PATIENT)
    ease = spread * rng.standard_normal(PATIENTS)[patients]
    noise = 0.02 * rng.standard_normal((len(ious), len(patients)))
    return FrameIous(ious[:, None] + ease + noise, patients)
