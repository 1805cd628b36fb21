"""Which trials are better: limits, costs, Pareto fronts and winners."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from trainer.domain.search.pairs import find_pair
from trainer.domain.search.plan import Cost, Objective
from trainer.domain.search.trials import Trial, TrialState

__all__ = [
    "NEGLIGIBLE_IOU",
    "Winners",
    "cost_of",
    "find_winners",
    "pareto_front",
    "rank",
    "within_limits",
]

NEGLIGIBLE_IOU = 0.01
"""IoU that is given up for speed: networks this close to the best compete on latency alone."""

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Winners:
    """What a search is done for.

    Attributes:
        most_accurate: Highest reward IoU.
        fastest: Fastest of those that are at most `NEGLIGIBLE_IOU` worse.
    """

    most_accurate: Trial
    fastest: Trial


def cost_of(trial: Trial, cost: Cost) -> float | None:
    """Return a cost of a trial's network; None while it is unknown."""
    return _COSTS[cost](trial)


def _parameters(trial: Trial) -> float:
    return float(find_pair(trial.configuration.decoder, trial.configuration.encoder).parameters)


def _multiply_adds(trial: Trial) -> int:
    return find_pair(trial.configuration.decoder, trial.configuration.encoder).multiply_adds


_COSTS: Mapping[Cost, Callable[[Trial], float | None]] = MappingProxyType(
    {
        Cost.LATENCY: lambda trial: trial.latency_ms,
        Cost.PARAMETERS: _parameters,
        Cost.MEMORY: lambda trial: trial.memory_mib,
    }
)


def within_limits(trial: Trial, objective: Objective) -> bool:
    """Return whether nothing that is known of a trial breaks a limit of the objective."""
    return all(
        limit is None or value is None or value <= limit
        for value, limit in (
            (trial.latency_ms, objective.max_latency_ms),
            (trial.memory_mib, objective.max_memory_mib),
        )
    )


def find_winners(trials: Sequence[Trial], objective: Objective) -> Winners | None:
    """Choose among the COMPLETE trials within the limits; None when there is none.

    Equals go to the earlier trial. Without a latency of each candidate, the one with the fewest
    multiply-adds counts as the fastest.
    """
    candidates = [trial for trial in _contenders(trials, objective) if trial.iou is not None]
    if not candidates:
        return None
    best = min(candidates, key=lambda trial: (-_iou(trial), trial.number))
    close = [trial for trial in candidates if _iou(trial) >= _iou(best) - NEGLIGIBLE_IOU]
    latencies = [trial.latency_ms for trial in close if trial.latency_ms is not None]
    slowness: Sequence[float] = (
        latencies if len(latencies) == len(close) else [_multiply_adds(trial) for trial in close]
    )
    _, fastest = min(
        zip(slowness, close, strict=True),
        key=lambda each: (each[0], -_iou(each[1]), each[1].number),
    )
    return Winners(best, fastest)


def pareto_front(trials: Sequence[Trial], objective: Objective) -> tuple[int, ...]:
    """Return the numbers of COMPLETE trials that no other beats in IoU and in every cost.

    Costs are the objective's, or the parameters where it names none. Trials that break a limit or
    whose costs are not all known are left out. By falling IoU, then by number.
    """
    candidates = [
        trial
        for trial in _contenders(trials, objective)
        if trial.iou is not None and None not in _costs(trial, objective)
    ]
    losses = _losses(candidates, objective, epochs=None)
    front = [
        trial for trial, beaten in zip(candidates, _dominated(losses), strict=True) if not beaten
    ]
    return tuple(
        trial.number for trial in sorted(front, key=lambda trial: (-_iou(trial), trial.number))
    )


def rank(trials: Sequence[Trial], objective: Objective, epochs: int) -> list[Trial]:
    """Order trials, best first, by what their first so many epochs show.

    By IoU; equals by number. Against costs, front by front, and within a front so that every
    beginning of the order is spread over it: the trial with the highest IoU, then always the one
    farthest from those before it (Schmucker et al., arXiv:2106.12639, "EpsNet"). Trials with a cost
    that is not known yet come last.

    Args:
        trials: Each has at least one epoch.
        objective: What is searched for.
        epochs: How many of the epochs count.
    """

    def by_iou(trial: Trial) -> tuple[float, int]:
        return -_iou(trial, epochs), trial.number

    ordered = sorted(trials, key=by_iou)
    if not objective.pareto:
        return ordered
    known = [trial for trial in ordered if None not in _costs(trial, objective)]
    unknown = [trial for trial in ordered if None in _costs(trial, objective)]
    losses = _scaled(_losses(known, objective, epochs))
    places: list[int] = []
    left = np.arange(len(known))
    while left.size:
        beaten = _dominated(losses[left])
        places.extend(_spread(losses, left[~beaten]))
        left = left[beaten]
    return [known[place] for place in places] + unknown


def _contenders(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    return [
        trial
        for trial in trials
        if trial.state is TrialState.COMPLETE and within_limits(trial, objective)
    ]


def _iou(trial: Trial, epochs: int | None = None) -> float:
    iou = trial.iou if epochs is None else trial.iou_within(epochs)
    return -math.inf if iou is None else iou


def _costs(trial: Trial, objective: Objective) -> tuple[float | None, ...]:
    return tuple(cost_of(trial, cost) for cost in objective.pareto or (Cost.PARAMETERS,))


def _losses(trials: Sequence[Trial], objective: Objective, epochs: int | None) -> Points:
    """Return what to minimize, [trials, 1 + costs]."""
    rows = [(-_iou(trial, epochs), *_costs(trial, objective)) for trial in trials]
    columns = 1 + len(objective.pareto or (Cost.PARAMETERS,))
    return np.array(rows, dtype=np.float64).reshape(len(rows), columns)


def _scaled(losses: Points) -> Points:
    """Bring each column into 0 to 1, so that distances mean the same in each."""
    if not losses.size:
        return losses
    low, high = losses.min(axis=0), losses.max(axis=0)
    scaled: Points = (losses - low) / np.where(high > low, high - low, 1.0)
    return scaled


def _dominated(losses: Points) -> npt.NDArray[np.bool_]:
    """Return, for each row, whether another is nowhere greater and somewhere smaller."""
    beaten = np.zeros(len(losses), dtype=np.bool_)
    for place, loss in enumerate(losses):
        nowhere_greater = (losses <= loss).all(axis=1)
        somewhere_smaller = (losses < loss).any(axis=1)
        beaten[place] = bool((nowhere_greater & somewhere_smaller).any())
    return beaten


def _spread(losses: Points, front: npt.NDArray[np.int_]) -> list[int]:
    """Order the rows of one front; the first of them is the start."""
    order = [int(front[0])]
    distance = np.linalg.norm(losses[front] - losses[front[0]], axis=1)
    for _ in range(len(front) - 1):
        distance[front == order[-1]] = -1.0
        farthest = int(np.argmax(distance))
        order.append(int(front[farthest]))
        distance = np.minimum(
            distance, np.linalg.norm(losses[front] - losses[front[farthest]], axis=1)
        )
    return order
