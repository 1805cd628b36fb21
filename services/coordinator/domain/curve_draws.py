"""What else the learning curve could be: curves drawn from what the measurements leave open.

Three things are drawn anew for every curve. The *test patients*, with replacement: all phases (and
both arms of a campaign) were measured on the same ones, so they move together. The *trainings*:
another seed would have given another IoU; the noise is known from the scatter about the fit, hence
Student's t. The *exponent's prior*, which decides where the points do not. The curve is then
fitted again (randomized maximum likelihood: Kitanidis 1995, doi:10.1029/95WR01945; Oliver et al.
1996; exact for a linear model).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.coordinator.domain.learning_curve import LearningCurve, point_weights
from services.coordinator.domain.power_law import (
    PRIOR_BEND_SPREAD,
    PRIOR_LOG_EACH_SPREAD,
    PRIOR_LOG_EXPONENT,
    PRIOR_LOG_SPREAD,
    Floats,
    PowerLaws,
    Problem,
    Worth,
    solve,
    solve_worth,
)

__all__ = ["DRAWS", "FrameIous", "draw_curves", "draw_shifts", "draw_worth"]

DRAWS = 1000

_CHUNK = 100


@dataclass(frozen=True, slots=True)
class FrameIous:
    """IoU of test frames by segmenter.

    Attributes:
        ious: [P, F] of P segmenters on the same F frames, 0..1.
        patients: [F] numbers from 0; frames of one patient are drawn together.
    """

    ious: Floats  # [P, F]
    patients: NDArray[np.intp]  # [F]


def draw_shifts(
    measures: FrameIous | None, points: int, rng: np.random.Generator, *, draws: int = DRAWS
) -> Floats:
    """Return how far other test patients would have moved each point.

    Args:
        measures: Of the P points, in their order; None when nothing was measured by frame.
        points: P.
        rng: Seeded.
        draws: R.

    Returns:
        [R, P], 0 without measures.
    """
    if measures is None or measures.ious.shape[1] == 0:
        return np.zeros((draws, points))
    patients = int(measures.patients.max()) + 1
    sizes = np.bincount(measures.patients, minlength=patients).astype(np.float64)  # [G]
    sums = np.stack(
        [np.bincount(measures.patients, weights=row, minlength=patients) for row in measures.ious]
    )  # [P, G]
    chance = np.full(patients, 1 / patients)
    means = []
    for done in range(0, draws, _CHUNK):
        times = rng.multinomial(patients, chance, size=min(_CHUNK, draws - done)).astype(
            np.float64
        )  # [R, G]
        means.append((times @ sums.T) / (times @ sizes)[:, None])
    shifts: Floats = np.concatenate(means) - measures.ious.mean(axis=1)
    return shifts


def draw_curves(curve: LearningCurve, shifts: Floats, rng: np.random.Generator) -> PowerLaws:
    """Return R curves.

    Args:
        curve: Fitted.
        shifts: [R, P] of its points, from `draw_shifts`.
        rng: Seeded.
    """
    return solve(_problem(curve, shifts, rng))


def draw_worth(
    active: LearningCurve,
    random: LearningCurve,
    shifts: tuple[Floats, Floats],
    rng: np.random.Generator,
) -> tuple[PowerLaws, Worth]:
    """Return R curves of random choice, and what the labels of a campaign are worth on them.

    Args:
        active: Fitted to the campaign.
        random: Fitted to its control arm.
        shifts: Of the points of each, from one call of `draw_shifts`: that pairs them.
        rng: Seeded.
    """
    ours, theirs = _problem(active, shifts[0], rng), _problem(random, shifts[1], rng)
    count = len(ours.ious)
    log_each = PRIOR_LOG_EACH_SPREAD * rng.standard_normal(count)
    bend = 1 + PRIOR_BEND_SPREAD * rng.standard_normal(count)
    return solve_worth(ours, theirs, log_each, bend)


def _problem(curve: LearningCurve, shifts: Floats, rng: np.random.Generator) -> Problem:
    """Draw what R curves are fitted to."""
    labels = np.asarray([point.labels for point in curve.points], dtype=np.float64)
    ious = np.asarray([point.iou for point in curve.points])
    # Student's t: a normal with a variance that itself is drawn.
    spread = rng.chisquare(curve.degrees, size=len(shifts)) / curve.degrees
    noise = curve.noise / np.sqrt(spread)  # [R]
    trained = rng.standard_normal(shifts.shape) / np.sqrt(point_weights(labels))
    centre = PRIOR_LOG_EXPONENT + PRIOR_LOG_SPREAD * rng.standard_normal(len(shifts))
    return Problem(
        labels=labels,
        ious=ious + shifts + noise[:, None] * trained,
        precision=np.asarray(curve.weights) / noise[:, None] ** 2,
        log_exponent=centre,
    )
