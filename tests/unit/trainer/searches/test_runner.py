"""The runner over stores and workers in memory: everything around a training, and nothing of it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from services.platform.backoff import Backoff
from services.platform.errors import UnavailableError
from tests.unit.trainer.searches.curves import curve, search_spec
from trainer.adapters.optuna_sampler import OptunaSampler
from trainer.domain.search.plan import Cost, Objective, SamplerKind, SchedulerKind
from trainer.domain.search.trials import Trial, TrialState
from trainer.domain.specs import ModelSpec
from trainer.jobs.errors import JobCancelled, JobFailed, WorkerCrashed
from trainer.jobs.job import Progress
from trainer.jobs.results import SearchResult
from trainer.searches.errors import SearchFailed
from trainer.searches.fakes import FakeLatencyMeter, FakeTrialStore, FakeTrialWorkers
from trainer.searches.patience import Patience
from trainer.searches.runner import SearchRunner

PATIENCE = Patience(backoff=Backoff(0.001, 0.002))
RANDOM: dict[str, Any] = {"sampler": SamplerKind.RANDOM}
FULL: dict[str, Any] = {**RANDOM, "scheduler": SchedulerKind.NONE, "trials": 4, "epochs": 3}


def latency_of(network: ModelSpec) -> float:
    return {"resnet18": 10.0, "resnet34": 20.0, "tu-regnety_002": 5.0}[network.encoder]


class Bench:
    """A store and checkpoints that outlive runners."""

    def __init__(self, slots: int = 2) -> None:
        self.store = FakeTrialStore()
        self.workers = FakeTrialWorkers(curve, test=lambda _: (0.7, 0.8))
        self.meter = FakeLatencyMeter(latency_of)
        self.slots = asyncio.Semaphore(slots)
        self.stop = asyncio.Event()
        self.reports: list[Progress] = []
        self.on_report: Callable[[Progress], None] = lambda progress: None

    async def run(self, job_id: str = "j1", **choices: Any) -> SearchResult:
        runner = SearchRunner(
            self.store,
            OptunaSampler(),
            self.workers,
            self.meter,
            slots=self.slots,
            parallel=2,
            patience=PATIENCE,
        )
        return await runner.run(job_id, search_spec(**choices), self.stop, self.report)

    async def report(self, progress: Progress) -> None:
        self.reports.append(progress)
        self.on_report(progress)

    async def until_running(self, trainings: int) -> None:
        async with asyncio.timeout(10):
            while len(self.workers.running) < trainings:  # noqa: ASYNC110
                await asyncio.sleep(0)

    def trials(self, job_id: str = "j1") -> Sequence[Trial]:
        return self.store.trials(job_id)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_search_ends_with_its_winners(bench: Bench) -> None:
    result = await bench.run(**RANDOM)
    trials = bench.trials()
    assert len(trials) == 9
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert result.most_accurate == max(complete, key=lambda trial: trial.iou or 0.0)
    assert result.most_accurate.test_iou == 0.7
    assert (result.complete, result.failed) == (len(complete), 0)
    assert result.complete + result.pruned == 9
    assert result.epochs == sum(len(trial.epochs) for trial in trials) == len(bench.workers.history)
    assert result.seconds == 2.0 * result.epochs
    assert result.image_size == 64


async def test_a_search_by_the_estimator_finds_the_best_of_the_space(bench: Bench) -> None:
    result = await bench.run(trials=30, epochs=27)
    found = result.most_accurate.configuration
    assert (found.decoder, found.encoder, found.learning_rate) == ("FPN", "resnet34", 4e-4)
    assert result.epochs < 0.25 * 30 * 27


async def test_outperformed_trials_say_so_and_keep_no_checkpoint(bench: Bench) -> None:
    await bench.run(**RANDOM)
    pruned = [trial for trial in bench.trials() if trial.state is TrialState.PRUNED]
    assert {trial.reason for trial in pruned} == {"OUTPERFORMED"}
    assert sorted(bench.workers.forgotten) == list(range(9))


@pytest.mark.parametrize(
    ("slots", "parallel", "most"), [(2, 0, 2), (2, 1, 1), (1, 2, 1), (4, 4, 4)]
)
async def test_trials_run_side_by_side_and_never_more_than_there_are_slots(
    slots: int, parallel: int, most: int
) -> None:
    bench = Bench(slots)
    bench.workers.gate.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.run(parallel=parallel, **FULL))
        await bench.until_running(most)
        bench.workers.gate.set()
    assert bench.workers.most_running == most


async def test_nothing_is_trained_twice_whatever_moment_the_runner_dies_at() -> None:
    whole = Bench()
    expected = await whole.run(parallel=1, **RANDOM)
    for moment in range(1, len(whole.reports), 3):
        bench = Bench()
        task = asyncio.create_task(bench.run(parallel=1, **RANDOM))

        def kill(_: Progress, bench: Bench = bench, task: Any = task, moment: int = moment) -> None:
            if len(bench.reports) == moment:
                task.cancel()

        bench.on_report = kill
        await asyncio.wait([task])
        assert task.cancelled()
        bench.on_report = lambda progress: None
        result = await bench.run(parallel=1, **RANDOM)
        assert Counter(bench.workers.history) == Counter(whole.workers.history)
        assert result.most_accurate.number == expected.most_accurate.number
        assert [trial.configuration for trial in bench.trials()] == [
            trial.configuration for trial in whole.trials()
        ]


async def test_several_trials_go_on_after_a_restart(bench: Bench) -> None:
    bench.workers.gate.clear()
    task = asyncio.create_task(bench.run(**FULL))
    await bench.until_running(2)
    task.cancel()
    await asyncio.wait([task])
    assert [trial.state for trial in bench.trials()] == [TrialState.ACTIVE] * 2
    bench.workers.gate.set()
    result = await bench.run(**FULL)
    assert result.complete == 4
    assert [trial.attempts for trial in bench.trials()] == [2, 2, 1, 1]


async def test_cancelling_ends_every_trial_and_keeps_what_they_showed(bench: Bench) -> None:
    bench.on_report = lambda progress: bench.stop.set() if progress.done >= 4 else None
    with pytest.raises(JobCancelled):
        await bench.run(**RANDOM)
    states = {trial.state for trial in bench.trials()}
    assert states <= {TrialState.CANCELLED, TrialState.PRUNED}
    assert any(trial.epochs for trial in bench.trials())


async def test_memory_that_does_not_suffice_halves_the_batch(bench: Bench) -> None:
    full = JobFailed("Out of memory.", reason="OUT_OF_MEMORY")
    bench.workers.fail(1, [full], after_epochs=1)
    await bench.run(**FULL)
    shrunk = bench.trials()[1]
    assert shrunk.state is TrialState.COMPLETE
    assert shrunk.trained_batch_size == shrunk.configuration.batch_size // 2
    # From the first epoch, without the checkpoint of the larger batch.
    trained = [epoch.number for number, epoch in bench.workers.history if number == 1]
    assert trained == [1, 1, 2, 3]
    assert bench.workers.forgotten.count(1) == 2


async def test_a_batch_that_never_fits_fails_one_trial(bench: Bench) -> None:
    full = JobFailed("Out of memory.", reason="OUT_OF_MEMORY")
    bench.workers.fail(1, [full] * 4)
    result = await bench.run(**FULL)
    failed = bench.trials()[1]
    assert (failed.state, failed.reason) == (TrialState.FAILED, "BATCH_NEVER_FITS")
    assert failed.trained_batch_size == 2
    assert (result.complete, result.failed) == (3, 1)


async def test_a_diverged_training_is_pruned(bench: Bench) -> None:
    bench.workers.fail(0, [JobFailed("The loss is NaN.", reason="NON_FINITE_LOSS")], after_epochs=1)
    await bench.run(**FULL)
    pruned = bench.trials()[0]
    assert (pruned.state, pruned.reason) == (TrialState.PRUNED, "NON_FINITE_LOSS")
    assert len(pruned.epochs) == 1


async def test_a_trial_beyond_its_time_fails_alone(bench: Bench) -> None:
    bench.workers.fail(0, [JobFailed("Over 6 hours.", reason="TRIAL_TOO_SLOW")])
    result = await bench.run(**FULL)
    failed = bench.trials()[0]
    assert (failed.state, failed.reason, failed.message) == (
        TrialState.FAILED,
        "TRIAL_TOO_SLOW",
        "Over 6 hours.",
    )
    assert result.complete == 3


async def test_a_crashed_process_carries_on_from_its_checkpoint(bench: Bench) -> None:
    bench.workers.fail(0, [WorkerCrashed("killed")] * 2, after_epochs=1)
    result = await bench.run(**FULL)
    crashed = bench.trials()[0]
    assert (crashed.state, crashed.attempts, crashed.crashes) == (TrialState.COMPLETE, 3, 2)
    trained = [epoch.number for number, epoch in bench.workers.history if number == 0]
    assert trained == [1, 2, 3]
    assert result.epochs == len(bench.workers.history)


async def test_a_process_that_keeps_crashing_fails_its_trial(bench: Bench) -> None:
    bench.workers.fail(0, [WorkerCrashed(f"killed {number}") for number in range(5)])
    result = await bench.run(**FULL)
    failed = bench.trials()[0]
    assert (failed.state, failed.reason, failed.crashes) == (TrialState.FAILED, "CRASHED", 3)
    assert "killed 2" in failed.message
    assert result.complete == 3


async def test_what_is_down_is_waited_for_and_the_progress_says_so(bench: Bench) -> None:
    bench.workers.fail(0, [UnavailableError("The cluster does not answer.")] * 6)
    result = await bench.run(**FULL)
    assert result.complete == 4
    stages = Counter(progress.stage for progress in bench.reports)
    assert stages["searching, waiting (The cluster does not answer.)"] >= 6
    assert bench.reports[-1].stage != "searching, waiting (The cluster does not answer.)"


async def test_a_full_disk_is_tried_again_and_then_fails_the_trial(bench: Bench) -> None:
    full = JobFailed("The disk is full.", reason="DISK_FULL")
    bench.workers.fail(0, [full] * 2)
    bench.workers.fail(1, [full] * 3)
    result = await bench.run(**FULL)
    states = [trial.state for trial in bench.trials()]
    assert states == [
        TrialState.COMPLETE,
        TrialState.FAILED,
        TrialState.COMPLETE,
        TrialState.COMPLETE,
    ]
    assert bench.trials()[1].reason == "DISK_FULL"
    assert result.failed == 1


async def test_a_search_that_can_train_nothing_fails_soon_with_the_reason(bench: Bench) -> None:
    for number in range(9):
        bench.workers.fail(number, [JobFailed("A frame is unreadable.", reason="UNREADABLE_FRAME")])
    with pytest.raises(SearchFailed) as failure:
        await bench.run(**RANDOM)
    assert failure.value.reason == "UNREADABLE_FRAME"
    assert "A frame is unreadable." in failure.value.message
    trials = bench.trials()
    assert 5 <= len(trials) <= 6
    assert all(trial.ended for trial in trials)


async def test_a_search_whose_few_trials_all_fail_fails(bench: Bench) -> None:
    bench.workers.fail(0, [JobFailed("No such luck.", reason="BAD_LUCK")])
    with pytest.raises(SearchFailed) as failure:
        await bench.run(**{**FULL, "trials": 1})
    assert failure.value.reason == "BAD_LUCK"


async def test_a_defect_is_raised_as_it_is_and_stops_the_other_trials(bench: Bench) -> None:
    bench.workers.fail(0, [ZeroDivisionError("defect")])
    with pytest.raises(ZeroDivisionError):
        await bench.run(**FULL)
    assert bench.workers.running == set()


async def test_networks_that_are_too_slow_are_not_trained(bench: Bench) -> None:
    result = await bench.run(**{**FULL, "trials": 12}, objective=Objective(max_latency_ms=15.0))
    slow = [trial for trial in bench.trials() if trial.configuration.encoder == "resnet34"]
    assert slow
    for trial in slow:
        assert (trial.state, trial.reason, trial.epochs) == (TrialState.PRUNED, "TOO_SLOW", ())
        assert trial.latency_ms == 20.0
    assert result.most_accurate.configuration.encoder != "resnet34"
    assert max(Counter(map(str, bench.meter.measured)).values()) == 1


async def test_a_search_without_a_fast_network_says_so(bench: Bench) -> None:
    with pytest.raises(SearchFailed) as failure:
        await bench.run(**FULL, objective=Objective(max_latency_ms=1.0))
    assert failure.value.reason == "NOTHING_WITHIN_LIMITS"
    assert bench.workers.history == []


async def test_a_network_that_cannot_be_exported_fails_where_its_latency_is_needed(
    bench: Bench,
) -> None:
    bench.meter.failures.append(JobFailed("It cannot be exported.", reason="EXPORT_FAILED"))
    result = await bench.run(**FULL, objective=Objective(pareto=(Cost.LATENCY,)))
    failed = bench.trials()[0]
    assert (failed.state, failed.reason) == (TrialState.FAILED, "EXPORT_FAILED")
    assert result.complete == 3
    assert result.pareto_front


async def test_latency_is_measured_at_the_end_for_what_was_trained_to_the_end(
    bench: Bench,
) -> None:
    result = await bench.run(**RANDOM)
    complete = [trial for trial in bench.trials() if trial.state is TrialState.COMPLETE]
    assert all(trial.latency_ms == latency_of(trial.configuration.model) for trial in complete)
    assert len(bench.meter.measured) == len({trial.configuration.model for trial in complete})
    assert result.most_accurate.latency_ms is not None
    assert bench.reports[-1].stage == "measuring latency"


@pytest.mark.parametrize(
    "failure", [JobFailed("No.", reason="EXPORT_FAILED"), UnavailableError("Triton is down.")]
)
async def test_a_latency_that_cannot_be_measured_at_the_end_stays_unknown(
    bench: Bench, failure: Exception
) -> None:
    bench.meter.failures.extend([failure] * 4)
    result = await bench.run(**FULL)
    assert result.most_accurate.latency_ms is None
    assert result.complete == 4


async def test_trials_that_take_too_much_memory_go_no_further(bench: Bench) -> None:
    bench.workers = FakeTrialWorkers(
        curve, memory_mib=lambda each: 900.0 if each.decoder == "FPN" else 100.0
    )
    result = await bench.run(**{**RANDOM, "trials": 18}, objective=Objective(max_memory_mib=500.0))
    large = [trial for trial in bench.trials() if trial.configuration.decoder == "FPN"]
    assert large
    assert {(trial.state, trial.reason) for trial in large} == {(TrialState.PRUNED, "TOO_LARGE")}
    assert all(len(trial.epochs) == 1 for trial in large)
    assert result.most_accurate.configuration.decoder != "FPN"


async def test_the_progress_never_falls_and_ends_at_all(bench: Bench) -> None:
    await bench.run(**RANDOM)
    done = [progress.done for progress in bench.reports]
    assert done == sorted(done)
    assert done[-1] == 9
    assert {progress.total for progress in bench.reports} == {9}
    best = [progress.iou for progress in bench.reports if progress.iou is not None]
    assert best == sorted(best)
    assert bench.reports[0].eta_s is None
    assert bench.reports[-1].eta_s == 0.0


async def test_a_warm_start_begins_with_the_best_of_the_earlier_search(bench: Bench) -> None:
    first = await bench.run("earlier", **RANDOM)
    await bench.run("later", warm_start="earlier")
    assert bench.trials("later")[0].configuration == first.most_accurate.configuration


async def test_files_of_an_ended_search_are_removed_on_request(bench: Bench) -> None:
    runner = SearchRunner(
        bench.store, OptunaSampler(), bench.workers, bench.meter, slots=bench.slots, parallel=2
    )
    runner.forget("j1")
    assert bench.workers.forgotten_searches == ["j1"]
