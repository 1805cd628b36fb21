from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainer.domain.search.plan import Cost, Objective
from trainer.domain.search.ranking import (
    cost_of,
    find_winners,
    pareto_front,
    rank,
    within_limits,
)
from trainer.domain.search.space import Configuration
from trainer.domain.search.trials import Epoch, Trial, TrialState

SMALL, MIDDLE, LARGE = "tu-regnety_002", "resnet18", "resnet50"
IOU = Objective()
LATENCY = Objective(pareto=(Cost.LATENCY,))


def trial(number: int, iou: float, encoder: str = MIDDLE, **more: Any) -> Trial:
    made = Trial(
        number=number,
        configuration=Configuration("Unet", encoder, 1e-4, 4 + number),
        state=TrialState.COMPLETE,
        target_epochs=1,
        epochs=(Epoch(1, 0.1, iou, iou, 1.0),),
    )
    return replace(made, **more)


def test_the_most_accurate_has_the_highest_iou_of_those_trained_to_the_end() -> None:
    trials = [
        trial(0, 0.80),
        trial(1, 0.90, state=TrialState.PRUNED),
        trial(2, 0.85),
        trial(3, 0.85),
    ]
    winners = find_winners(trials, IOU)
    assert winners is not None
    assert winners.most_accurate.number == 2  # of equals the first


def test_nothing_wins_when_nothing_was_trained_to_the_end() -> None:
    assert find_winners([], IOU) is None
    assert find_winners([trial(0, 0.9, state=TrialState.FAILED)], IOU) is None


def test_the_fastest_is_chosen_among_those_that_are_hardly_worse() -> None:
    trials = [
        trial(0, 0.850, latency_ms=9.0),
        trial(1, 0.841, latency_ms=5.0),
        trial(2, 0.839, latency_ms=1.0),
    ]
    winners = find_winners(trials, IOU)
    assert winners is not None
    assert (winners.most_accurate.number, winners.fastest.number) == (0, 1)


def test_multiply_adds_decide_where_a_latency_is_unknown() -> None:
    trials = [
        trial(0, 0.850, LARGE, latency_ms=1.0),
        trial(1, 0.845, MIDDLE, latency_ms=5.0),
        trial(2, 0.843, SMALL),
    ]
    winners = find_winners(trials, IOU)
    assert winners is not None
    assert winners.fastest.number == 2


def test_limits_rule_out_only_what_is_known_to_break_them() -> None:
    objective = Objective(max_latency_ms=10.0, max_memory_mib=100.0)
    assert within_limits(trial(0, 0.5), objective)
    assert within_limits(trial(0, 0.5, latency_ms=10.0, memory_mib=100.0), objective)
    assert not within_limits(trial(0, 0.5, latency_ms=10.1), objective)
    assert not within_limits(trial(0, 0.5, memory_mib=100.1), objective)
    winners = find_winners([trial(0, 0.9, memory_mib=200.0), trial(1, 0.5)], objective)
    assert winners is not None
    assert winners.most_accurate.number == 1


def test_costs_are_read_from_the_trial_and_the_catalog() -> None:
    measured = trial(0, 0.5, latency_ms=2.0, memory_mib=3.0)
    assert cost_of(measured, Cost.LATENCY) == 2.0
    assert cost_of(measured, Cost.MEMORY) == 3.0
    assert cost_of(measured, Cost.PARAMETERS) == 14_328_209.0
    assert cost_of(trial(0, 0.5), Cost.LATENCY) is None


def test_the_front_holds_what_no_other_beats() -> None:
    trials = [
        trial(0, 0.80, latency_ms=5.0),
        trial(1, 0.90, latency_ms=9.0),
        trial(2, 0.85, latency_ms=9.0),  # beaten by 1
        trial(3, 0.80, latency_ms=5.0),  # equal to 0: neither beats the other
        trial(4, 0.99),  # its cost is not known
        trial(5, 0.70, latency_ms=1.0, state=TrialState.PRUNED),
    ]
    assert pareto_front(trials, LATENCY) == (1, 0, 3)


def test_without_costs_the_front_is_over_parameters() -> None:
    trials = [trial(0, 0.80, LARGE), trial(1, 0.85, MIDDLE), trial(2, 0.70, SMALL)]
    assert pareto_front(trials, IOU) == (1, 2)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=12
    )
)
def test_fronts_follow_their_definition(rows: list[tuple[int, int, int]]) -> None:
    objective = Objective(pareto=(Cost.LATENCY, Cost.MEMORY))
    trials = [
        trial(number, iou / 10, latency_ms=float(latency), memory_mib=float(memory))
        for number, (iou, latency, memory) in enumerate(rows)
    ]

    def beats(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
        return a != b and a[0] >= b[0] and a[1] <= b[1] and a[2] <= b[2]

    expected = {
        number for number, row in enumerate(rows) if not any(beats(other, row) for other in rows)
    }
    assert set(pareto_front(trials, objective)) == expected
    ranked = [each.number for each in rank(trials, objective, epochs=1)]
    assert sorted(ranked) == list(range(len(rows)))
    assert set(ranked[: len(expected)]) == expected
    assert rows[ranked[0]][0] == max(rows[number][0] for number in expected)


def test_a_beginning_of_the_order_is_spread_over_the_front() -> None:
    trials = [
        trial(0, 0.90, latency_ms=10.0),
        trial(1, 0.89, latency_ms=9.5),
        trial(2, 0.60, latency_ms=1.0),
        trial(3, 0.75, latency_ms=5.0),
        trial(4, 0.50, latency_ms=8.0),  # beaten
        trial(5, 0.95),  # unknown
    ]
    assert [each.number for each in rank(trials, LATENCY, 1)] == [0, 2, 3, 1, 4, 5]


def test_only_the_epochs_asked_for_count() -> None:
    late = trial(0, 0.2)
    late = replace(late, epochs=(*late.epochs, Epoch(2, 0.1, 0.9, 0.9, 1.0)))
    early = trial(1, 0.3)
    assert [each.number for each in rank([late, early], IOU, 1)] == [1, 0]
    assert [each.number for each in rank([late, early], IOU, 2)] == [0, 1]
