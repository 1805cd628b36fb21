"""The runner against a real store and scripted workers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.platform.backoff import Backoff
from services.platform.errors import UnavailableError
from trainer.adapters.sql_database import open_database
from trainer.adapters.sql_jobs import SqlJobStore
from trainer.domain.errors import ZeroVarianceModel
from trainer.domain.search.plan import SearchPlan
from trainer.domain.search.space import SearchSpace
from trainer.domain.specs import DropoutSpec, ModelSpec, TrainingSpec
from trainer.jobs.errors import JobFailed, JobNotFound, TrainerStopping, WorkerCrashed
from trainer.jobs.fakes import FakePublisher, FakeSearches, FakeWorkers
from trainer.jobs.job import Job, JobKind, JobState
from trainer.jobs.registry import JobRegistry
from trainer.jobs.results import EvaluationResult, RetrainingResult, SearchResult
from trainer.jobs.runner import JobRunner, RunnerLimits
from trainer.jobs.specs import (
    EvaluationSpec,
    JobSpec,
    LabeledFrame,
    ModelVersion,
    RetrainingSpec,
    SearchSpec,
)
from trainer.searches.errors import SearchFailed

FRAMES = (LabeledFrame("f1", "frames/aa/x.png", "masks/bb/y.png"),)
RETRAINING = RetrainingSpec(
    TrainingSpec(ModelSpec("Linknet", "resnet18"), DropoutSpec()), n_passes=30, frames=FRAMES
)
EVALUATION = EvaluationSpec(ModelVersion("lv_segmenter", 1), FRAMES)
SEARCH = SearchSpec(
    SearchPlan(SearchSpace.define(pairs=["Linknet+resnet18"]), trials=3, epochs=2), FRAMES
)
LIMITS = RunnerLimits(max_crashes=3, backoff=Backoff(0.01, 0.02))


class Bench:
    """A store that outlives runners, and the parts of the runner at hand."""

    def __init__(self, url: str) -> None:
        self.database = open_database(url)
        self.store = SqlJobStore(self.database)
        self.restart()

    def restart(self) -> None:
        self.registry = JobRegistry(self.store)
        self.workers = FakeWorkers()
        self.publisher = FakePublisher()
        self.searches = FakeSearches()
        self.slots = asyncio.Semaphore(2)
        self.runner = JobRunner(
            self.registry,
            self.workers,
            self.publisher,
            self.searches,
            slots=self.slots,
            limits=LIMITS,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.runner.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def start(self, request_id: str, spec: JobSpec) -> Job:
        job = await self.registry.create(request_id, spec, "c1")
        self.runner.wake()
        return job

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def ended(self, job: Job) -> Job:
        async with asyncio.timeout(10):
            return [snapshot async for snapshot in self.registry.watch(job.id)][-1]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(f"sqlite:///{tmp_path / 'db'}")
    yield made
    made.database.close()


async def test_a_retraining_ends_with_its_published_version(bench: Bench) -> None:
    async with bench.running():
        job = await bench.ended(await bench.start("r1", RETRAINING))
        await bench.until(lambda: bench.workers.cleaned == [job.id])
    assert job.state is JobState.SUCCEEDED
    assert isinstance(job.result, RetrainingResult)
    assert job.result.version == bench.publisher.published[job.id]
    assert job.attempts == 1


async def test_what_a_killed_trainer_left_of_an_ended_job_is_removed(bench: Bench) -> None:
    async with bench.running():
        job = await bench.ended(await bench.start("r1", RETRAINING))
    bench.workers.cleaned.clear()
    async with bench.running():
        await bench.until(lambda: bench.workers.cleaned == [job.id])


async def test_an_evaluation_is_not_published(bench: Bench) -> None:
    async with bench.running():
        job = await bench.ended(await bench.start("r1", EVALUATION))
    assert isinstance(job.result, EvaluationResult)
    assert bench.publisher.published == {}
    assert bench.publisher.measured == [EVALUATION.model]


async def test_no_more_processes_than_slots_run_at_once(bench: Bench) -> None:
    bench.workers.gate.clear()
    async with bench.running():
        jobs = [await bench.start(f"r{n}", EVALUATION) for n in range(5)]
        await bench.until(lambda: len(bench.workers.running) == 2)
        bench.workers.gate.set()
        for job in jobs:
            await bench.ended(job)
    assert bench.workers.most_running == 2


async def test_a_crashed_process_is_started_again(bench: Bench) -> None:
    async with bench.running():
        bench.workers.gate.clear()
        job = await bench.start("r1", RETRAINING)
        bench.workers.fail(job.id, [WorkerCrashed("killed"), WorkerCrashed("killed")])
        bench.workers.gate.set()
        job = await bench.ended(job)
    assert (job.state, job.attempts, job.crashes) == (JobState.SUCCEEDED, 3, 2)


async def test_a_process_that_keeps_crashing_fails_the_job_with_a_reason(bench: Bench) -> None:
    async with bench.running():
        bench.workers.gate.clear()
        job = await bench.start("r1", RETRAINING)
        bench.workers.fail(job.id, [WorkerCrashed(f"killed {n}") for n in range(5)])
        bench.workers.gate.set()
        job = await bench.ended(job)
    assert (job.state, job.failure_reason) == (JobState.FAILED, "WORKER_CRASHED")
    assert (job.attempts, job.failure_message) == (3, "killed 2")


async def test_a_typed_failure_is_not_repeated(bench: Bench) -> None:
    async with bench.running():
        bench.workers.gate.clear()
        job = await bench.start("r1", RETRAINING)
        bench.workers.fail(job.id, [JobFailed("Frame f1: damaged.", reason="IMAGE_CORRUPT")])
        bench.workers.gate.set()
        job = await bench.ended(job)
    assert (job.state, job.failure_reason) == (JobState.FAILED, "IMAGE_CORRUPT")
    assert (job.attempts, job.failure_message) == (1, "Frame f1: damaged.")


async def test_what_is_unavailable_is_waited_for_without_end(bench: Bench) -> None:
    async with bench.running():
        bench.workers.gate.clear()
        job = await bench.start("r1", EVALUATION)
        bench.workers.fail(job.id, [UnavailableError("Triton is away.") for _ in range(8)])
        bench.workers.gate.set()
        stages = [snapshot.progress.stage async for snapshot in bench.registry.watch(job.id)]
        job = await bench.registry.get(job.id)
    assert (job.state, job.crashes) == (JobState.SUCCEEDED, 0)
    assert any("waiting (Triton is away.)" in stage for stage in stages)


async def test_a_refused_publication_fails_the_job(bench: Bench) -> None:
    bench.publisher.failure = ZeroVarianceModel("All passes agree.")
    async with bench.running():
        job = await bench.ended(await bench.start("r1", RETRAINING))
    assert (job.state, job.failure_reason) == (JobState.FAILED, "ZERO_VARIANCE_MODEL")


async def test_a_defect_shows_no_details(bench: Bench) -> None:
    bench.publisher.failure = ValueError("/secret/path")
    async with bench.running():
        job = await bench.ended(await bench.start("r1", RETRAINING))
    assert (job.state, job.failure_reason) == (JobState.FAILED, "INTERNAL")
    assert "secret" not in job.failure_message


async def test_cancelling_ends_running_work(bench: Bench) -> None:
    bench.workers.gate.clear()
    async with bench.running():
        job = await bench.start("r1", RETRAINING)
        await bench.until(lambda: bool(bench.workers.running))
        await bench.registry.request_cancel(job.id)
        bench.runner.cancel(job.id)
        job = await bench.ended(job)
    assert job.state is JobState.CANCELLED
    assert bench.publisher.published == {}


async def test_cancelling_a_waiting_job_frees_its_place(bench: Bench) -> None:
    bench.workers.gate.clear()
    async with bench.running():
        jobs = [await bench.start(f"r{n}", EVALUATION) for n in range(4)]
        await bench.until(lambda: len(bench.workers.running) == 2)
        assert (await bench.registry.request_cancel(jobs[2].id)).state is JobState.CANCELLED
        bench.workers.gate.set()
        assert (await bench.ended(jobs[3])).state is JobState.SUCCEEDED
    assert jobs[2].id not in bench.workers.started


async def test_a_restarted_runner_continues_running_jobs_first(bench: Bench) -> None:
    bench.workers.gate.clear()
    async with bench.running():
        jobs = [await bench.start(f"r{n}", RETRAINING) for n in range(3)]
        await bench.until(lambda: len(bench.workers.running) == 2)
    assert (await bench.registry.get(jobs[0].id)).state is JobState.RUNNING
    bench.restart()
    async with bench.running():
        ended = [await bench.ended(job) for job in jobs]
    assert [job.state for job in ended] == [JobState.SUCCEEDED] * 3
    assert [job.attempts for job in ended] == [2, 2, 1]
    assert [job.crashes for job in ended] == [0, 0, 0]


async def test_a_restarted_runner_does_not_repeat_finished_work(bench: Bench) -> None:
    bench.workers.gate.clear()
    async with bench.running():
        job = await bench.start("r1", EVALUATION)
        await bench.until(lambda: bool(bench.workers.running))
    bench.restart()
    bench.workers.finished[job.id] = EvaluationResult(0.7, 0.8, ())
    async with bench.running():
        job = await bench.ended(job)
    assert job.result == EvaluationResult(0.7, 0.8, ())
    assert (bench.workers.started, job.attempts) == ([], 1)


async def test_a_job_cancelled_before_a_restart_ends_after_it(bench: Bench) -> None:
    bench.workers.gate.clear()
    async with bench.running():
        job = await bench.start("r1", RETRAINING)
        await bench.until(lambda: bool(bench.workers.running))
    bench.store.request_cancel(job.id)
    bench.restart()
    async with bench.running():
        assert (await bench.ended(job)).state is JobState.CANCELLED
    assert bench.workers.started == []


async def test_only_the_newest_weights_of_a_campaign_are_kept(bench: Bench) -> None:
    async with bench.running():
        jobs = [await bench.ended(await bench.start(f"r{n}", RETRAINING)) for n in range(5)]
        await bench.ended(await bench.start("e", EVALUATION))
        await bench.until(lambda: len(bench.workers.cleaned) == 6)
    assert set(bench.workers.forgotten) == {jobs[0].id, jobs[1].id}


async def test_a_watch_shows_every_state_and_ends(bench: Bench) -> None:
    job = await bench.start("r1", RETRAINING)
    watch = bench.registry.watch(job.id)
    assert (await anext(watch)).state is JobState.QUEUED
    async with bench.running():
        states = [snapshot.state async for snapshot in watch]
    assert states[-1] is JobState.SUCCEEDED


async def test_a_watch_ends_when_the_trainer_stops(bench: Bench) -> None:
    job = await bench.start("r1", RETRAINING)
    watch = bench.registry.watch(job.id)
    await anext(watch)
    bench.registry.close()
    with pytest.raises(TrainerStopping):
        await anext(watch)


async def test_an_unknown_job_cannot_be_watched(bench: Bench) -> None:
    with pytest.raises(JobNotFound):
        await anext(bench.registry.watch("nothing"))


async def test_a_search_ends_with_what_it_found_and_without_its_files(bench: Bench) -> None:
    async with bench.running():
        job = await bench.ended(await bench.start("r1", SEARCH))
        await bench.until(lambda: bench.searches.forgotten == [job.id])
    assert (job.kind, job.state) == (JobKind.SEARCH, JobState.SUCCEEDED)
    assert isinstance(job.result, SearchResult)
    assert job.result.most_accurate.configuration == SEARCH.plan.space[0]
    assert (job.attempts, job.progress.stage, job.progress.total) == (1, "searching", 3)
    assert bench.workers.started == []


async def test_a_search_begins_without_a_slot_since_its_trials_take_them(bench: Bench) -> None:
    bench.workers.gate.clear()
    async with bench.running():
        for number in range(2):
            await bench.start(f"r{number}", EVALUATION)
        await bench.until(bench.slots.locked)
        job = await bench.ended(await bench.start("r2", SEARCH))
        bench.workers.gate.set()
    assert job.state is JobState.SUCCEEDED


async def test_a_search_that_was_interrupted_is_continued(bench: Bench) -> None:
    bench.searches.gate.clear()
    async with bench.running():
        job = await bench.start("r1", SEARCH)
        await bench.until(lambda: bench.searches.started == [job.id])
    assert (await bench.registry.get(job.id)).state is JobState.RUNNING
    bench.restart()
    async with bench.running():
        ended = await bench.ended(job)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 2)
    assert bench.searches.started == [job.id]


async def test_a_cancelled_search_ends_cancelled(bench: Bench) -> None:
    bench.searches.gate.clear()
    async with bench.running():
        job = await bench.start("r1", SEARCH)
        await bench.until(lambda: bench.searches.started == [job.id])
        await bench.registry.request_cancel(job.id)
        bench.runner.cancel(job.id)
        ended = await bench.ended(job)
        await bench.until(lambda: bench.searches.forgotten == [job.id])
    assert ended.state is JobState.CANCELLED


async def test_a_search_that_finds_nothing_fails_with_the_reason(bench: Bench) -> None:
    bench.searches.failure = SearchFailed("Every trial failed.", reason="BATCH_NEVER_FITS")
    async with bench.running():
        job = await bench.ended(await bench.start("r1", SEARCH))
    assert (job.state, job.failure_reason) == (JobState.FAILED, "BATCH_NEVER_FITS")
    assert job.failure_message == "Every trial failed."
