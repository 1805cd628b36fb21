"""Many power laws at once: IoU(n) = a - b n**-c, by bounded weighted least squares.

The form is that of learning curves: Figueroa et al., Predicting sample size required for
classification performance, BMC Med Inform Decis Mak 12:8 (2012), for accuracy over labels, weighted
towards large n; Hestness et al., Deep Learning Scaling is Predictable, Empirically,
arXiv:1712.00409, for deep networks beyond their small-data region.

For a given exponent c the law is linear in a and b. So the least squares are solved in closed form
for every exponent of a grid, and the best one is taken (variable projection): no start value, no
local minimum, and thousands of curves in one matrix product.
"""

from dataclasses import dataclass, fields
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DRAW_GRID",
    "FIT_GRID",
    "PRIOR_LOG_EXPONENT",
    "PRIOR_LOG_SPREAD",
    "UNREACHABLE",
    "Floats",
    "PowerLaws",
    "solve",
    "solve_pair",
]

Floats: TypeAlias = NDArray[np.float64]

PRIOR_LOG_EXPONENT: Final = float(np.log(0.8))
"""Two or three points do not determine three parameters. Exponents of the source document's five
learning curves and of one on CAMUS are 0.75 to 1.8, those of Hestness et al. down to 0.1: a wide
log-normal prior of median 0.8 holds them all."""

PRIOR_LOG_SPREAD: Final = 0.7

_LOWEST, _HIGHEST = 0.1, 2.5
FIT_GRID: Final[Floats] = np.geomspace(_LOWEST, _HIGHEST, 641)
DRAW_GRID: Final[Floats] = np.geomspace(_LOWEST, _HIGHEST, 65)
_PAIR_GRID: Final[Floats] = np.geomspace(_LOWEST, _HIGHEST, 33)

_FEW: Final = 64
"""Pairs solved together: their sums for all pairs of exponents stay in a processor's cache."""

UNREACHABLE: Final = 1e8
"""More labels than any pool has frames: as good as never."""


