"""Runs the work of jobs in processes of their own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.adapters.job_folder import Ending, JobFolder, Outcome, WorkOrder
from trainer.adapters.job_json import load_progress
from trainer.adapters.worker_pool import WorkerPool, succeeded
from trainer.adapters.worker_start import Starter
from trainer.jobs.errors import JobFailed
from trainer.jobs.job import Job, JobState
from trainer.jobs.ports import OnProgress
from trainer.jobs.results import EvaluationResult, TrainedModel
from trainer.jobs.specs import ModelVersion, RetrainingSpec, WorkSpec

__all__ = ["WorkerOptions", "WorkerProcesses"]


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
    """`trainer.jobs.ports.Workers` with one process a job; call `run` as `WorkerPool.run`.

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
        self._pool = WorkerPool(starter, options.grace_s)
        self._weights_of = weights_of

    def pid(self, job_id: str) -> int | None:
        """Return the process id of a job's worker, None while it has none."""
        return self._pool.pid(job_id)

    def outcome(self, job: Job) -> TrainedModel | EvaluationResult | None:
        """See `Workers.outcome`."""
        outcome = self._folder(job.id).outcome()
        if outcome is None or outcome.ending in (Ending.UNAVAILABLE, Ending.CANCELLED):
            return None
        return _result(outcome)

    async def run(
        self, job: Job, spec: WorkSpec, on_progress: OnProgress, stop: asyncio.Event
    ) -> TrainedModel | EvaluationResult:
        """See `Workers.run`."""

        async def on_report(line: bytes) -> None:
            await on_progress(load_progress(line))

        folder = self._folder(job.id)
        await asyncio.to_thread(folder.prepare, self._order(job, spec))
        trains = isinstance(spec, RetrainingSpec)
        return _result(await self._pool.run(job.id, folder, on_report, stop, trains=trains))

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

    def _order(self, job: Job, spec: WorkSpec) -> WorkOrder:
        return WorkOrder(
            kind=job.kind,
            spec=spec,
            blob_url=self._options.blob_url,
            triton=self._options.triton,
            threads=self._options.threads,
            warm_start=self._warm_start(spec),
        )

    def _warm_start(self, spec: WorkSpec) -> Path | None:
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


def _result(outcome: Outcome) -> TrainedModel | EvaluationResult:
    """Return the result of an outcome, or raise what it says."""
    result = succeeded(outcome).trained or outcome.evaluation
    if result is None:
        raise JobFailed("The worker ended without a result.")
    return result
