"""How good trials will be, from how good they are."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from trainer.domain.search.plan import SearchPlan
from trainer.domain.search.scheduling import rungs
from trainer.domain.search.trials import Trial

__all__ = ["Forecast"]


class Forecast:
    """Carries every trial on to the last epoch by what trials gained that went that far.

    From a rung to the next, what is missing to an IoU of 1 shrinks by a factor: its mean over the
    trials that reached both. So trials that were trained for different epochs are compared, which
    neither their highest IoU does (who was trained longer is better) nor the rung they reached (a
    bracket may begin at a high one).

    Args:
        plan: Its ladder of rungs.
        trials: Of the search, and of earlier ones.
    """

    def __init__(self, plan: SearchPlan, trials: Sequence[Trial]) -> None:
        self._rungs = rungs(plan)
        self._shrinkage = [
            fmean(
                [
                    (1.0 - _iou(trial, following)) / max(1e-9, 1.0 - _iou(trial, rung))
                    for trial in trials
                    if len(trial.epochs) >= following
                ]
                or [1.0]
            )
            for rung, following in pairwise(self._rungs)
        ]

    def of(self, trial: Trial) -> float | None:
        """Return the IoU that a trial may end with; None before its first rung."""
        reached = sum(len(trial.epochs) >= rung for rung in self._rungs)
        if not reached:
            return None
        missing = 1.0 - _iou(trial, self._rungs[reached - 1])
        for factor in self._shrinkage[reached - 1 :]:
            missing *= factor
        return 1.0 - missing


def _iou(trial: Trial, epochs: int) -> float:
    return trial.iou_within(epochs) or 0.0
