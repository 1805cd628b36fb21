"""Stand-ins for the ports of a search: tests drive them, and benchmarks replay measured curves."""

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from trainer.domain.search.space import Configuration
from trainer.domain.search.trials import Epoch, Trial, TrialState, advance
from trainer.domain.specs import ModelSpec
from trainer.jobs.errors import JobCancelled
from trainer.jobs.fakes import pass_gate
from trainer.jobs.specs import SearchSpec
from trainer.searches.errors import EpochGap, TrialExists, TrialNotFound
from trainer.searches.ports import OnEpoch, TrialOutcome

__all__ = ["Curve", "FakeLatencyMeter", "FakeTrialStore", "FakeTrialWorkers"]

Curve: TypeAlias = Callable[[Configuration], Sequence[Epoch]]
"""Returns every epoch that a training of a configuration would have, from the first."""


class FakeTrialStore:
    """`TrialStore` in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._searches: defaultdict[str, dict[int, Trial]] = defaultdict(dict)

    def add(self, job_id: str, trial: Trial) -> Trial:
        """See `TrialStore.add`."""
        with self._lock:
            trials = self._searches[job_id]
            if trial.number in trials or any(
                other.configuration == trial.configuration for other in trials.values()
            ):
                raise TrialExists(f"The search has a trial {trial.number}, or one like it.")
            trials[trial.number] = trial
            return trial

    def trials(self, job_id: str) -> Sequence[Trial]:
        """See `TrialStore.trials`."""
        with self._lock:
            trials = self._searches.get(job_id, {})
            return [trials[number] for number in sorted(trials)]

    def page(self, job_id: str, size: int, after: int) -> Sequence[Trial]:
        """See `TrialStore.page`."""
        return [trial for trial in self.trials(job_id) if trial.number > after][:size]

    def record(self, job_id: str, number: int, epochs: Sequence[Epoch]) -> Trial:
        """See `TrialStore.record`."""
        return self._change(job_id, number, lambda trial: _with_epochs(trial, epochs))

    def count_attempt(self, job_id: str, number: int) -> Trial:
        """See `TrialStore.count_attempt`."""
        return self._change(
            job_id, number, lambda trial: replace(trial, attempts=trial.attempts + 1)
        )

    def count_crash(self, job_id: str, number: int) -> Trial:
        """See `TrialStore.count_crash`."""
        return self._change(job_id, number, lambda trial: replace(trial, crashes=trial.crashes + 1))

    def shrink(self, job_id: str, number: int, batch_size: int) -> Trial:
        """See `TrialStore.shrink`."""
        return self._change(
            job_id, number, lambda trial: replace(trial, trained_batch_size=batch_size, epochs=())
        )

    def measured(self, job_id: str, number: int, latency_ms: float) -> Trial:
        """See `TrialStore.measured`."""
        return self._change(job_id, number, lambda trial: replace(trial, latency_ms=latency_ms))

    def promote(self, job_id: str, number: int, target_epochs: int) -> Trial:
        """See `TrialStore.promote`."""
        return self._change(
            job_id,
            number,
            lambda trial: replace(
                trial,
                state=advance(trial.state, TrialState.ACTIVE),
                target_epochs=target_epochs,
            ),
        )

    def finish(
        self,
        job_id: str,
        number: int,
        state: TrialState,
        *,
        outcome: TrialOutcome | None = None,
        reason: str = "",
        message: str = "",
    ) -> Trial:
        """See `TrialStore.finish`."""

        def change(trial: Trial) -> Trial:
            trial = replace(
                trial, state=advance(trial.state, state), reason=reason, message=message
            )
            return trial if outcome is None else _with_outcome(trial, outcome)

        return self._change(job_id, number, change)

    def _change(self, job_id: str, number: int, change: Callable[[Trial], Trial]) -> Trial:
        with self._lock:
            trials = self._searches.get(job_id, {})
            if number not in trials:
                raise TrialNotFound(f"The search has no trial {number}.")
            trials[number] = change(trials[number])
            return trials[number]


def _with_epochs(trial: Trial, epochs: Sequence[Epoch]) -> Trial:
    known = trial.epochs
    for epoch in epochs:
        if epoch.number > len(known) + 1:
            raise EpochGap(f"Epoch {epoch.number} does not follow epoch {len(known)}.")
        if epoch.number == len(known) + 1:
            known = (*known, epoch)
    return replace(trial, epochs=known)


def _with_outcome(trial: Trial, outcome: TrialOutcome) -> Trial:
    return replace(
        _with_epochs(trial, outcome.epochs),
        memory_mib=max(outcome.memory_mib, trial.memory_mib or 0.0),
        test_iou=trial.test_iou if outcome.test_iou is None else outcome.test_iou,
        test_dice=trial.test_dice if outcome.test_dice is None else outcome.test_dice,
    )


@dataclass(frozen=True, slots=True)
class _Fault:
    error: Exception
    after_epochs: int


class FakeTrialWorkers:
    """`TrialWorkers` that read their epochs from curves and take no time.

    Checkpoints are kept after every epoch, as by real processes, also over runners.

    Args:
        curve: What a training of a configuration would show.
        memory_mib: Peak memory of a training.
        test: IoU and Dice on the test frames, where there are any.

    Attributes:
        gate: Trainings wait here before every epoch; open by default.
        history: (trial, epoch) in the order in which they were trained: the cost of a search.
        running: Numbers of the trials under way.
        most_running: Largest number of them so far.
        forgotten: Numbers of the trials whose checkpoints were removed.
        forgotten_searches: Searches whose files were removed.
    """

    def __init__(
        self,
        curve: Curve,
        *,
        memory_mib: Callable[[Configuration], float] = lambda configuration: 100.0,
        test: Callable[[Configuration], tuple[float, float]] | None = None,
    ) -> None:
        self._curve = curve
        self._memory_mib = memory_mib
        self._test = test
        self._faults: defaultdict[int, deque[_Fault]] = defaultdict(deque)
        self._checkpoints: dict[tuple[str, int], int] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.history: list[tuple[int, Epoch]] = []
        self.running: set[int] = set()
        self.most_running = 0
        self.forgotten: list[int] = []
        self.forgotten_searches: list[str] = []

    def fail(self, number: int, errors: Iterable[Exception], *, after_epochs: int = 0) -> None:
        """Let the next starts of a trial end with these errors, one each.

        Args:
            number: The trial.
            errors: In order.
            after_epochs: New epochs that each start trains before.
        """
        self._faults[number].extend(_Fault(error, after_epochs) for error in errors)

    async def train(
        self,
        job_id: str,
        spec: SearchSpec,
        trial: Trial,
        on_epoch: OnEpoch,
        stop: asyncio.Event,
    ) -> TrialOutcome:
        """See `TrialWorkers.train`."""
        if trial.number in self.running:
            raise AssertionError(f"trial {trial.number} is trained twice at the same time")
        self.running.add(trial.number)
        self.most_running = max(self.most_running, len(self.running))
        try:
            return await self._train(job_id, spec, trial, on_epoch, stop)
        finally:
            self.running.discard(trial.number)

    async def _train(
        self,
        job_id: str,
        spec: SearchSpec,
        trial: Trial,
        on_epoch: OnEpoch,
        stop: asyncio.Event,
    ) -> TrialOutcome:
        configuration = replace(trial.configuration, batch_size=trial.trained_batch_size)
        epochs = tuple(self._curve(configuration)[: trial.target_epochs])
        faults = self._faults[trial.number]
        fault = faults.popleft() if faults else None
        done = self._checkpoints.get((job_id, trial.number), 0)
        for epoch in epochs[:done]:
            await on_epoch(epoch)
        for trained, epoch in enumerate(epochs[done:]):
            if fault is not None and trained == fault.after_epochs:
                raise fault.error
            await pass_gate(self.gate, stop)
            self.history.append((trial.number, epoch))
            self._checkpoints[job_id, trial.number] = epoch.number
            await on_epoch(epoch)
        if fault is not None:
            raise fault.error
        at_end = trial.target_epochs == spec.plan.epochs and spec.test_frames
        test_iou, test_dice = self._test(configuration) if at_end and self._test else (None, None)
        return TrialOutcome(epochs, self._memory_mib(configuration), test_iou, test_dice)

    def forget_trial(self, job_id: str, number: int) -> None:
        """See `TrialWorkers.forget_trial`."""
        self._checkpoints.pop((job_id, number), None)
        self.forgotten.append(number)

    def forget_search(self, job_id: str) -> None:
        """See `TrialWorkers.forget_search`."""
        self.forgotten_searches.append(job_id)


class FakeLatencyMeter:
    """`LatencyMeter` that reads latencies from a function.

    Args:
        latency_ms: Of a network.

    Attributes:
        measured: Networks in the order in which they were measured.
        failures: Raised by the next measurements, one each.
    """

    def __init__(self, latency_ms: Callable[[ModelSpec], float] = lambda network: 10.0) -> None:
        self._latency_ms = latency_ms
        self.measured: list[ModelSpec] = []
        self.failures: deque[Exception] = deque()

    async def measure(self, network: ModelSpec, image_size: int, stop: asyncio.Event) -> float:
        """See `LatencyMeter.measure`."""
        if stop.is_set():
            raise JobCancelled("The search was cancelled.")
        self.measured.append(network)
        if self.failures:
            raise self.failures.popleft()
        return self._latency_ms(network)