@dataclass(frozen=True, slots=True)
class PowerLaws:
    """R curves: plateau - drop * (n / anchor) ** -exponent, none of which ever falls.

    Written with the drop at an anchor, because b itself grows like anchor ** c.

    Attributes:
        plateau: [R] what the curve tends to, in 0..1.
        drop: [R] distance from it at the anchor, at least 0.
        exponent: [R] greater than 0.
        anchor: Labels of the smallest measured point.
    """

    plateau: Floats  # [R]
    drop: Floats  # [R]
    exponent: Floats  # [R]
    anchor: float

    def iou(self, labels: Floats) -> Floats:
        """Return the curves' values.

        Args:
            labels: [N] greater than 0.

        Returns:
            [R, N], at least 0.
        """
        falls = (labels[None, :] / self.anchor) ** -self.exponent[:, None]  # [R, N]
        return np.maximum(self.plateau[:, None] - self.drop[:, None] * falls, 0.0)

    def labels_for(self, iou: Floats | float) -> Floats:
        """Return the labels at which each curve has reached an IoU, at least 1.

        Args:
            iou: One for all, or [R].

        Returns:
            [R], infinite where the plateau is lower, or `UNREACHABLE` labels would be needed.
        """
        room = self.plateau - iou  # [R]
        reached = room > 0
        share = np.divide(room, self.drop, out=np.full_like(room, np.inf), where=self.drop > 0)
        with np.errstate(divide="ignore", over="ignore"):
            labels = self.anchor * np.where(reached, share, 1.0) ** (-1 / self.exponent)
        # A flat curve is there at once; the anchor is the first that anybody measured.
        labels = np.where(np.isinf(share), self.anchor, np.maximum(labels, 1.0))
        return np.where(reached & (labels < UNREACHABLE), labels, np.inf)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Weighted sums over the points of R curves, for G exponents; x = (n / anchor) ** -c."""

    one: Floats  # [R, 1] of w
    x: Floats  # [R, G] of w x
    xx: Floats  # [R, G]
    y: Floats  # [R, 1]
    xy: Floats  # [R, G]
    yy: Floats  # [R, 1]
    penalty: Floats  # [R, G] of the exponent's prior

    @classmethod
    def of(
        cls, labels: Floats, ious: Floats, precision: Floats, log_exponent: Floats, grid: Floats
    ) -> "_Sums":
        x = (labels / labels.min())[None, :] ** -grid[:, None]  # [G, N]
        weighted = precision * ious
        return cls(
            one=precision.sum(axis=1, keepdims=True),
            x=precision @ x.T,
            xx=precision @ (x * x).T,
            y=weighted.sum(axis=1, keepdims=True),
            xy=weighted @ x.T,
            yy=(weighted * ious).sum(axis=1, keepdims=True),
            penalty=((np.log(grid)[None, :] - log_exponent[:, None]) / PRIOR_LOG_SPREAD) ** 2,
        )

    def spread(self, axis: int) -> "_Sums":
        """Return the sums with an axis added, for the grid of another curve."""
        return _Sums(*(np.expand_dims(getattr(self, each.name), axis) for each in fields(self)))

    def loss(self, a: Floats, b: Floats) -> Floats:
        """Return the penalized sum of squares of y - a + b x, [R, G]."""
        return (
            self.yy
            - 2 * a * self.y
            + 2 * b * self.xy
            + a * a * self.one
            - 2 * a * b * self.x
            + b * b * self.xx
            + self.penalty
        )


def solve(
    labels: Floats,
    ious: Floats,
    precision: Floats,
    log_exponent: Floats,
    *,
    grid: Floats = DRAW_GRID,
) -> PowerLaws:
    """Fit R curves through N points each, with 0 <= a <= 1 and b >= 0.

    Args:
        labels: [N] greater than 0, the same for all; at least two different ones.
        ious: [R, N] measured.
        precision: [R, N] inverse variances.
        log_exponent: [R] centre of each curve's prior.
        grid: [G] exponents to try.
    """
    sums = _Sums.of(labels, ious, precision, log_exponent, grid)
    determinant = sums.one * sums.xx - sums.x**2
    a = (sums.xx * sums.y - sums.x * sums.xy) / determinant
    b = (sums.x * sums.y - sums.one * sums.xy) / determinant
    # The loss is convex, so where the free solution is outside, the best lies on that border.
    high = a > 1
    a = np.where(high, 1.0, a)
    b = np.where(high, (sums.x - sums.xy) / sums.xx, b)
    falling = b < 0
    b = np.where(falling, 0.0, b)
    a = np.where(falling, np.clip(sums.y / sums.one, 0.0, 1.0), a)
    best = sums.loss(a, b).argmin(axis=1)
    rows = np.arange(len(ious))
    return PowerLaws(a[rows, best], b[rows, best], grid[best], float(labels.min()))


def solve_pair(
    first: tuple[Floats, Floats, Floats, Floats], second: tuple[Floats, Floats, Floats, Floats]
) -> tuple[PowerLaws, PowerLaws]:
    """Fit R pairs of curves that tend to one plateau; drops and exponents are each one's own.

    Args:
        first: labels [N], ious [R, N], precision [R, N] and log_exponent [R], as in `solve`.
        second: The same with points of its own.
    """
    parts = [
        _solve_few(_rows(first, start), _rows(second, start))
        for start in range(0, len(first[1]), _FEW)
    ]
    plateau, *rest = (np.concatenate(each) for each in zip(*parts, strict=True))
    return (
        PowerLaws(plateau, rest[0], rest[1], float(first[0].min())),
        PowerLaws(plateau, rest[2], rest[3], float(second[0].min())),
    )


def _rows(
    problem: tuple[Floats, Floats, Floats, Floats], start: int
) -> tuple[Floats, Floats, Floats, Floats]:
    labels, ious, precision, log_exponent = problem
    some = slice(start, start + _FEW)
    return labels, ious[some], precision[some], log_exponent[some]


def _solve_few(
    first: tuple[Floats, Floats, Floats, Floats], second: tuple[Floats, Floats, Floats, Floats]
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return the plateau of both, then drop and exponent of each, [R] all."""
    grid = _PAIR_GRID
    sums = (
        _Sums.of(*first, grid).spread(axis=2),  # [R, G, 1]
        _Sums.of(*second, grid).spread(axis=1),  # [R, 1, G]
    )
    flat = [np.zeros((), dtype=bool), np.zeros((), dtype=bool)]
    for _ in range(2):
        # With b = (a Sx - Sxy) / Sxx put in, each loss is a parabola in a; where a curve would
        # fall, it is held flat, and the plateau is sought again.
        bend = sum(
            np.where(f, s.one, s.one - s.x**2 / s.xx) for f, s in zip(flat, sums, strict=True)
        )
        tilt = sum(
            np.where(f, s.y, s.y - s.x * s.xy / s.xx) for f, s in zip(flat, sums, strict=True)
        )
        a = np.clip(tilt / bend, 0.0, 1.0)  # [R, G, G]
        free = [(a * s.x - s.xy) / s.xx for s in sums]
        flat = [b < 0 for b in free]
    drops = [np.maximum(b, 0.0) for b in free]
    loss = sums[0].loss(a, drops[0]) + sums[1].loss(a, drops[1])
    count = len(grid)
    best = loss.reshape(len(a), -1).argmin(axis=1)
    rows, i, j = np.arange(len(a)), best // count, best % count
    return a[rows, i, j], drops[0][rows, i, j], grid[i], drops[1][rows, i, j], grid[j]
