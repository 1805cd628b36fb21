"""What a search needs from the outside."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from trainer.domain.search.plan import SearchPlan
from trainer.domain.search.space import Configuration
from trainer.domain.search.trials import Epoch, Trial, TrialState
from trainer.domain.specs import ModelSpec
from trainer.jobs.specs import SearchSpec

__all__ = [
    "LatencyMeter",
    "OnEpoch",
    "Sampler",
    "TrialObserver",
    "TrialOutcome",
    "TrialStore",
    "TrialWorkers",
]

OnEpoch: TypeAlias = Callable[[Epoch], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """What a trial left behind when it reached its target epochs.

    Attributes:
        epochs: All of them, from the first.
        memory_mib: Peak memory of its process, or of the accelerator where it has one.
        test_iou: Mean IoU on the test frames, when the last epoch of the plan was reached.
        test_dice: Mean Dice on them.
    """

    epochs: tuple[Epoch, ...]
    memory_mib: float
    test_iou: float | None = None
    test_dice: float | None = None


class TrialStore(Protocol):
    """Keeps the trials of searches durably.

    Thread-safe; each method is one transaction; a move is a compare-and-set. Methods raise
    `TrialNotFound` for an unknown trial.
    """

    def add(self, job_id: str, trial: Trial) -> Trial:
        """Store a new trial.

        Raises:
            TrialExists: The search has a trial of that number, or one of that configuration.
        """

    def trials(self, job_id: str) -> Sequence[Trial]:
        """Read all trials of a search, by number."""

    def page(self, job_id: str, size: int, after: int) -> Sequence[Trial]:
        """Read trials whose number is greater than `after`, by number, at most `size`."""

    def record(self, job_id: str, number: int, epochs: Sequence[Epoch]) -> Trial:
        """Store epochs; those that are stored already stay as they are, a gap is refused."""

    def count_attempt(self, job_id: str, number: int) -> Trial:
        """Note that a process of the trial is about to start."""

    def count_crash(self, job_id: str, number: int) -> Trial:
        """Note that a process of the trial ended without saying why."""

    def shrink(self, job_id: str, number: int, batch_size: int) -> Trial:
        """Note a smaller batch size; the epochs of the larger one are dropped."""

    def measured(self, job_id: str, number: int, latency_ms: float) -> Trial:
        """Note the latency of the trial's network."""

    def promote(self, job_id: str, number: int, target_epochs: int) -> Trial:
        """Move PAUSED to ACTIVE, with more epochs to reach.

        Raises:
            IllegalTrialTransition: It is not PAUSED.
        """

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
        """Move an ACTIVE or PAUSED trial to where it ends or waits.

        Raises:
            IllegalTrialTransition: The move is not in the table.
        """


class TrialObserver(Protocol):
    """Told about what happens to trials, for metrics. Must not block."""

    def trial_changed(self, before: Trial | None, after: Trial) -> None:
        """A trial was proposed (`before` is None) or changed."""


class Sampler(Protocol):
    """Proposes configurations."""

    def propose(
        self, plan: SearchPlan, trials: Sequence[Trial], earlier: Sequence[Trial]
    ) -> Configuration | None:
        """Return a configuration of the plan's space that no trial has yet.

        A pure function of its arguments: a search that is continued proposes what it would have.

        Args:
            plan: Space, seed and objective.
            trials: Of this search, by number.
            earlier: Of the search that this one builds on; may hold other configurations.

        Returns:
            None when every configuration of the space has a trial.
        """


class TrialWorkers(Protocol):
    """Trains trials, each in a process of its own that cannot outlive the trainer."""

    async def train(
        self,
        job_id: str,
        spec: SearchSpec,
        trial: Trial,
        on_epoch: OnEpoch,
        stop: asyncio.Event,
    ) -> TrialOutcome:
        """Carry on from the trial's last checkpoint up to its target epochs.

        If the call is cancelled, the process is ended; its checkpoint stays.

        Args:
            job_id: The search.
            spec: Its plan and frames.
            trial: Which trial, and how far.
            on_epoch: Called in order after every epoch, with those of earlier processes first.
            stop: Once set, the process is asked to end.

        Raises:
            JobFailed: It ended with a typed error; `reason` is "OUT_OF_MEMORY", "NON_FINITE_LOSS",
                "TRIAL_TOO_SLOW", "DISK_FULL" or another.
            UnavailableError: Something that the work needs is down; a repetition may succeed.
            JobCancelled: It ended because `stop` was set.
            WorkerCrashed: It ended without an outcome.
        """

    def forget_trial(self, job_id: str, number: int) -> None:
        """Remove the checkpoint of a trial that will not be trained any more."""

    def forget_search(self, job_id: str) -> None:
        """Remove frames and checkpoints of an ended search."""


class LatencyMeter(Protocol):
    """Measures what a network costs in Triton."""

    async def measure(self, network: ModelSpec, image_size: int, stop: asyncio.Event) -> float:
        """Return the median milliseconds of one 256 x 256 frame through Triton.

        Weights do not matter, so it can be asked before a training. One measurement at a time.

        Raises:
            UnavailableError: Triton does not answer.
            JobFailed: The network cannot be exported or loaded.
            JobCancelled: `stop` was set.
        """
