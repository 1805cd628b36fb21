"""Drives every job from QUEUED to its end, and carries on after a crash of anything."""

import asyncio
from dataclasses import dataclass, replace

import structlog

from services.platform.backoff import Backoff
from services.platform.errors import EchoLoopError, UnavailableError
from trainer.jobs.errors import IllegalJobTransition, JobCancelled, WorkerCrashed
from trainer.jobs.job import Job, JobKind, JobState, Progress
from trainer.jobs.ports import OnProgress, Publisher, Searches, Workers
from trainer.jobs.registry import JobRegistry
from trainer.jobs.results import (
    EvaluationResult,
    JobResult,
    RetrainingResult,
    SearchResult,
    TrainedModel,
)
from trainer.jobs.specs import EvaluationSpec, SearchSpec

__all__ = ["JobRunner", "RunnerLimits"]

_RECENT_JOBS = 200
_LATELY_ENDED = 20

_log = structlog.get_logger(__name__)


_BACKOFF = Backoff(first_s=1.0, cap_s=30.0)


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """What the runner may use.

    Attributes:
        max_crashes: A job whose process died this often is FAILED.
        backoff: Pauses after crashes and refusals in a row.
        kept_weights: Trainings of one model and campaign whose weights are kept for warm starts,
            the newest ones.
    """

    max_crashes: int = 3
    backoff: Backoff = _BACKOFF
    kept_weights: int = 3


