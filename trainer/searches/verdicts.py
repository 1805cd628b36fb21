"""Whether a search can still find something, and why it found nothing."""

from collections import Counter
from collections.abc import Sequence

from trainer.domain.search.plan import SearchPlan
from trainer.domain.search.ranking import within_limits
from trainer.domain.search.scheduling import rungs
from trainer.domain.search.trials import Trial, TrialState
from trainer.searches.errors import SearchFailed

__all__ = ["hopeless", "nothing_found"]


def hopeless(plan: SearchPlan, trials: Sequence[Trial], same_failures: int) -> SearchFailed | None:
    """Return why a search should end now: every trial so far failed for the same reason.

    Args:
        plan: Of the search.
        trials: All of them, by number.
        same_failures: So many failures in a row are no accident.
    """
    first_rung = rungs(plan)[0]
    last = [trial for trial in trials if trial.ended][-same_failures:]
    if (
        len(last) < same_failures
        or any(trial.state is not TrialState.FAILED for trial in last)
        or len({trial.reason for trial in last}) > 1
        or any(len(trial.epochs) >= first_rung for trial in trials)
    ):
        return None
    return SearchFailed(
        f"The search ended because {same_failures} trials in a row failed for the same reason and "
        f"none succeeded. The last one: {last[-1].message}",
        reason=last[-1].reason,
    )


def nothing_found(plan: SearchPlan, trials: Sequence[Trial]) -> SearchFailed:
    """Return why a search without a winner has none.

    Args:
        plan: Of the search.
        trials: All of them, ended.
    """
    slow = sum(trial.reason == "TOO_SLOW" for trial in trials)
    large = sum(not within_limits(trial, plan.objective) for trial in trials) - slow
    if slow + large == len(trials):
        return SearchFailed(
            f"No network keeps the limits: of {len(trials)}, {slow} were slower than "
            f"max_latency_ms and {large} took more than max_memory_mib. Raise the limits, or "
            "search smaller networks.",
            reason="NOTHING_WITHIN_LIMITS",
        )
    reasons = Counter(
        trial.reason for trial in trials if within_limits(trial, plan.objective) and trial.reason
    )
    reason, count = reasons.most_common(1)[0]
    example = next(trial for trial in reversed(trials) if trial.reason == reason)
    return SearchFailed(
        f"None of the {len(trials)} trials was trained to the end within the limits; {count} of "
        f"them ended for the same reason. The last of these: {example.message}",
        reason=reason,
    )
