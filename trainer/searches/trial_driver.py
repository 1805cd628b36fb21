"""Brings one trial to its next rung, whatever happens to its process."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.platform.errors import EchoLoopError, UnavailableError
from trainer.domain.search.ranking import within_limits
from trainer.domain.search.trials import Epoch, Trial, TrialState
from trainer.domain.specs import SMALLEST_BATCH
from trainer.jobs.errors import JobCancelled, JobFailed, WorkerCrashed
from trainer.jobs.specs import SearchSpec
from trainer.searches.latencies import Latencies
from trainer.searches.ledger import TrialLedger
from trainer.searches.patience import Patience
from trainer.searches.ports import TrialOutcome, TrialWorkers

__all__ = ["TrialDriver"]

_log = structlog.get_logger(__name__)


class TrialDriver:
    """Trains trials of one search, as many at once as there are slots.

    Args:
        job_id: The search.
        spec: Its plan and frames.
        ledger: Its trials.
        workers: Trains.
        latencies: Knows what networks cost.
        slots: One is held while a process runs, and none while waiting for a repetition.
        patience: When a trial is given up.
        stop: Once set, no trial is begun.
        changed: Called after every epoch and every wait.
    """

    def __init__(
        self,
        job_id: str,
        spec: SearchSpec,
        ledger: TrialLedger,
        workers: TrialWorkers,
        latencies: Latencies,
        *,
        slots: asyncio.Semaphore,
        patience: Patience,
        stop: asyncio.Event,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._job_id = job_id
        self._spec = spec
        self._ledger = ledger
        self._workers = workers
        self._latencies = latencies
        self._slots = slots
        self._patience = patience
        self._stop = stop
        self._changed = changed
        self._failures = {
            "OUT_OF_MEMORY": self._halve_batch,
            "NON_FINITE_LOSS": self._prune,
            "DISK_FULL": self._wait_for_space,
        }
        self.waits: dict[int, str] = {}
        """What trials wait for, by number."""
        self._in_a_row: dict[int, int] = {}

    async def drive(self, trial: Trial) -> None:
        """Carry on with an ACTIVE trial until it is no longer; it stays ACTIVE once `stop` is set.

        Errors of its process end at most the trial; those of the store, and defects, are raised.
        """
        try:
            while self._ledger[trial.number].state is TrialState.ACTIVE:
                await self._attempt(trial.number)
        except JobCancelled:
            return
        finally:
            self.waits.pop(trial.number, None)
            self._in_a_row.pop(trial.number, None)
        ended = self._ledger[trial.number]
        _log.info(
            "trial.moved",
            job=self._job_id,
            trial=ended.number,
            state=ended.state,
            epochs=len(ended.epochs),
            iou=ended.iou,
            reason=ended.reason,
        )
        if ended.ended:
            await self.forget(ended)

    async def forget(self, trial: Trial) -> None:
        """Remove what only a trial that goes on would need."""
        await asyncio.to_thread(self._workers.forget_trial, self._job_id, trial.number)

    async def _attempt(self, number: int) -> None:
        try:
            if not await self._is_fast_enough(number):
                return
            async with self._slots:
                if self._stop.is_set():
                    raise JobCancelled("The search was cancelled.")
                trial = await self._ledger.count_attempt(number)
                outcome = await self._workers.train(
                    self._job_id, self._spec, trial, self._recorder(number), self._stop
                )
        except WorkerCrashed as crash:
            await self._after_crash(number, crash)
        except JobFailed as failure:
            await self._failures.get(failure.reason, self._fail)(number, failure)
        except UnavailableError as refusal:
            await self._wait(number, refusal)
        else:
            await self._settle(number, outcome)

    async def _is_fast_enough(self, number: int) -> bool:
        objective = self._spec.plan.objective
        if not objective.needs_latency:
            return True
        try:
            trial = await self._latencies.know(self._ledger[number])
        except JobFailed as failure:
            await self._fail(number, failure)
            return False
        if within_limits(trial, objective):
            return True
        await self._ledger.finish(
            number,
            TrialState.PRUNED,
            reason="TOO_SLOW",
            message=f"The network takes {trial.latency_ms:.1f} ms a frame in Triton; allowed are "
            f"{objective.max_latency_ms:g}.",
        )
        return False

    async def _settle(self, number: int, outcome: TrialOutcome) -> None:
        plan = self._spec.plan
        trial = self._ledger[number]
        at_end = trial.target_epochs >= plan.epochs
        limit = plan.objective.max_memory_mib
        if not at_end and limit is not None and outcome.memory_mib > limit:
            await self._ledger.finish(
                number,
                TrialState.PRUNED,
                outcome=outcome,
                reason="TOO_LARGE",
                message=f"Its training took {outcome.memory_mib:.0f} MiB; allowed are {limit:g}.",
            )
            return
        state = TrialState.COMPLETE if at_end else TrialState.PAUSED
        await self._ledger.finish(number, state, outcome=outcome)

    def _recorder(self, number: int) -> Callable[[Epoch], Awaitable[None]]:
        async def record(epoch: Epoch) -> None:
            if epoch.number <= len(self._ledger[number].epochs):
                return  # of an earlier process
            self.waits.pop(number, None)
            self._in_a_row.pop(number, None)
            await self._ledger.record(number, [epoch])
            await self._changed()

        return record

    async def _after_crash(self, number: int, crash: WorkerCrashed) -> None:
        trial = await self._ledger.count_crash(number)
        _log.warning("trial.crashed", job=self._job_id, trial=number, crashes=trial.crashes)
        if trial.crashes < self._patience.max_crashes:
            await self._pause(trial.crashes)
            return
        await self._ledger.finish(
            number,
            TrialState.FAILED,
            reason="CRASHED",
            message=f"Its process died {trial.crashes} times. The last time: {crash.message}",
        )

    async def _halve_batch(self, number: int, failure: EchoLoopError) -> None:
        trial = self._ledger[number]
        if trial.trained_batch_size <= SMALLEST_BATCH:
            await self._ledger.finish(
                number,
                TrialState.FAILED,
                reason="BATCH_NEVER_FITS",
                message=f"Not even a batch of {trial.trained_batch_size} fits into memory. "
                "Allow more memory, or leave this network out.",
            )
            return
        smaller = max(SMALLEST_BATCH, trial.trained_batch_size // 2)
        _log.warning("trial.shrunk", job=self._job_id, trial=number, batch_size=smaller)
        # First the checkpoint: one of the larger batch must not be carried on with the smaller.
        await self.forget(trial)
        await self._ledger.shrink(number, smaller)

    async def _prune(self, number: int, failure: EchoLoopError) -> None:
        await self._ledger.finish(
            number, TrialState.PRUNED, reason=failure.reason, message=failure.message
        )

    async def _fail(self, number: int, failure: EchoLoopError) -> None:
        await self._ledger.finish(
            number, TrialState.FAILED, reason=failure.reason, message=failure.message
        )

    async def _wait_for_space(self, number: int, failure: EchoLoopError) -> None:
        if self._in_a_row.get(number, 0) + 1 >= self._patience.max_full_disks:
            await self._fail(number, failure)
        else:
            await self._wait(number, failure)

    async def _wait(self, number: int, refusal: EchoLoopError) -> None:
        failures = self._in_a_row[number] = self._in_a_row.get(number, 0) + 1
        self.waits[number] = refusal.message
        _log.warning("trial.waits", job=self._job_id, trial=number, reason=refusal.reason)
        await self._changed()
        await self._pause(failures)

    async def _pause(self, failures: int) -> None:
        try:
            async with asyncio.timeout(self._patience.backoff.delay_s(failures)):
                await self._stop.wait()
        except TimeoutError:
            return
        raise JobCancelled("The search was cancelled.")
