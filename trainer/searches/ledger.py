"""The trials of one running search: the store's, with the last snapshot of each at hand."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Concatenate, ParamSpec

from trainer.domain.search.trials import Epoch, Trial, TrialState
from trainer.searches.ports import TrialObserver, TrialOutcome, TrialStore

__all__ = ["TrialLedger"]

P = ParamSpec("P")


class TrialLedger:
    """Reads trials once and then follows its own changes: a search has one runner.

    Store calls run in threads, so that a slow disk stops no other trial. For use from one event
    loop.

    Args:
        store: Where the trials are kept.
        job_id: The search.
        observer: Told about every change.
    """

    def __init__(
        self, store: TrialStore, job_id: str, observer: TrialObserver | None = None
    ) -> None:
        self._store = store
        self._job_id = job_id
        self._observer = observer
        self._trials: dict[int, Trial] = {}

    async def load(self) -> None:
        """Read what an earlier run left."""
        trials = await asyncio.to_thread(self._store.trials, self._job_id)
        self._trials = {trial.number: trial for trial in trials}

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, by number."""
        return tuple(self._trials.values())

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    def in_state(self, *states: TrialState) -> list[Trial]:
        """Return the trials in one of these states, by number."""
        return [trial for trial in self._trials.values() if trial.state in states]

    async def add(self, trial: Trial) -> Trial:
        """See `TrialStore.add`."""
        return await self._keep(self._store.add, trial)

    async def record(self, number: int, epochs: Iterable[Epoch]) -> Trial:
        """See `TrialStore.record`."""
        return await self._keep(self._store.record, number, tuple(epochs))

    async def count_attempt(self, number: int) -> Trial:
        """See `TrialStore.count_attempt`."""
        return await self._keep(self._store.count_attempt, number)

    async def count_crash(self, number: int) -> Trial:
        """See `TrialStore.count_crash`."""
        return await self._keep(self._store.count_crash, number)

    async def shrink(self, number: int, batch_size: int) -> Trial:
        """See `TrialStore.shrink`."""
        return await self._keep(self._store.shrink, number, batch_size)

    async def measured(self, number: int, latency_ms: float) -> Trial:
        """See `TrialStore.measured`."""
        return await self._keep(self._store.measured, number, latency_ms)

    async def promote(self, number: int, target_epochs: int) -> Trial:
        """See `TrialStore.promote`."""
        return await self._keep(self._store.promote, number, target_epochs)

    async def finish(
        self,
        number: int,
        state: TrialState,
        *,
        outcome: TrialOutcome | None = None,
        reason: str = "",
        message: str = "",
    ) -> Trial:
        """See `TrialStore.finish`."""
        return await self._keep(
            self._store.finish, number, state, outcome=outcome, reason=reason, message=message
        )

    async def _keep(
        self, change: Callable[Concatenate[str, P], Trial], *args: P.args, **kwargs: P.kwargs
    ) -> Trial:
        trial = await asyncio.to_thread(change, self._job_id, *args, **kwargs)
        before = self._trials.get(trial.number)
        self._trials[trial.number] = trial
        if self._observer is not None:
            self._observer.trial_changed(before, trial)
        return trial
