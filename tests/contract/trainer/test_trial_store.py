"""Every implementation of `TrialStore` passes this suite."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.postgres_fixture import PostgresServer
from trainer.adapters.sql_database import open_database
from trainer.adapters.sql_jobs import SqlJobStore
from trainer.adapters.sql_trials import SqlTrialStore
from trainer.domain.search.space import Configuration
from trainer.domain.search.trials import (
    Epoch,
    IllegalTrialTransition,
    Trial,
    TrialState,
)
from trainer.jobs.errors import JobNotFound
from trainer.jobs.specs import EvaluationSpec, ModelVersion
from trainer.searches.errors import EpochGap, TrialExists, TrialNotFound
from trainer.searches.fakes import FakeTrialStore
from trainer.searches.ports import TrialOutcome, TrialStore

EVALUATION = EvaluationSpec(ModelVersion("lv_segmenter", 1), ())


def configuration(batch_size: int = 8, learning_rate: float = 0.1 + 0.2) -> Configuration:
    return Configuration("Linknet", "resnet18", learning_rate, batch_size)


def trial(number: int = 0, batch_size: int | None = None) -> Trial:
    size = 2 + number if batch_size is None else batch_size
    return Trial(
        number=number,
        configuration=configuration(size),
        state=TrialState.ACTIVE,
        target_epochs=3,
        bracket=1,
        trained_batch_size=size,
    )


def epoch(number: int, iou: float = 0.5) -> Epoch:
    return Epoch(number, loss=1.0 / 3.0, iou=iou, dice=0.6, seconds=1.5)


def epochs(last: int) -> tuple[Epoch, ...]:
    return tuple(epoch(number) for number in range(1, last + 1))


class Bench:
    """A store and jobs for its trials."""

    def __init__(self, store: TrialStore, new_job: Callable[[], str]) -> None:
        self.store = store
        self.job = new_job()
        self.other_job = new_job()


@pytest.fixture(
    params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.integration)]
)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "memory":
        names = iter(("j1", "j2"))
        yield Bench(FakeTrialStore(), lambda: next(names))
        return
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'trainer.sqlite3'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.url(server.create_database())
    database = open_database(url)
    jobs = SqlJobStore(database)
    requests = iter(("r1", "r2"))
    yield Bench(SqlTrialStore(database), lambda: jobs.create(next(requests), EVALUATION, "").id)
    database.close()


@pytest.fixture
def store(bench: Bench) -> TrialStore:
    return bench.store


@pytest.fixture
def job(bench: Bench) -> str:
    return bench.job


def test_a_trial_is_read_back_as_it_was_made(store: TrialStore, job: str) -> None:
    made = store.add(job, trial())
    assert made == trial()
    assert list(store.trials(job)) == [made]


def test_searches_do_not_see_each_others_trials(bench: Bench) -> None:
    bench.store.add(bench.job, trial())
    assert list(bench.store.trials(bench.other_job)) == []
    bench.store.add(bench.other_job, trial())
    bench.store.record(bench.other_job, 0, epochs(1))
    assert bench.store.trials(bench.job)[0].epochs == ()


def test_a_number_and_a_configuration_are_used_once(store: TrialStore, job: str) -> None:
    store.add(job, trial(0, batch_size=4))
    for again in (trial(0, batch_size=8), trial(1, batch_size=4)):
        with pytest.raises(TrialExists):
            store.add(job, again)
    assert len(store.trials(job)) == 1


def test_concurrent_proposals_of_one_configuration_make_one_trial(
    store: TrialStore, job: str
) -> None:
    def attempt(number: int) -> bool:
        try:
            store.add(job, trial(number, batch_size=4))
        except TrialExists:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_trials_and_pages_are_ordered_by_number(store: TrialStore, job: str) -> None:
    for number in (3, 0, 10, 2):
        store.add(job, trial(number))
        store.record(job, number, epochs(number % 3))
    trials = store.trials(job)
    assert [each.number for each in trials] == [0, 2, 3, 10]
    assert [len(each.epochs) for each in trials] == [0, 2, 0, 1]
    assert list(store.page(job, 2, -1)) == list(trials[:2])
    assert list(store.page(job, 2, 2)) == list(trials[2:])
    assert list(store.page(job, 2, 10)) == []


def test_epochs_are_kept_in_order(store: TrialStore, job: str) -> None:
    store.add(job, trial())
    store.record(job, 0, [epoch(1, 0.3)])
    recorded = store.record(job, 0, [epoch(2, 0.7), epoch(3, 0.5)])
    assert recorded.epochs == (epoch(1, 0.3), epoch(2, 0.7), epoch(3, 0.5))
    assert (recorded.iou, recorded.seconds) == (0.7, 4.5)
    assert list(store.trials(job)) == [recorded]


def test_an_epoch_that_is_reported_twice_changes_nothing(store: TrialStore, job: str) -> None:
    store.add(job, trial())
    before = store.record(job, 0, epochs(2))
    assert store.record(job, 0, epochs(2)) == before
    assert store.record(job, 0, [epoch(2, iou=0.9)]) == before
    assert store.record(job, 0, []) == before
    assert store.record(job, 0, [epoch(1, iou=0.9), epoch(2), epoch(3)]).epochs == epochs(3)


def test_a_gap_in_the_epochs_is_refused_and_stores_nothing(store: TrialStore, job: str) -> None:
    store.add(job, trial())
    before = store.record(job, 0, epochs(1))
    for reported in ([epoch(3)], [epoch(2), epoch(4)], [epoch(2), epoch(3), epoch(5)]):
        with pytest.raises(EpochGap):
            store.record(job, 0, reported)
    assert list(store.trials(job)) == [before]


def test_concurrent_reports_store_every_epoch_once(store: TrialStore, job: str) -> None:
    store.add(job, trial())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.record(job, 0, epochs(3)), range(8)))
    assert store.trials(job)[0].epochs == epochs(3)


def test_attempts_and_crashes_are_counted(store: TrialStore, job: str) -> None:
    store.add(job, trial())
    store.count_attempt(job, 0)
    store.count_crash(job, 0)
    counted = store.count_attempt(job, 0)
    assert (counted.attempts, counted.crashes) == (2, 1)


def test_a_smaller_batch_size_starts_the_epochs_again(store: TrialStore, job: str) -> None:
    store.add(job, trial(0, batch_size=8))
    store.record(job, 0, epochs(2))
    shrunk = store.shrink(job, 0, 4)
    assert (shrunk.trained_batch_size, shrunk.epochs) == (4, ())
    assert shrunk.configuration.batch_size == 8
    assert store.record(job, 0, epochs(1)).epochs == epochs(1)


def test_a_latency_is_kept(store: TrialStore, job: str) -> None:
    store.add(job, trial())
    assert store.measured(job, 0, 12.5).latency_ms == 12.5


def test_a_trial_pauses_at_a_rung_and_goes_on(store: TrialStore, job: str) -> None:
    store.add(job, trial())
    paused = store.finish(job, 0, TrialState.PAUSED, outcome=TrialOutcome(epochs(3), 512.0))
    assert (paused.state, paused.epochs, paused.memory_mib) == (
        TrialState.PAUSED,
        epochs(3),
        512.0,
    )
    promoted = store.promote(job, 0, 9)
    assert promoted == replace(paused, state=TrialState.ACTIVE, target_epochs=9)
    outcome = TrialOutcome(epochs(9), 256.0, test_iou=0.8, test_dice=0.9)
    complete = store.finish(job, 0, TrialState.COMPLETE, outcome=outcome)
    assert complete.epochs == epochs(9)
    assert (complete.test_iou, complete.test_dice) == (0.8, 0.9)
    assert complete.memory_mib == 512.0  # the largest of its processes
    assert list(store.trials(job)) == [complete]


def test_a_failed_trial_keeps_its_reason(store: TrialStore, job: str) -> None:
    store.add(job, trial())
    failed = store.finish(
        job, 0, TrialState.FAILED, reason="BATCH_NEVER_FITS", message="Use a smaller network."
    )
    assert (failed.reason, failed.message) == ("BATCH_NEVER_FITS", "Use a smaller network.")
    assert failed.ended


def test_only_moves_of_the_table_are_made(store: TrialStore, job: str) -> None:
    before = store.add(job, trial())
    with pytest.raises(IllegalTrialTransition):
        store.promote(job, 0, 9)
    assert list(store.trials(job)) == [before]
    ended = store.finish(job, 0, TrialState.PRUNED, reason="OUTPERFORMED")
    for state in TrialState:
        with pytest.raises(IllegalTrialTransition):
            store.finish(job, 0, state)
    with pytest.raises(IllegalTrialTransition):
        store.promote(job, 0, 9)
    assert list(store.trials(job)) == [ended]


def test_a_trial_ends_once(store: TrialStore, job: str) -> None:
    store.add(job, trial())

    def attempt(state: TrialState) -> bool:
        try:
            store.finish(job, 0, state)
        except IllegalTrialTransition:
            return False
        return True

    ends = [TrialState.COMPLETE, TrialState.FAILED, TrialState.CANCELLED, TrialState.PRUNED]
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, ends * 2)) == 1


def test_an_unknown_trial_is_not_found(bench: Bench) -> None:
    store = bench.store
    store.add(bench.job, trial())
    for job, number in ((bench.job, 1), (bench.other_job, 0)):
        for call in (
            lambda job, number: store.record(job, number, epochs(1)),
            store.count_attempt,
            store.count_crash,
            lambda job, number: store.shrink(job, number, 2),
            lambda job, number: store.measured(job, number, 1.0),
            lambda job, number: store.promote(job, number, 9),
            lambda job, number: store.finish(job, number, TrialState.FAILED),
        ):
            with pytest.raises(TrialNotFound):
                call(job, number)


def test_trials_of_a_job_that_is_none_are_refused(database_url: str) -> None:
    database = open_database(database_url)
    with pytest.raises(JobNotFound):
        SqlTrialStore(database).add("nothing", trial())
    database.close()


def test_trials_survive_reopening(database_url: str) -> None:
    database = open_database(database_url)
    job = SqlJobStore(database).create("r1", EVALUATION, "").id
    store = SqlTrialStore(database)
    store.add(job, trial())
    made = store.record(job, 0, epochs(2))
    database.close()
    again = open_database(database_url)
    assert list(SqlTrialStore(again).trials(job)) == [made]
    again.close()
