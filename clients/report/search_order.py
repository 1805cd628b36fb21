"""The order in which a search spent its epochs, rebuilt from its trials."""

import math
from bisect import insort
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from echoloop.v1 import trainer_pb2 as pb

__all__ = ["Stretch", "rungs_of", "training_order"]

_OUTPERFORMED: Final = "OUTPERFORMED"
_USUAL_REDUCTION: Final = 3


@dataclass(frozen=True, slots=True)
class Stretch:
    """Epochs of a trial from one decision to the next.

    Attributes:
        trial: Its number.
        first: Epoch, from 1.
        last: Epoch at which the next decision was due, or the last one done.
        iou: Highest reward of the trial up to then; None when no epoch has a finite one.
    """

    trial: int
    first: int
    last: int
    iou: float | None

    @property
    def epochs(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


def rungs_of(trials: Sequence[pb.Trial], bracket: int | None = None) -> list[int]:
    """Return the epochs at which trials waited or ended by decision, ascending.

    Args:
        trials: Of one search.
        bracket: Only of this bracket of Hyperband; None: of all.
    """
    return sorted(
        {
            len(trial.epochs)
            for trial in trials
            if trial.epochs
            and bracket in (None, trial.bracket)
            and (
                trial.state in (pb.TRIAL_STATE_PAUSED, pb.TRIAL_STATE_COMPLETE)
                or trial.reason == _OUTPERFORMED
            )
        }
    )


def training_order(trials: Sequence[pb.Trial]) -> list[Stretch]:
    """Return all stretches in the order in which one worker would have trained them.

    When an epoch was trained is not recorded, only how far every trial came. One worker would
    train by number and go on with a trial as soon as it is among the best one in `eta` of those
    that reached its rung (Li et al., MLSys 2020, algorithm 2). With several workers the real
    order differs from this by the few trials that they hold at once.
    """
    ordered = sorted(trials, key=lambda trial: trial.number)
    brackets = {trial.number: trial.bracket for trial in ordered}
    rungs = {bracket: rungs_of(trials, bracket) for bracket in set(brackets.values())}
    waiting = {trial.number: deque(_stretches(trial, rungs[trial.bracket])) for trial in ordered}
    eta = _reduction_factor(rungs_of(trials))
    order: list[Stretch] = []
    arrived: dict[tuple[int, int], list[Stretch]] = defaultdict(list)

    def train(number: int) -> None:
        stretch = waiting[number].popleft()
        order.append(stretch)
        insort(arrived[stretch.last, brackets[number]], stretch, key=_rank)

    def goes_on(stretch: Stretch) -> bool:
        following = waiting[stretch.trial]
        return bool(following) and following[0].first == stretch.last + 1

    def promote(one_in: int) -> bool:
        for rung in sorted(arrived, reverse=True):
            best = islice(arrived[rung], len(arrived[rung]) // one_in)
            ready = next(filter(goes_on, best), None)
            if ready is not None:
                train(ready.trial)
                return True
        return False

    for trial in ordered:
        if waiting[trial.number]:
            train(trial.number)
        while promote(eta):
            pass
    while promote(1):
        pass
    return order


def _stretches(trial: pb.Trial, rungs: Sequence[int]) -> list[Stretch]:
    done = len(trial.epochs)
    ends = [rung for rung in rungs if rung < done]
    stretches: list[Stretch] = []
    first = 1
    for last in [*ends, done] if done else []:
        seen = [epoch.iou for epoch in trial.epochs[:last] if math.isfinite(epoch.iou)]
        stretches.append(Stretch(trial.number, first, last, max(seen, default=None)))
        first = last + 1
    return stretches


def _reduction_factor(rungs: Sequence[int]) -> int:
    # The two highest rungs: rounding hides the factor in the lower ones.
    if len(rungs) < 2:  # noqa: PLR2004  # a ratio takes two
        return _USUAL_REDUCTION
    return max(2, round(rungs[-1] / rungs[-2]))


def _rank(stretch: Stretch) -> tuple[float, int]:
    return (math.inf if stretch.iou is None else -stretch.iou, stretch.trial)