class JobRunner:
    """Runs queued jobs, oldest first.

    A slot is held only while a worker process runs: publication waits for Triton, not for a core,
    and of a search every trial takes a slot of its own. For use from one event loop.

    Args:
        registry: The jobs.
        workers: Runs the work of trainings and evaluations.
        publisher: Publishes what was trained.
        searches: Runs searches, whose trials take `slots` too.
        slots: One for each worker process that may run at once, first come, first served.
        limits: What may be used.
    """

    def __init__(
        self,
        registry: JobRegistry,
        workers: Workers,
        publisher: Publisher,
        searches: Searches,
        *,
        slots: asyncio.Semaphore,
        limits: RunnerLimits | None = None,
    ) -> None:
        self._registry = registry
        self._workers = workers
        self._publisher = publisher
        self._searches = searches
        self._slots = slots
        self._limits = limits or RunnerLimits()
        self._wake = asyncio.Event()
        self._stops: dict[str, asyncio.Event] = {}

    def wake(self) -> None:
        """Look for new jobs; call it after one was created."""
        self._wake.set()

    def cancel(self, job_id: str) -> None:
        """Stop the work of a job whose cancellation the registry has noted."""
        stop = self._stops.get(job_id)
        if stop is not None:
            stop.set()

    async def run(self) -> None:
        """Continue jobs that were RUNNING, then run queued ones until cancelled.

        Cancelling ends the worker processes and leaves their jobs RUNNING, to be continued.
        """
        async with asyncio.TaskGroup() as group:
            await self._clean_up_lately_ended()
            for job in await self._registry.in_states({JobState.RUNNING}):
                _log.info("job.continued", job=job.id, kind=job.kind, attempts=job.attempts)
                self._adopt(group, job)
            while True:
                self._wake.clear()
                for job in await self._registry.in_states({JobState.QUEUED}):
                    if job.id not in self._stops:
                        self._adopt(group, job)
                await self._wake.wait()

    def _adopt(self, group: asyncio.TaskGroup, job: Job) -> None:
        self._stops[job.id] = asyncio.Event()
        group.create_task(self._drive(job), name=f"job {job.id}")

    async def _drive(self, job: Job) -> None:
        stop = self._stops[job.id]
        try:
            if job.cancel_requested:
                stop.set()
            ended = await self._registry.succeed(job.id, await self._result(job, stop))
        except JobCancelled:
            ended = await self._end_cancelled(job)
        except UnavailableError:
            # Only the job store is not waited for elsewhere. Without it nothing can be noted: the
            # process ends, its supervisor starts it again, and every job continues.
            raise
        except EchoLoopError as error:
            ended = await self._registry.fail(job.id, error.reason, error.message)
        except Exception:
            _log.exception("job.defect", job=job.id)
            ended = await self._registry.fail(
                job.id,
                "INTERNAL",
                "The trainer failed unexpectedly on this job. Its log has the details.",
            )
        finally:
            del self._stops[job.id]
        _log.info("job.ended", job=job.id, state=ended.state, reason=ended.failure_reason)
        await self._clean_up(ended)
        if isinstance(ended.result, RetrainingResult):
            await self._forget_old_weights(ended, ended.result.version.model)

    async def _result(self, job: Job, stop: asyncio.Event) -> JobResult:
        if job.kind is JobKind.SEARCH:
            return await self._search(job, stop)
        outcome = await self._work(job, stop)
        if isinstance(outcome, TrainedModel):
            return await self._publish(job, outcome, stop)
        return outcome

    async def _search(self, job: Job, stop: asyncio.Event) -> SearchResult:
        await self._started(job, stop)
        spec = await self._registry.spec(job.id)
        assert isinstance(spec, SearchSpec)  # of a job of this kind
        return await self._searches.run(job.id, spec, stop, self._reporter(job.id))

    async def _clean_up_lately_ended(self) -> None:
        """Clean up after jobs whose end an earlier process noted just before it was killed."""
        for job in await self._registry.page("", _LATELY_ENDED, None):
            if job.ended:
                await self._clean_up(job)

    async def _clean_up(self, job: Job) -> None:
        if job.kind is JobKind.SEARCH:
            await asyncio.to_thread(self._searches.forget, job.id)
        else:
            await asyncio.to_thread(self._workers.clean_up, job)

    async def _work(self, job: Job, stop: asyncio.Event) -> TrainedModel | EvaluationResult:
        if job.state is JobState.RUNNING:
            finished = await asyncio.to_thread(self._workers.outcome, job)
            if finished is not None:
                return finished
        refusals = 0
        while True:
            try:
                # Nothing is waited for before: slots are given to jobs in the order of their age.
                async with self._slots:
                    job = await self._started(job, stop)
                    spec = await self._registry.spec(job.id)
                    assert not isinstance(spec, SearchSpec)  # of a job of another kind
                    if isinstance(spec, EvaluationSpec):
                        await self._publisher.make_resident(spec.model)
                    return await self._workers.run(job, spec, self._reporter(job.id), stop)
            except WorkerCrashed as crash:
                job = await self._registry.count_crash(job.id)
                _log.warning("job.crashed", job=job.id, crashes=job.crashes, reason=crash.message)
                if job.crashes >= self._limits.max_crashes:
                    raise
                pause_s = self._limits.backoff.delay_s(job.crashes)
            except UnavailableError as error:
                refusals += 1
                pause_s = self._limits.backoff.delay_s(refusals)
                await self._note_wait(job.id, error)
            await _sleep_unless(stop, pause_s)

    async def _started(self, job: Job, stop: asyncio.Event) -> Job:
        if job.state is JobState.QUEUED:
            try:
                job = await self._registry.start(job.id)
            except IllegalJobTransition as exc:  # cancelled while it was waiting
                raise JobCancelled("The job was cancelled before it began.") from exc
        if stop.is_set():
            raise JobCancelled("The job was cancelled.")
        return await self._registry.count_attempt(job.id)

    async def _publish(
        self, job: Job, trained: TrainedModel, stop: asyncio.Event
    ) -> RetrainingResult:
        progress = (await self._registry.get(job.id)).progress

        async def on_stage(stage: str) -> None:
            await self._registry.report(job.id, replace(progress, stage=stage, eta_s=None))

        verified = await self._publisher.publish(job.id, trained, on_stage, stop)
        return RetrainingResult.of(trained, verified)

    async def _forget_old_weights(self, job: Job, model: str) -> None:
        recent = await self._registry.page(job.campaign, _RECENT_JOBS, None)
        trained = [
            each
            for each in recent
            if each.campaign == job.campaign
            and isinstance(each.result, RetrainingResult)
            and each.result.version.model == model
        ]
        for old in trained[self._limits.kept_weights :]:
            await asyncio.to_thread(self._workers.forget, old.id)

    async def _end_cancelled(self, job: Job) -> Job:
        current = await self._registry.get(job.id)
        return current if current.ended else await self._registry.cancel(job.id)

    async def _note_wait(self, job_id: str, error: UnavailableError) -> None:
        _log.warning("job.waits", job=job_id, reason=error.reason)
        progress = (await self._registry.get(job_id)).progress
        stage = f"{progress.stage.partition(',')[0]}, waiting ({error.message})"
        await self._registry.report(job_id, replace(progress, stage=stage, eta_s=None))

    def _reporter(self, job_id: str) -> OnProgress:
        async def report(progress: Progress) -> None:
            await self._registry.report(job_id, progress)

        return report


async def _sleep_unless(stop: asyncio.Event, pause_s: float) -> None:
    """Sleep, or raise as soon as the job shall end."""
    try:
        async with asyncio.timeout(pause_s):
            await stop.wait()
    except TimeoutError:
        return
    raise JobCancelled("The job was cancelled.")
