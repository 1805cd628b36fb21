"""Runs the work of jobs in processes of their own."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.platform.errors import UnavailableError
from trainer.adapters.job_folder import Ending, JobFolder, Outcome, WorkOrder
from trainer.adapters.job_json import load_progress
from trainer.adapters.worker_start import Starter, WorkerHandle
from trainer.jobs.errors import JobCancelled, JobFailed, WorkerCrashed
from trainer.jobs.job import Job, JobState
from trainer.jobs.ports import OnProgress
from trainer.jobs.results import EvaluationResult, TrainedModel
from trainer.jobs.specs import JobSpec, ModelVersion, RetrainingSpec

__all__ = ["WorkerOptions", "WorkerProcesses"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What every worker is told.

    Attributes:
        folder: Holds one folder a job.
        blob_url: Where the frames are.
        triton: `host:port` of Triton's gRPC endpoint.
        threads: Processor threads of one worker.
        grace_s: How long a worker may take to end when it is asked to.
    """

    folder: Path
    blob_url: str
    triton: str
    threads: int = 1
    grace_s: float = 10.0


class WorkerProcesses:
    """`trainer.jobs.ports.Workers` with one process a job.

    Call `run` from the main thread's event loop: the kernel binds a worker's life to the thread
    that started it.

    Args:
        options: What every worker is told.
        starter: Starts the processes.
        weights_of: Returns the job whose weights a published version has; None when unknown.
    """

    def __init__(
        self,
        options: WorkerOptions,
        starter: Starter,
        weights_of: Callable[[ModelVersion], str | None],
    ) -> None:
        self._options = options
        self._starter = starter
        self._weights_of = weights_of
        self._pids: dict[str, int] = {}

    def pid(self, job_id: str) -> int | None:
        """Return the process id of a job's worker, None while it has none."""
        return self._pids.get(job_id)

    def outcome(self, job: Job) -> TrainedModel | EvaluationResult | None:
        """See `Workers.outcome`."""
        outcome = self._folder(job.id).outcome()
        if outcome is None or outcome.ending in (Ending.UNAVAILABLE, Ending.CANCELLED):
            return None
        return _result(outcome)

    async def run(
        self, job: Job, spec: JobSpec, on_progress: OnProgress, stop: asyncio.Event
    ) -> TrainedModel | EvaluationResult:
        """See `Workers.run`."""
        folder = self._folder(job.id)
        await asyncio.to_thread(folder.prepare, self._order(job, spec))
        worker = await self._starter.start(folder, trains=isinstance(spec, RetrainingSpec))
        self._pids[job.id] = worker.pid
        _log.info("worker.started", job=job.id, pid=worker.pid, attempt=job.attempts)
        stopper = asyncio.create_task(self._end_when_asked(worker, stop))
        try:
            await _forward(worker, on_progress)
            status = await asyncio.shield(worker.ended)
        finally:
            stopper.cancel()
            if not worker.ended.done():  # the trainer is stopping
                # Nothing is lost but the batches since the last checkpoint.
                _signal(worker, signal.SIGKILL)
                await asyncio.shield(worker.ended)
            del self._pids[job.id]
        _log.info("worker.ended", job=job.id, pid=worker.pid, status=status)
        outcome = await asyncio.to_thread(folder.outcome)
        if outcome is not None:
            return _result(outcome)
        if stop.is_set():
            raise JobCancelled("The job was cancelled.")
        raise WorkerCrashed(_how_it_ended(status))

    def clean_up(self, job: Job) -> None:
        """See `Workers.clean_up`."""
        folder = self._folder(job.id)
        if job.state is JobState.SUCCEEDED:
            folder.keep_only(folder.weights)
        else:
            folder.keep_only(folder.log)

    def forget(self, job_id: str) -> None:
        """See `Workers.forget`."""
        self._folder(job_id).keep_only()

    def _folder(self, job_id: str) -> JobFolder:
        return JobFolder(self._options.folder / job_id)

    def _order(self, job: Job, spec: JobSpec) -> WorkOrder:
        return WorkOrder(
            kind=job.kind,
            spec=spec,
            blob_url=self._options.blob_url,
            triton=self._options.triton,
            threads=self._options.threads,
            warm_start=self._warm_start(spec),
        )

    def _warm_start(self, spec: JobSpec) -> Path | None:
        if not isinstance(spec, RetrainingSpec) or spec.warm_start is None:
            return None
        job_id = self._weights_of(spec.warm_start)
        weights = None if job_id is None else self._folder(job_id).weights
        if weights is None or not weights.exists():
            raise JobFailed(
                f"The weights of version {spec.warm_start.version} of {spec.warm_start.model} are "
                "not kept here. Train from scratch, or start from another version.",
                reason="WARM_START_UNAVAILABLE",
            )
        return weights

    async def _end_when_asked(self, worker: WorkerHandle, stop: asyncio.Event) -> None:
        """Ask a worker to end; make it, if it does not."""
        await stop.wait()
        _signal(worker, signal.SIGTERM)
        await asyncio.wait((worker.ended,), timeout=self._options.grace_s)
        _signal(worker, signal.SIGKILL)


async def _forward(worker: WorkerHandle, on_progress: OnProgress) -> None:
    """Pass on reports until the worker closes its end of the pipe."""
    async for line in worker.reports():
        if line.endswith(b"\n"):  # else it was killed while it wrote
            await on_progress(load_progress(line))


def _signal(worker: WorkerHandle, signum: signal.Signals) -> None:
    if not worker.ended.done():
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signum)


def _result(outcome: Outcome) -> TrainedModel | EvaluationResult:
    """Return the result of an outcome, or raise what it says."""
    match outcome.ending:
        case Ending.CANCELLED:
            raise JobCancelled(outcome.message)
        case Ending.UNAVAILABLE:
            raise UnavailableError(outcome.message, reason=outcome.reason)
        case Ending.FAILED:
            raise JobFailed(outcome.message, reason=outcome.reason)
    result = outcome.trained or outcome.evaluation
    if result is None:
        raise JobFailed("The worker ended without a result.")
    return result


def _how_it_ended(status: int) -> str:
    if status == -signal.SIGKILL:
        cause = "was killed; the usual cause is too little memory"
    elif status < 0:
        cause = f"was ended by {signal.Signals(-status).name}"
    else:
        cause = f"ended unexpectedly with status {status}"
    return f"The process of the job {cause}. The trainer keeps its log in the job's folder."
