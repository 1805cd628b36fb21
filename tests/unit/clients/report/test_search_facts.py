"""What a search's report works out: order, ranks, winners, fronts, importance."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.report.search_board import leaderboard, ranked
from clients.report.search_facts import cost_of, dominating, winners_of
from clients.report.search_format import NO_VALUE, compact, learning_rate, percent2
from clients.report.search_importance import importance_of
from clients.report.search_order import rungs_of, training_order
from echoloop.v1 import common_pb2
from echoloop.v1 import trainer_pb2 as pb
from tests.unit.clients.report.search_sample import sample_search, train


def _trial(number: int, *rewards: float, **fields: object) -> pb.Trial:
    values: dict[str, object] = {
        "architecture": common_pb2.Architecture(decoder="Unet", encoder=f"encoder{number}"),
        "learning_rate": 1e-4,
        "batch_size": 8,
        "trained_batch_size": 8,
        "state": pb.TRIAL_STATE_COMPLETE,
        "multiply_adds": 10**9,
    }
    trial = pb.Trial(number=number, **{**values, **fields})  # type: ignore[arg-type]
    if rewards:
        train(trial, rewards)
    return trial


def test_the_order_of_training_is_rebuilt_as_one_worker_took_it() -> None:
    log: list[tuple[int, int]] = []
    _, trials = sample_search(log=log)
    order = training_order(trials)
    # Trial 21 diverged after its first epoch, which the sample's scheduler does not see.
    assert [(at.trial, at.last) for at in order if at.trial != 21] == log
    assert rungs_of(trials) == [1, 3, 9, 27]


def test_every_epoch_is_in_the_order_once() -> None:
    _, trials = sample_search(120, seed=3)
    epochs = [
        (stretch.trial, epoch)
        for stretch in training_order(trials)
        for epoch in range(stretch.first, stretch.last + 1)
    ]
    assert len(epochs) == len(set(epochs))
    assert sorted(epochs) == [(t.number, e.epoch) for t in trials for e in t.epochs]
    assert epochs.index((12, 1)) < epochs.index((12, 2))


def test_brackets_that_begin_later_have_their_own_rungs() -> None:
    trials = [
        _trial(0, 0.1, state=pb.TRIAL_STATE_PAUSED),
        _trial(1, 0.2, 0.3, 0.4, state=pb.TRIAL_STATE_PAUSED, bracket=1),
    ]
    assert [(at.trial, at.first, at.last) for at in training_order(trials)] == [
        (0, 1, 1),
        (1, 1, 3),
    ]


def test_the_search_itself_chooses_the_winners_of_an_ended_one() -> None:
    trials = [_trial(0, 0.9), _trial(1, 0.5)]
    job = pb.Job(search=pb.SearchResult(most_accurate=trials[1], fastest=trials[0]))
    winners = winners_of(job, trials)
    assert winners.final
    assert (winners.most_accurate, winners.fastest) == (trials[1], trials[0])


def test_so_far_the_fastest_is_the_quickest_of_the_accurate_ones() -> None:
    trials = [
        _trial(0, 0.850, latency_ms=40.0),
        _trial(1, 0.845, latency_ms=9.0),
        _trial(2, 0.830, latency_ms=2.0),
    ]
    winners = winners_of(pb.Job(), trials)
    assert winners.fastest == trials[1]
    assert not winners.final
    trials[0].ClearField("latency_ms")
    trials[0].multiply_adds = 10**6
    # A latency that one of them lacks compares nothing; their multiply-adds do.
    assert winners_of(pb.Job(), trials).fastest == trials[0]


def test_a_trial_that_stopped_early_does_not_beat_a_complete_one() -> None:
    complete = _trial(0, 0.5, 0.6)
    stopped = _trial(1, 0.9, state=pb.TRIAL_STATE_PRUNED, reason="OUTPERFORMED")
    trials = [stopped, complete]
    winners = winners_of(pb.Job(), trials)
    assert winners.most_accurate == complete
    groups = leaderboard(pb.Job(), trials, winners)
    assert [(entry.rank, entry.trial.number) for entry in ranked(groups)] == [(1, 0), (2, 1)]


def test_full_training_counts_what_was_trained_at_its_own_pace() -> None:
    trials = [
        _trial(0, 0.5, 0.6, 0.7, seconds=0.0),
        _trial(1, 0.4, state=pb.TRIAL_STATE_PRUNED),
        _trial(2, state=pb.TRIAL_STATE_FAILED),
    ]
    cost = cost_of(pb.Job(), trials)
    assert (cost.epochs, cost.trained, cost.full_epochs, cost.ratio) == (4, 2, 6, 1.5)
    assert cost.full_s == pytest.approx(trials[0].seconds + 3 * trials[1].seconds)
    assert cost_of(pb.Job(), trials[1:]).ratio is None


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), max_size=30))
def test_a_front_holds_what_nothing_beats(points: list[tuple[float, float]]) -> None:
    front = [points[index] for index in dominating(points)]
    for cost, iou in points:
        beaten = any(c <= cost and i >= iou and (c, i) != (cost, iou) for c, i in points)
        assert ((cost, iou) in front) is not beaten
    assert front == sorted(set(front))


def test_the_hyperparameter_that_decides_is_the_most_important() -> None:
    trials = [
        _trial(
            number,
            0.8 - 0.1 * (number % 2) + 0.0001 * number,
            architecture=common_pb2.Architecture(decoder="Unet", encoder=f"e{number // 2 % 3}"),
            learning_rate=(1e-4, 1e-5)[number % 2],
        )
        for number in range(30)
    ]
    importance = importance_of(trials)
    assert importance.shares[0][0] == "learning rate"
    assert math.fsum(share for _, share in importance.shares) == pytest.approx(1.0)
    assert (importance.trials, importance.top, importance.epochs) == (30, 5, 1)


def test_importance_is_not_told_from_few_or_from_equal_trials() -> None:
    few = [_trial(number, 0.1 * number) for number in range(5)]
    assert "5 were trained at all" in importance_of(few).unknown
    equal = [_trial(number, 0.5) for number in range(25)]
    assert importance_of(equal).unknown == "All trials have the same reward."
    same = [
        _trial(number, 0.01 * number, architecture=common_pb2.Architecture(decoder="d"))
        for number in range(25)
    ]
    assert "nothing differently" in importance_of(same).unknown
    assert importance_of([]).unknown


def test_importance_compares_trials_after_the_same_training() -> None:
    short = [_trial(n, 0.01 * n, state=pb.TRIAL_STATE_PAUSED) for n in range(25)]
    long = [_trial(25 + n, 0.01 * n, 0.9) for n in range(5)]
    importance = importance_of([*short, *long])
    assert (importance.epochs, importance.trials) == (1, 30)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "1e-4"), (4e-6, "4e-6"), (4.5e-5, "4.5e-5"), (0.01, "0.01"), (0.0, "0"), (2.0, "2")],
)
def test_learning_rates_read_as_in_a_paper(value: float, text: str) -> None:
    assert learning_rate(value) == text


def test_counts_and_shares_are_short() -> None:
    assert [compact(n) for n in (50_290_512, 20_813_774_848, 1_500, 812, 0)] == [
        "50.3 M", "20.8 G", "1.5 k", "812", NO_VALUE,
    ]  # fmt: skip
    assert (percent2(0.87), percent2(None)) == ("87.00 %", NO_VALUE)
