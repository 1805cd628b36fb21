"""Starts workers and follows each until it has ended."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from services.platform.errors import EchoLoopError, UnavailableError
from trainer.adapters.job_folder import DISK_FULL_STATUS, Ending, JobFolder, Outcome
from trainer.adapters.worker_start import Reservation, Starter, WorkerHandle
from trainer.domain.errors import DiskFull
from trainer.jobs.errors import JobCancelled, JobFailed, WorkerCrashed

__all__ = ["WorkerPool", "succeeded"]

_NOTHING_SPECIAL: Final = Reservation()
_DISK_FULL: Final = "The disk of the trainer's artifacts is full. Make room, then start again."

_log = structlog.get_logger(__name__)


class WorkerPool:
    """Worker processes, each on a folder of its own.

    Call `run` from the main thread's event loop: the kernel binds a worker's life to the thread
    that started it.

    Args:
        starter: Starts the processes.
        grace_s: How long a worker may take to end when it is asked to.
    """

    def __init__(self, starter: Starter, grace_s: float) -> None:
        self._starter = starter
        self._grace_s = grace_s
        self._workers: dict[str, WorkerHandle] = {}

    def pid(self, name: str) -> int | None:
        """Return the process id of a worker, None while it has none."""
        worker = self._workers.get(name)
        return None if worker is None else worker.pid

    async def run(
        self,
        name: str,
        folder: JobFolder,
        on_report: Callable[[bytes], Awaitable[None]],
        stop: asyncio.Event,
        *,
        trains: bool,
        reservation: Reservation = _NOTHING_SPECIAL,
    ) -> Outcome:
        """Run a worker on a prepared folder and return what it says when it ends.

        If the call is cancelled, the process is ended.

        Args:
            name: Of the work; no two run at once under one name.
            folder: Holds the order.
            on_report: Called in order with every line that the worker reports.
            stop: Once set, the worker is asked to end.
            trains: Whether it needs the training libraries.
            reservation: What it needs for itself, where work is placed.

        Raises:
            JobCancelled: It ended without an outcome after `stop` was set.
            WorkerCrashed: It ended without an outcome.
            UnavailableError: It could not be started, or the machine that it ran on went away.
        """
        worker = await self._starter.start(folder, trains=trains, reservation=reservation)
        self._workers[name] = worker
        _log.info("worker.started", work=name, pid=worker.pid)
        stopper = asyncio.create_task(self._end_when_asked(worker, stop))
        try:
            async for line in worker.reports():
                if line.endswith(b"\n"):  # else it was killed while it wrote
                    await on_report(line)
            status = await asyncio.shield(worker.ended)
        finally:
            stopper.cancel()
            if not worker.ended.done():  # the trainer is stopping
                # Nothing is lost but the batches since the last checkpoint.
                worker.kill()
                with suppress(EchoLoopError):
                    await asyncio.shield(worker.ended)
            del self._workers[name]
        _log.info("worker.ended", work=name, pid=worker.pid, status=status)
        outcome = await asyncio.to_thread(folder.outcome)
        if outcome is not None:
            return outcome
        if stop.is_set():
            raise JobCancelled("The job was cancelled.")
        if status == DISK_FULL_STATUS:
            return Outcome(Ending.FAILED, reason=DiskFull.reason, message=_DISK_FULL)
        raise WorkerCrashed(_how_it_ended(status))

    async def _end_when_asked(self, worker: WorkerHandle, stop: asyncio.Event) -> None:
        """Ask a worker to end; make it, if it does not."""
        await stop.wait()
        worker.terminate()
        await asyncio.wait((worker.ended,), timeout=self._grace_s)
        worker.kill()


def succeeded(outcome: Outcome) -> Outcome:
    """Return an outcome that SUCCEEDED, or raise what it says.

    Raises:
        JobFailed: It FAILED.
        UnavailableError: Something that the work needs was down.
        JobCancelled: The worker was asked to end.
    """
    match outcome.ending:
        case Ending.CANCELLED:
            raise JobCancelled(outcome.message)
        case Ending.UNAVAILABLE:
            raise UnavailableError(outcome.message, reason=outcome.reason)
        case Ending.FAILED:
            raise JobFailed(outcome.message, reason=outcome.reason)
    return outcome


def _how_it_ended(status: int) -> str:
    if status == -signal.SIGKILL:
        cause = "was killed; the usual cause is too little memory"
    elif status < 0:
        cause = f"was ended by {signal.Signals(-status).name}"
    else:
        cause = f"ended unexpectedly with status {status}"
    return f"The process of the job {cause}. The trainer keeps its log in the job's folder."
