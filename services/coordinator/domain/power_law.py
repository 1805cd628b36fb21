"""Many power laws at once: IoU(n) = a - b n**-c, by bounded weighted least squares.

The form is that of learning curves: Figueroa et al., Predicting sample size required for
classification performance, BMC Med Inform Decis Mak 12:8 (2012), for accuracy over labels, weighted
towards large n; Hestness et al., Deep Learning Scaling is Predictable, Empirically,
arXiv:1712.00409, for deep networks beyond their small-data region.

For a given exponent c the law is linear in a and b. So the least squares are solved in closed form
for every exponent of a grid, and the best one is taken (variable projection): no start value, no
local minimum, and thousands of curves in one matrix product.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DRAW_GRID",
    "FIT_GRID",
    "PRIOR_BEND_SPREAD",
    "PRIOR_LOG_EACH_SPREAD",
    "PRIOR_LOG_EXPONENT",
    "PRIOR_LOG_SPREAD",
    "UNREACHABLE",
    "Floats",
    "PowerLaws",
    "Problem",
    "Worth",
    "solve",
    "solve_worth",
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
_WORTH_GRID: Final[Floats] = np.geomspace(_LOWEST, _HIGHEST, 33)
_EACH: Final[Floats] = np.geomspace(0.1, 10.0, 41)
_BENDS: Final[Floats] = np.linspace(0.7, 1.3, 5)

PRIOR_LOG_EACH_SPREAD: Final = 0.7
"""Before anything is measured, a chosen label is worth about half to twice a random one."""

PRIOR_BEND_SPREAD: Final = 0.15
"""Nothing says that labels keep their worth; simulated campaigns whose worth grows or fades are
covered with this spread."""

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

    def iou_each(self, labels: Floats) -> Floats:
        """Return each curve's value at labels of its own.

        Args:
            labels: [R] greater than 0.

        Returns:
            [R], at least 0.
        """
        falls = (labels / self.anchor) ** -self.exponent
        return np.maximum(self.plateau - self.drop * falls, 0.0)

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
        cls,
        labels: Floats,
        ious: Floats,
        precision: Floats,
        log_exponent: Floats,
        grid: Floats,
        *,
        anchor: float,
    ) -> "_Sums":
        x = (labels / anchor)[None, :] ** -grid[:, None]  # [G, N]
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

    def best(self) -> tuple[Floats, Floats]:
        """Return a and b of least loss with 0 <= a <= 1 and b >= 0, [R, G] each."""
        determinant = self.one * self.xx - self.x**2
        a = (self.xx * self.y - self.x * self.xy) / determinant
        b = (self.x * self.y - self.one * self.xy) / determinant
        # The loss is convex, so where the free solution is outside, the best lies on that border.
        high = a > 1
        a = np.where(high, 1.0, a)
        b = np.where(high, (self.x - self.xy) / self.xx, b)
        falling = b < 0
        b = np.where(falling, 0.0, b)
        a = np.where(falling, np.clip(self.y / self.one, 0.0, 1.0), a)
        return a, b

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


@dataclass(frozen=True, slots=True)
class Problem:
    """What R curves are fitted to.

    Attributes:
        labels: [N] greater than 0, the same for all; at least two different ones.
        ious: [R, N] measured.
        precision: [R, N] inverse variances.
        log_exponent: [R] centre of each curve's prior.
    """

    labels: Floats  # [N]
    ious: Floats  # [R, N]
    precision: Floats  # [R, N]
    log_exponent: Floats  # [R]


def solve(problem: Problem, *, grid: Floats = DRAW_GRID) -> PowerLaws:
    """Fit R curves, with 0 <= a <= 1 and b >= 0.

    Args:
        problem: Points and priors.
        grid: [G] exponents to try.
    """
    anchor = float(problem.labels.min())
    sums = _Sums.of(
        problem.labels,
        problem.ious,
        problem.precision,
        problem.log_exponent,
        grid,
        anchor=anchor,
    )
    a, b = sums.best()
    best = sums.loss(a, b).argmin(axis=1)
    rows = np.arange(len(problem.ious))
    return PowerLaws(a[rows, best], b[rows, best], grid[best], anchor)


@dataclass(frozen=True, slots=True)
class Worth:
    """What the labels of a campaign are worth in random labels, R times.

    The initial labels, which are random, are worth what they are. Those after them are worth `each`
    times as many where they are as many as usual, and more or less the more they are, as `bend`
    says: initial + each * usual * ((n - initial) / usual) ** bend.

    Attributes:
        each: [R] greater than 0.
        bend: [R] greater than 0.
        initial: Labels of the first phase.
        usual: Geometric mean of the labels that later phases had more.
    """

    each: Floats  # [R]
    bend: Floats  # [R]
    initial: float
    usual: float

    def of(self, labels: float) -> Floats:
        """Return the random labels that a campaign's labels are worth, [R].

        Args:
            labels: At least `initial`.
        """
        more = (labels - self.initial) / self.usual
        worth: Floats = self.initial + self.each * self.usual * more**self.bend
        return worth


def solve_worth(
    active: Problem, random: Problem, log_each: Floats, bend: Floats
) -> tuple[PowerLaws, Worth]:
    """Fit R curves of random choice through the points of both arms, and the worth of a label.

    Args:
        active: Of the campaign, at two numbers of labels or more; the fewest are the initial ones.
        random: Of the control arm.
        log_each: [R] centre of the prior of log `Worth.each`.
        bend: [R] centre of the prior of `Worth.bend`.

    Returns:
        The curves of random choice, and the worth.
    """
    labels = active.labels
    initial = float(labels.min())
    more = labels - initial
    usual = float(np.exp(np.log(more[more > 0]).mean()))
    ious = np.concatenate([active.ious, random.ious], axis=1)
    precision = np.concatenate([active.precision, random.precision], axis=1)
    anchor = min(initial, float(random.labels.min()))
    lowest = np.full(len(ious), np.inf)
    found = np.zeros((5, len(ious)))
    for bent in _BENDS:
        grown = usual * (more / usual) ** bent
        for each in _EACH:
            # The weight of a point stays that of its own labels, not of what they are worth.
            worth = np.concatenate([initial + each * grown, random.labels])
            sums = _Sums.of(worth, ious, precision, active.log_exponent, _WORTH_GRID, anchor=anchor)
            a, b = sums.best()
            loss = sums.loss(a, b)
            best = loss.argmin(axis=1)[:, None]
            least = np.take_along_axis(loss, best, axis=1)[:, 0]
            least += ((np.log(each) - log_each) / PRIOR_LOG_EACH_SPREAD) ** 2
            least += ((bent - bend) / PRIOR_BEND_SPREAD) ** 2
            better = least < lowest
            lowest[better] = least[better]
            here = np.stack(
                [
                    np.take_along_axis(a, best, axis=1)[:, 0],
                    np.take_along_axis(b, best, axis=1)[:, 0],
                    _WORTH_GRID[best[:, 0]],
                    np.full(len(ious), each),
                    np.full(len(ious), bent),
                ]
            )
            found[:, better] = here[:, better]
    return (
        PowerLaws(found[0], found[1], found[2], anchor),
        Worth(found[3], found[4], initial, usual),
    )
