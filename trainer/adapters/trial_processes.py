"""Runs trials in processes of their own."""

import asyncio
import shutil

from trainer.adapters.exhaustion import is_disk_full
from trainer.adapters.job_folder import JobFolder, TrialOrder
from trainer.adapters.job_json import load_epoch
from trainer.adapters.worker_pool import WorkerPool, succeeded
from trainer.adapters.worker_process import WorkerOptions
from trainer.adapters.worker_start import Reservation, Starter
from trainer.domain.errors import DiskFull
from trainer.domain.search.plan import TrialLimits
from trainer.domain.search.trials import Trial
from trainer.jobs.errors import JobFailed
from trainer.jobs.specs import SearchSpec
from trainer.searches.ports import OnEpoch, TrialOutcome

__all__ = ["TrialProcesses"]


class TrialProcesses:
    """`trainer.searches.ports.TrialWorkers` with one process a trial.

    Call `train` as `WorkerPool.run`.

    Args:
        options: What every worker is told.
        starter: Starts the processes, here or on a cluster.
    """

    def __init__(self, options: WorkerOptions, starter: Starter) -> None:
        self._options = options
        self._pool = WorkerPool(starter, options.grace_s)

    def pid(self, job_id: str, number: int) -> int | None:
        """Return the process id of a trial's worker, None while it has none."""
        return self._pool.pid(_name(job_id, number))

    async def train(
        self,
        job_id: str,
        spec: SearchSpec,
        trial: Trial,
        on_epoch: OnEpoch,
        stop: asyncio.Event,
    ) -> TrialOutcome:
        """See `TrialWorkers.train`."""

        async def on_report(line: bytes) -> None:
            await on_epoch(load_epoch(line))

        folder = self._trial(job_id, trial.number)
        order = TrialOrder(
            search=spec,
            trial=trial,
            blob_url=self._options.blob_url,
            frames=self._search(job_id).frames,
            threads=self._threads(spec.plan.limits),
        )
        await asyncio.to_thread(_prepare, folder, order)
        outcome = await self._pool.run(
            _name(job_id, trial.number),
            folder,
            on_report,
            stop,
            trains=True,
            reservation=_reservation(spec.plan.limits),
        )
        trained = succeeded(outcome).trial
        if trained is None:
            raise JobFailed("The worker ended without a result.")
        return trained

    def forget_trial(self, job_id: str, number: int) -> None:
        """See `TrialWorkers.forget_trial`; the log stays."""
        folder = self._trial(job_id, number)
        folder.keep_only(folder.log)

    def forget_search(self, job_id: str) -> None:
        """See `TrialWorkers.forget_search`; the logs stay."""
        folder = self._search(job_id)
        shutil.rmtree(folder.frames, ignore_errors=True)
        trials = folder.path / "trials"
        if trials.is_dir():
            for entry in trials.iterdir():
                self.forget_trial(job_id, int(entry.name))

    def _threads(self, limits: TrialLimits) -> int:
        return self._options.threads if limits.cpus is None else max(1, int(limits.cpus))

    def _search(self, job_id: str) -> JobFolder:
        return JobFolder(self._options.folder / job_id)

    def _trial(self, job_id: str, number: int) -> JobFolder:
        return JobFolder(self._options.folder / job_id / "trials" / str(number))


def _name(job_id: str, number: int) -> str:
    return f"{job_id}/{number}"


def _prepare(folder: JobFolder, order: TrialOrder) -> None:
    try:
        folder.prepare(order)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise JobFailed(
            "The disk of the trainer's artifacts is full. Make room for the search.",
            reason=DiskFull.reason,
        ) from error


def _reservation(limits: TrialLimits) -> Reservation:
    return Reservation(limits.cpus, limits.gpus, limits.memory_mib)
