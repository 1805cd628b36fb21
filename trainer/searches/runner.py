"""Runs a search from its first proposal to its winners, whatever crashes on the way."""

import asyncio
from dataclasses import dataclass

import structlog

from services.platform.errors import InternalError, UnavailableError
from trainer.domain.search.ranking import find_winners, pareto_front
from trainer.domain.search.scheduling import Promote, Propose, next_step
from trainer.domain.search.trials import Trial, TrialState, total_epochs
from trainer.jobs.errors import JobCancelled, JobFailed
from trainer.jobs.ports import OnProgress
from trainer.jobs.results import SearchResult
from trainer.jobs.specs import SearchSpec
from trainer.searches.errors import SearchFailed
from trainer.searches.latencies import Latencies
from trainer.searches.ledger import TrialLedger
from trainer.searches.patience import Patience
from trainer.searches.ports import (
    LatencyMeter,
    Sampler,
    TrialObserver,
    TrialStore,
    TrialWorkers,
)
from trainer.searches.progress import progress_of
from trainer.searches.trial_driver import TrialDriver
from trainer.searches.verdicts import hopeless, nothing_found

__all__ = ["SearchRunner"]

_log = structlog.get_logger(__name__)


class SearchRunner:
    """`trainer.jobs.ports.Searches` over a store of trials.

    The store is the only state: what comes next follows from the plan and the trials, so a search
    that was interrupted anywhere goes on as if nothing had happened. For use from one event loop.

    Args:
        store: Keeps the trials.
        sampler: Proposes configurations.
        workers: Trains trials.
        latency: Measures networks in Triton.
        slots: Worker processes at once, shared with the trainer's other jobs.
        parallel: Trials at once of a plan that does not say how many: the number of slots.
        patience: When a trial or a search is given up.
        observer: Told about every change of a trial.
    """

    def __init__(
        self,
        store: TrialStore,
        sampler: Sampler,
        workers: TrialWorkers,
        latency: LatencyMeter,
        *,
        slots: asyncio.Semaphore,
        parallel: int,
        patience: Patience | None = None,
        observer: TrialObserver | None = None,
    ) -> None:
        self._parts = _Parts(
            store, sampler, workers, latency, slots, parallel, patience or Patience(), observer
        )

    async def run(
        self, job_id: str, spec: SearchSpec, stop: asyncio.Event, report: OnProgress
    ) -> SearchResult:
        """See `Searches.run`."""
        return await _Search(self._parts, job_id, spec, stop=stop, report=report).run()

    def forget(self, job_id: str) -> None:
        """See `Searches.forget`."""
        self._parts.workers.forget_search(job_id)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What all searches share; see `SearchRunner`."""

    store: TrialStore
    sampler: Sampler
    workers: TrialWorkers
    latency: LatencyMeter
    slots: asyncio.Semaphore
    parallel: int
    patience: Patience
    observer: TrialObserver | None


class _Search:
    """One run of one search."""

    def __init__(
        self,
        parts: _Parts,
        job_id: str,
        spec: SearchSpec,
        *,
        stop: asyncio.Event,
        report: OnProgress,
    ) -> None:
        self._parts = parts
        self._job_id = job_id
        self._plan = spec.plan
        self._stop = stop
        self._report = report
        self._parallel = spec.plan.parallel or parts.parallel
        self._earlier: tuple[Trial, ...] = ()
        # Set by `stop`, and as well when the search is given up while trials are under way.
        self._end = asyncio.Event()
        self._ledger = TrialLedger(parts.store, job_id, parts.observer)
        self._latencies = Latencies(
            self._ledger, parts.latency, parts.slots, spec.plan.space.image_size, self._end
        )
        self._driver = TrialDriver(
            job_id,
            spec,
            self._ledger,
            parts.workers,
            self._latencies,
            slots=parts.slots,
            patience=parts.patience,
            stop=self._end,
            changed=self._tell,
        )
        self._running: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> SearchResult:
        await self._ledger.load()
        if self._plan.warm_start:
            earlier = await asyncio.to_thread(self._parts.store.trials, self._plan.warm_start)
            self._earlier = tuple(earlier)
        stopping = asyncio.create_task(self._follow_stop())
        try:
            failure = await self._train_all()
            if self._stop.is_set():
                await self._cancel("The search was cancelled.")
                raise JobCancelled("The search was cancelled.")
            if failure is not None:
                await self._cancel("The search failed.")
                raise failure
            return await self._conclude()
        finally:
            tasks = [stopping, *self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_stop(self) -> None:
        await self._stop.wait()
        self._end.set()

    async def _train_all(self) -> SearchFailed | None:
        """Run trials until none is left to run; return why, if the search was given up."""
        failure = None
        while True:
            if failure is None:
                failure = hopeless(
                    self._plan, self._ledger.trials, self._parts.patience.same_failures
                )
            if failure is not None or self._stop.is_set():
                self._end.set()
            if not self._end.is_set():
                await self._start_trials()
            await self._tell()
            if not self._running:
                return failure
            done, _ = await asyncio.wait(
                self._running.values(), return_when=asyncio.FIRST_COMPLETED
            )
            self._running = {
                number: task for number, task in self._running.items() if task not in done
            }
            for task in done:
                task.result()

    async def _start_trials(self) -> None:
        """Carry on with ACTIVE trials, then start what the scheduler says, while there is room."""
        for trial in self._ledger.in_state(TrialState.ACTIVE):
            if trial.number not in self._running:
                self._start(trial)
        while len(self._running) < self._parallel and not self._end.is_set():
            match next_step(self._plan, self._ledger.trials):
                case Promote(number, target_epochs):
                    self._start(await self._ledger.promote(number, target_epochs))
                case Propose(bracket, target_epochs):
                    self._start(await self._propose(bracket, target_epochs))
                case _:
                    return

    def _start(self, trial: Trial) -> None:
        self._running[trial.number] = asyncio.create_task(
            self._driver.drive(trial), name=f"search {self._job_id} trial {trial.number}"
        )

    async def _propose(self, bracket: int, target_epochs: int) -> Trial:
        trials = self._ledger.trials
        configuration = await asyncio.to_thread(
            self._parts.sampler.propose, self._plan, trials, self._earlier
        )
        if configuration is None:
            raise InternalError("The sampler found nothing to try in a space that has more.")
        _log.info("trial.proposed", job=self._job_id, trial=len(trials), what=configuration)
        return await self._ledger.add(
            Trial(
                number=len(trials),
                configuration=configuration,
                state=TrialState.ACTIVE,
                target_epochs=target_epochs,
                bracket=bracket,
                trained_batch_size=configuration.batch_size,
            )
        )

    async def _cancel(self, message: str) -> None:
        for trial in self._ledger.in_state(TrialState.ACTIVE, TrialState.PAUSED):
            await self._ledger.finish(trial.number, TrialState.CANCELLED, message=message)

    async def _conclude(self) -> SearchResult:
        for trial in self._ledger.in_state(TrialState.PAUSED):
            await self._ledger.finish(
                trial.number,
                TrialState.PRUNED,
                reason="OUTPERFORMED",
                message=f"Others had a higher IoU after {trial.target_epochs} epochs.",
            )
            await self._driver.forget(trial)
        await self._measure_latencies()
        trials = self._ledger.trials
        winners = find_winners(trials, self._plan.objective)
        if winners is None:
            raise nothing_found(self._plan, trials)
        return SearchResult(
            most_accurate=winners.most_accurate,
            fastest=winners.fastest,
            pareto_front=pareto_front(trials, self._plan.objective),
            complete=len(self._ledger.in_state(TrialState.COMPLETE)),
            pruned=len(self._ledger.in_state(TrialState.PRUNED)),
            failed=len(self._ledger.in_state(TrialState.FAILED)),
            epochs=total_epochs(trials),
            seconds=sum(trial.seconds for trial in trials),
            image_size=self._plan.space.image_size,
            encoder_weights=self._plan.encoder_weights,
        )

    async def _measure_latencies(self) -> None:
        """Measure the networks that were trained to the end; one that cannot be stays unknown."""
        unknown = [
            trial
            for trial in self._ledger.in_state(TrialState.COMPLETE)
            if trial.latency_ms is None
        ]
        if not unknown:
            return
        await self._tell("measuring latency")
        for trial in unknown:
            try:
                await self._latencies.know(trial)
            except UnavailableError as error:
                # Triton is down, and would be for the next one: what a search is for is found.
                _log.warning("search.latency_unknown", job=self._job_id, reason=error.reason)
                return
            except JobFailed as error:
                _log.warning(
                    "search.latency_unknown",
                    job=self._job_id,
                    trial=trial.number,
                    reason=error.reason,
                )

    async def _tell(self, stage: str = "searching") -> None:
        wait = next(iter(self._driver.waits.values()), None)
        if wait is not None:
            stage = f"{stage}, waiting ({wait})"
        await self._report(progress_of(self._plan, self._ledger.trials, self._parallel, stage))
