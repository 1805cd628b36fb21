"""Whole searches are simulated: random curves, trials that fail, and any order of arrival."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.domain.search.plan import Cost, Objective, SchedulerKind, SearchPlan
from trainer.domain.search.scheduling import (
    Finished,
    Promote,
    Propose,
    Step,
    Wait,
    brackets,
    next_step,
    remaining_epochs,
    rungs,
)
from trainer.domain.search.space import SearchSpace
from trainer.domain.search.trials import Epoch, Trial, TrialState, total_epochs

SPACE = SearchSpace.define(
    encoders=["resnet18", "tu-regnety_002"], decoders=["Unet", "Linknet"], image_size=64
)


def plan_of(scheduler: SchedulerKind = SchedulerKind.ASHA, **choices: Any) -> SearchPlan:
    return replace(SearchPlan(SPACE, scheduler=scheduler, reduction_factor=3), **choices)


def trial(
    number: int,
    iou: float,
    epochs: int,
    state: TrialState = TrialState.PAUSED,
    **more: Any,
) -> Trial:
    curve = tuple(Epoch(epoch + 1, 0.1, iou, iou, 1.0) for epoch in range(epochs))
    made = Trial(number, SPACE[number], state, target_epochs=epochs, epochs=curve)
    return replace(made, **more)


class Search:
    """A search whose trials show what a seed says, in an order that it says."""

    def __init__(self, plan: SearchPlan, seed: int, parallel: int, failing: float) -> None:
        self.plan = plan
        self.parallel = parallel
        self.failing = failing
        self.chance = random.Random(seed)
        self.trials: dict[int, Trial] = {}
        self.steps: list[Step] = []
        self.on_promotion: Callable[[Trial, Promote], None] = lambda trial, step: None

    def run(self) -> None:
        for _ in range(20 * self.plan.trials + 20):
            self.start()
            active = [each for each in self.trials.values() if each.state is TrialState.ACTIVE]
            if not active:
                assert isinstance(self.steps[-1], Finished)
                return
            self.advance(self.chance.choice(active))
        raise AssertionError("the search does not end")

    def start(self) -> None:
        while sum(each.state is TrialState.ACTIVE for each in self.trials.values()) < self.parallel:
            trials = tuple(self.trials.values())
            step = next_step(self.plan, trials)
            assert step == next_step(self.plan, trials)
            self.steps.append(step)
            match step:
                case Promote(number, target):
                    self.on_promotion(self.trials[number], step)
                    self.trials[number] = replace(
                        self.trials[number], state=TrialState.ACTIVE, target_epochs=target
                    )
                case Propose(bracket, target):
                    number = len(self.trials)
                    self.trials[number] = Trial(
                        number, SPACE[number], TrialState.ACTIVE, target, bracket
                    )
                case _:
                    return

    def advance(self, moving: Trial) -> None:
        if self.chance.random() < self.failing:
            state = self.chance.choice([TrialState.FAILED, TrialState.PRUNED])
            self.trials[moving.number] = replace(moving, state=state)
            return
        new = tuple(
            Epoch(number, 0.1, self.chance.random(), 0.5, 1.0)
            for number in range(len(moving.epochs) + 1, moving.target_epochs + 1)
        )
        at_end = moving.target_epochs == self.plan.epochs
        self.trials[moving.number] = replace(
            moving,
            epochs=moving.epochs + new,
            state=TrialState.COMPLETE if at_end else TrialState.PAUSED,
        )


@st.composite
def plans(draw: st.DrawFn) -> SearchPlan:
    epochs = draw(st.integers(1, 30))
    return plan_of(
        draw(st.sampled_from(SchedulerKind)),
        trials=draw(st.integers(1, 40)),
        epochs=epochs,
        min_epochs=draw(st.integers(1, epochs)),
        reduction_factor=draw(st.integers(2, 5)),
    )


@st.composite
def searches(draw: st.DrawFn, failing: float | None = None) -> Search:
    return Search(
        draw(plans()),
        seed=draw(st.integers(0, 2**32)),
        parallel=draw(st.integers(1, 5)),
        failing=draw(st.sampled_from([0.0, 0.1, 0.6, 1.0])) if failing is None else failing,
    )


@given(searches())
@settings(max_examples=50, deadline=None)
def test_every_search_ends_with_no_more_proposals_than_planned(search: Search) -> None:
    search.run()
    trials = list(search.trials.values())
    assert len(trials) == search.plan.trials
    assert sum(isinstance(step, Propose) for step in search.steps) == search.plan.trials
    assert not any(each.state is TrialState.ACTIVE for each in trials)
    assert remaining_epochs(search.plan, trials) >= 0.0


@given(searches())
@settings(max_examples=50, deadline=None)
def test_something_is_trained_to_the_end_unless_everything_breaks(search: Search) -> None:
    search.run()
    states = {each.state for each in search.trials.values()}
    assert TrialState.COMPLETE in states or TrialState.PAUSED not in states


@given(searches())
@settings(max_examples=50, deadline=None)
def test_a_promoted_trial_is_among_the_best_of_its_rung(search: Search) -> None:
    eta = search.plan.reduction_factor

    def check(promoted: Trial, step: Promote) -> None:
        trials = search.trials.values()
        ladder = brackets(search.plan)[promoted.bracket]
        rung = promoted.target_epochs
        assert step.target_epochs == ladder[ladder.index(rung) + 1]
        reached = [
            each
            for each in trials
            if each.bracket == promoted.bracket
            and len(each.epochs) >= rung
            and each.state is not TrialState.FAILED
        ]
        better = sum(_iou(each, rung) > _iou(promoted, rung) for each in reached)
        complete = any(each.state is TrialState.COMPLETE for each in trials)
        assert better < len(reached) // eta or (
            len(trials) == search.plan.trials and not complete  # the last ones, one after the other
        )

    search.on_promotion = check
    search.run()


def _iou(each: Trial, rung: int) -> float:
    iou = each.iou_within(rung)
    assert iou is not None
    return iou


@given(searches(failing=0.0))
@settings(max_examples=50, deadline=None)
def test_no_search_trains_more_than_every_proposal_to_the_end(search: Search) -> None:
    search.run()
    plan = search.plan
    spent = total_epochs(list(search.trials.values()))
    assert plan.trials * brackets(plan)[0][0] <= spent <= plan.trials * plan.epochs


@given(seed=st.integers(0, 2**32), parallel=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_halving_trains_about_a_tenth_of_the_epochs(seed: int, parallel: int) -> None:
    search = Search(plan_of(trials=40), seed, parallel, failing=0.0)
    search.run()
    # 40 + 13 * 2 + 4 * 6 + 1 * 18 if it knew all before it promotes, of 40 * 27.
    assert 108 <= total_epochs(list(search.trials.values())) <= 270


@pytest.mark.parametrize(
    ("epochs", "min_epochs", "eta", "expected"),
    [
        (27, 1, 3, (1, 3, 9, 27)),
        (27, 2, 3, (3, 9, 27)),
        (30, 1, 3, (1, 3, 10, 30)),
        (10, 1, 4, (1, 3, 10)),  # 2.5 is rounded up
        (3, 1, 2, (1, 2, 3)),
        (1, 1, 2, (1,)),
        (9, 9, 3, (9,)),
        (100, 1, 100, (1, 100)),
    ],
)
def test_rungs_are_fractions_of_the_last(
    epochs: int, min_epochs: int, eta: int, expected: tuple[int, ...]
) -> None:
    plan = plan_of(epochs=epochs, min_epochs=min_epochs, reduction_factor=eta)
    assert rungs(plan) == expected


@given(plans())
def test_rungs_rise_to_the_last_epoch(plan: SearchPlan) -> None:
    ladder = rungs(plan)
    assert ladder[-1] == plan.epochs
    assert ladder[0] >= plan.min_epochs
    assert list(ladder) == sorted(set(ladder))


def test_every_scheduler_has_its_brackets() -> None:
    assert brackets(plan_of(SchedulerKind.NONE)) == ((27,),)
    assert brackets(plan_of(SchedulerKind.ASHA)) == ((1, 3, 9, 27),)
    assert brackets(plan_of(SchedulerKind.HYPERBAND)) == (
        (1, 3, 9, 27),
        (3, 9, 27),
        (9, 27),
        (27,),
    )


def test_hyperbands_brackets_get_about_equal_epochs() -> None:
    plan = plan_of(SchedulerKind.HYPERBAND, trials=60)
    trials: list[Trial] = []
    for number in range(plan.trials):
        step = next_step(plan, trials)
        assert isinstance(step, Propose)
        trials.append(
            Trial(number, SPACE[number], TrialState.FAILED, step.target_epochs, step.bracket)
        )
    counts = [sum(each.bracket == bracket for each in trials) for bracket in range(4)]
    expected = [count * epochs for count, epochs in zip(counts, (3, 7, 15, 27), strict=True)]
    assert max(expected) - min(expected) <= 27
    assert counts == sorted(counts, reverse=True)


def test_the_best_third_is_promoted_one_rung() -> None:
    plan = plan_of()
    trials = [trial(number, iou, 1) for number, iou in enumerate((0.3, 0.6, 0.5))]
    assert next_step(plan, trials) == Promote(1, 3)
    assert next_step(plan, trials[:2]) == Propose(0, 1)


def test_a_high_rung_comes_first() -> None:
    low = [trial(number, 0.1 * number, 1) for number in range(6)]
    high = [trial(number, 0.05 * number, 3) for number in range(6, 9)]
    assert next_step(plan_of(), low + high) == Promote(8, 9)


def test_equals_are_promoted_in_the_order_of_their_proposal() -> None:
    trials = [trial(number, 0.5, 1) for number in range(3)]
    assert next_step(plan_of(), trials) == Promote(0, 3)


def test_a_failed_trial_counts_as_proposed_and_nowhere_else() -> None:
    plan = plan_of(trials=3)
    failed = trial(0, 0.9, 1, TrialState.FAILED)
    others = [trial(1, 0.2, 1), trial(2, 0.3, 1)]
    # Two of two in the rung: nobody is in the best third, and nothing is left to propose.
    assert next_step(plan, [failed, *others]) == Promote(2, 3)
    assert next_step(plan_of(trials=4), [failed, *others]) == Propose(0, 1)


def test_a_diverged_trial_counts_in_the_rungs_it_reached() -> None:
    before = trial(0, 0.0, 0, TrialState.PRUNED, target_epochs=1)
    after = trial(0, 0.1, 1, TrialState.PRUNED, target_epochs=3)
    others = [trial(1, 0.2, 1), trial(2, 0.3, 1)]
    assert next_step(plan_of(), [before, *others]) == Propose(0, 1)
    assert next_step(plan_of(), [after, *others]) == Promote(2, 3)


def test_nobody_is_promoted_past_a_trial_that_breaks_a_limit() -> None:
    plan = plan_of(objective=Objective(max_memory_mib=100.0))
    trials = [
        trial(0, 0.9, 1, memory_mib=200.0),
        trial(1, 0.2, 1, memory_mib=50.0),
        trial(2, 0.3, 1, memory_mib=50.0),
        trial(3, 0.1, 1, memory_mib=50.0),
    ]
    assert next_step(plan, trials) == Promote(2, 3)


def test_it_waits_for_what_is_under_way() -> None:
    active = trial(1, 0.5, 0, TrialState.ACTIVE, target_epochs=1)
    assert next_step(plan_of(trials=2), [trial(0, 0.5, 1), active]) == Wait()


def test_the_best_is_trained_to_the_end_when_there_are_too_few_for_a_third() -> None:
    plan = plan_of(trials=2)
    trials = [trial(0, 0.5, 1), trial(1, 0.6, 1)]
    assert next_step(plan, trials) == Promote(1, 3)
    trials[1] = trial(1, 0.6, 27, TrialState.COMPLETE)
    assert next_step(plan, trials) == Finished()


def test_another_takes_the_place_of_a_winner_beyond_the_limits() -> None:
    plan = plan_of(trials=2, objective=Objective(max_memory_mib=100.0))
    large = trial(0, 0.9, 27, TrialState.COMPLETE, memory_mib=200.0)
    assert next_step(plan, [large, trial(1, 0.5, 1, memory_mib=50.0)]) == Promote(1, 3)


def test_no_more_is_proposed_than_the_space_holds() -> None:
    space = SearchSpace.define(
        pairs=["Unet+resnet18"], learning_rates=[1e-3], batch_sizes=[4, 8], image_size=64
    )
    plan = SearchPlan(space, scheduler=SchedulerKind.NONE, trials=40)
    complete = [trial(number, 0.5, 27, TrialState.COMPLETE) for number in range(2)]
    assert next_step(plan, complete[:1]) == Propose(0, 27)
    assert next_step(plan, complete) == Finished()


def test_against_costs_small_networks_are_promoted_too() -> None:
    plan = plan_of(objective=Objective(pareto=(Cost.LATENCY,)))
    trials = [
        trial(0, 0.80, 1, latency_ms=50.0),
        trial(1, 0.79, 1, latency_ms=49.0),
        trial(2, 0.60, 1, latency_ms=2.0),
        trial(3, 0.55, 1, latency_ms=30.0),
        trial(4, 0.50, 1, latency_ms=40.0),
        trial(5, 0.40, 1, latency_ms=45.0),
    ]
    assert next_step(plan, trials) == Promote(0, 3)
    promoted = replace(trials[0], state=TrialState.ACTIVE, target_epochs=3)
    assert next_step(plan, [promoted, *trials[1:]]) == Promote(2, 3)


def test_the_expected_epochs_are_those_of_successive_halving() -> None:
    assert remaining_epochs(plan_of(trials=27), []) == 27 + 9 * 2 + 3 * 6 + 1 * 18
    assert remaining_epochs(plan_of(SchedulerKind.NONE, trials=10), []) == 270
    half_way = [trial(0, 0.5, 9, TrialState.ACTIVE, target_epochs=27)]
    assert remaining_epochs(plan_of(SchedulerKind.NONE, trials=1), half_way) == 18
