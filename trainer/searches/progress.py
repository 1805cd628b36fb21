"""How far a search is."""

from collections.abc import Sequence

from trainer.domain.search.plan import SearchPlan
from trainer.domain.search.scheduling import brackets, proposals, remaining_epochs
from trainer.domain.search.trials import Trial, TrialState
from trainer.jobs.job import Progress

__all__ = ["judged", "progress_of", "remaining_s"]


def progress_of(
    plan: SearchPlan, trials: Sequence[Trial], parallel: int, stage: str = "searching"
) -> Progress:
    """Return what a person watches."""
    return Progress(
        stage=stage,
        done=judged(plan, trials),
        total=proposals(plan),
        iou=max((trial.iou for trial in trials if trial.iou is not None), default=None),
        eta_s=remaining_s(plan, trials, parallel),
    )


def judged(plan: SearchPlan, trials: Sequence[Trial]) -> int:
    """Return how many trials have been compared with others, or have ended.

    Those are the ones that reached the first rung of their bracket. The number never falls: a
    promoted trial keeps having done so.
    """
    ladders = brackets(plan)
    return sum(
        trial.state is not TrialState.ACTIVE or trial.target_epochs > ladders[trial.bracket][0]
        for trial in trials
    )


def remaining_s(plan: SearchPlan, trials: Sequence[Trial], parallel: int) -> float | None:
    """Estimate the seconds until the last trial ends; None before the first epoch.

    An epoch takes as long as those so far did on average, of the same trial where it has some. The
    slowest trial under way is a lower bound: the last ones do not run side by side.
    """
    epochs = sum(len(trial.epochs) for trial in trials)
    if not epochs:
        return None
    average_s = sum(trial.seconds for trial in trials) / epochs
    under_way_s, under_way = [0.0], 0
    for trial in trials:
        if trial.state is TrialState.ACTIVE:
            left = max(0, trial.target_epochs - len(trial.epochs))
            each_s = trial.seconds / len(trial.epochs) if trial.epochs else average_s
            under_way_s.append(left * each_s)
            under_way += left
    later = max(0.0, remaining_epochs(plan, trials) - under_way)
    return max(*under_way_s, (sum(under_way_s) + later * average_s) / parallel)
