"""What a search does next: propose, promote, wait or end.

A pure function of the plan and the trials, so that a restart changes nothing. All schedulers are
asynchronous successive halving (ASHA; Li et al., MLSys 2020, arXiv:1810.05934) over brackets, and a
bracket is a ladder of rungs, in epochs. ASHA has one bracket with every rung; Hyperband (Li et al.,
JMLR 18, arXiv:1603.06560) one that starts at each rung; none has one with the last rung alone.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

from trainer.domain.search.plan import SchedulerKind, SearchPlan
from trainer.domain.search.ranking import rank, within_limits
from trainer.domain.search.trials import Trial, TrialState

__all__ = [
    "Finished",
    "Promote",
    "Propose",
    "Step",
    "Wait",
    "brackets",
    "next_step",
    "proposals",
    "remaining_epochs",
    "rungs",
]

Ladder: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Promote:
    """Train a PAUSED trial longer."""

    number: int
    target_epochs: int


@dataclass(frozen=True, slots=True)
class Propose:
    """Try a further configuration."""

    bracket: int
    target_epochs: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to start before one of the ACTIVE trials has moved on."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing to start any more, and nothing is ACTIVE."""


Step: TypeAlias = Promote | Propose | Wait | Finished


def rungs(plan: SearchPlan) -> Ladder:
    """Return the epochs at which trials are compared, rising; the last is where they end.

    From the top: `epochs`, `epochs` / eta, `epochs` / eta^2, ... rounded, down to `min_epochs`.
    """
    ladder = [plan.epochs]
    while True:
        # Halves upward: `round` would send them to the even neighbour.
        below = math.floor(plan.epochs / plan.reduction_factor ** len(ladder) + 0.5)
        if below < plan.min_epochs or below == ladder[-1]:
            return tuple(reversed(ladder))
        ladder.append(below)


_BRACKETS: Mapping[SchedulerKind, Callable[[Ladder], tuple[Ladder, ...]]] = MappingProxyType(
    {
        SchedulerKind.NONE: lambda ladder: (ladder[-1:],),
        SchedulerKind.ASHA: lambda ladder: (ladder,),
        SchedulerKind.HYPERBAND: lambda ladder: tuple(
            ladder[first:] for first in range(len(ladder))
        ),
    }
)


def brackets(plan: SearchPlan) -> tuple[Ladder, ...]:
    """Return the rungs of every bracket; `Trial.bracket` is a position in it."""
    return _BRACKETS[plan.scheduler](rungs(plan))


def proposals(plan: SearchPlan) -> int:
    """Return how many configurations are tried: no more than the space has."""
    return min(plan.trials, len(plan.space))


def next_step(plan: SearchPlan, trials: Sequence[Trial]) -> Step:
    """Return what to start next.

    A promotion comes before a proposal, and a high rung before a low one: that a good trial is
    good is known soonest by training it on. When everything is proposed and nothing was trained to
    the last epoch within the limits, the best trial of the highest rung is, whatever its place.

    Args:
        plan: Of the search.
        trials: All of them. FAILED ones count as proposed and nowhere else; in a rung counts who
            has trained that long and keeps the limits.
    """
    ladders = brackets(plan)
    for promotion in _promotions(plan, ladders, trials):
        return promotion
    if len(trials) < proposals(plan):
        bracket = _next_bracket(plan, ladders, trials)
        return Propose(bracket, ladders[bracket][0])
    if any(trial.state is TrialState.ACTIVE for trial in trials):
        return Wait()
    if not any(
        trial.state is TrialState.COMPLETE and within_limits(trial, plan.objective)
        for trial in trials
    ):
        for promotion in _last_promotions(plan, ladders, trials):
            return promotion
    return Finished()


def remaining_epochs(plan: SearchPlan, trials: Sequence[Trial]) -> float:
    """Estimate the epochs that a search still trains, if no further trial fails."""
    ladders = brackets(plan)
    left = proposals(plan) - len(trials)
    shares = [1.0 / _epochs_a_proposal(ladder, plan.reduction_factor) for ladder in ladders]
    total = 0.0
    for number, (ladder, share) in enumerate(zip(ladders, shares, strict=True)):
        members = [trial for trial in trials if trial.bracket == number]
        arriving, below = left * share / sum(shares), 0
        for place, rung in enumerate(ladder):
            # There already, or on the way: an ended trial stays where it is.
            bound = [
                trial
                for trial in members
                if len(trial.epochs) >= rung
                or (trial.state is TrialState.ACTIVE and trial.target_epochs >= rung)
            ]
            promoted = math.floor(arriving / plan.reduction_factor)
            arriving = max(len(bound), promoted) if place else arriving + len(bound)
            trained = sum(max(0, min(len(trial.epochs), rung) - below) for trial in bound)
            total += arriving * (rung - below) - trained
            below = rung
    return total


def _promotions(
    plan: SearchPlan, ladders: Sequence[Ladder], trials: Sequence[Trial]
) -> Iterator[Promote]:
    for rung, following, bracket in _climbs(ladders):
        standing = _reached(plan, trials, rung, bracket)
        best = rank(standing, plan.objective, rung)[: len(standing) // plan.reduction_factor]
        for trial in best:
            if _waits_at(trial, rung):
                yield Promote(trial.number, following)


def _last_promotions(
    plan: SearchPlan, ladders: Sequence[Ladder], trials: Sequence[Trial]
) -> Iterator[Promote]:
    for rung in sorted({rung for ladder in ladders for rung in ladder}, reverse=True):
        waiting = [
            trial
            for bracket in range(len(ladders))
            for trial in _reached(plan, trials, rung, bracket)
            if _waits_at(trial, rung)
        ]
        for trial in rank(waiting, plan.objective, rung):
            ladder = ladders[trial.bracket]
            yield Promote(trial.number, ladder[ladder.index(rung) + 1])


def _climbs(ladders: Sequence[Ladder]) -> list[tuple[int, int, int]]:
    """Return (rung, next rung, bracket), highest rung first."""
    climbs = [
        (rung, following, bracket)
        for bracket, ladder in enumerate(ladders)
        for rung, following in pairwise(ladder)
    ]
    return sorted(climbs, key=lambda climb: (-climb[0], climb[2]))


def _reached(plan: SearchPlan, trials: Sequence[Trial], rung: int, bracket: int) -> list[Trial]:
    return [
        trial
        for trial in trials
        if trial.bracket == bracket
        and len(trial.epochs) >= rung
        and trial.state is not TrialState.FAILED
        and within_limits(trial, plan.objective)
    ]


def _waits_at(trial: Trial, rung: int) -> bool:
    return trial.state is TrialState.PAUSED and trial.target_epochs == rung


def _next_bracket(plan: SearchPlan, ladders: Sequence[Ladder], trials: Sequence[Trial]) -> int:
    """Return the bracket that would have had the fewest epochs with one proposal more."""
    taken = [0] * len(ladders)
    for trial in trials:
        taken[trial.bracket] += 1

    def epochs_with_one_more(bracket: int) -> float:
        each = _epochs_a_proposal(ladders[bracket], plan.reduction_factor)
        return (taken[bracket] + 1) * each

    return min(range(len(ladders)), key=epochs_with_one_more)


def _epochs_a_proposal(ladder: Ladder, reduction_factor: int) -> float:
    """Return the epochs that a proposal costs on average, its promotions included."""
    steps = zip(ladder, (0, *ladder), strict=False)
    return sum(
        (rung - below) / float(reduction_factor) ** promotions
        for promotions, (rung, below) in enumerate(steps)
    )
