"""Trials: one configuration each, trained rung by rung."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from services.platform.errors import IllegalStateError
from trainer.domain.search.space import Configuration

__all__ = [
    "ENDED",
    "Epoch",
    "IllegalTrialTransition",
    "Trial",
    "TrialState",
    "advance",
    "total_epochs",
]


class TrialState(StrEnum):
    """Where a trial stands."""

    ACTIVE = "active"
    """It is being trained up to `target_epochs`, or is about to be."""
    PAUSED = "paused"
    """It reached `target_epochs`, a rung, and may be trained longer."""
    COMPLETE = "complete"
    """It reached the last epoch."""
    PRUNED = "pruned"
    """It will not be trained longer: others were better, it diverged, or it breaks a limit."""
    FAILED = "failed"
    """It could not be trained."""
    CANCELLED = "cancelled"
    """The search was cancelled."""


class IllegalTrialTransition(IllegalStateError):
    """A trial cannot move from its state to the one asked for."""


TRANSITIONS: Mapping[TrialState, frozenset[TrialState]] = MappingProxyType(
    {
        TrialState.ACTIVE: frozenset(
            {
                TrialState.PAUSED,
                TrialState.COMPLETE,
                TrialState.PRUNED,
                TrialState.FAILED,
                TrialState.CANCELLED,
            }
        ),
        TrialState.PAUSED: frozenset({TrialState.ACTIVE, TrialState.PRUNED, TrialState.CANCELLED}),
        TrialState.COMPLETE: frozenset(),
        TrialState.PRUNED: frozenset(),
        TrialState.FAILED: frozenset(),
        TrialState.CANCELLED: frozenset(),
    }
)
"""Every legal move. A restart of the trainer leaves an active trial ACTIVE."""

ENDED = frozenset(state for state, following in TRANSITIONS.items() if not following)
"""States that a trial never leaves."""


def advance(before: TrialState, after: TrialState) -> TrialState:
    """Return `after` if a trial may move there.

    Raises:
        IllegalTrialTransition: It may not.
    """
    if after not in TRANSITIONS[before]:
        raise IllegalTrialTransition(f"A trial that is {before.value} cannot become {after.value}.")
    return after


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a trial.

    Attributes:
        number: From 1.
        loss: Mean training loss.
        iou: Mean IoU on the reward split.
        dice: Mean Dice on the reward split.
        seconds: Of training and measuring.
    """

    number: int
    loss: float
    iou: float
    dice: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Trial:
    """A snapshot of one trial.

    Attributes:
        number: From 0, in the order of the proposals.
        configuration: What was proposed.
        state: Where it stands.
        target_epochs: Epochs that it shall reach next, or has reached.
        bracket: Bracket of Hyperband; 0 otherwise.
        epochs: Epochs done, in order, without gaps.
        trained_batch_size: Batch size in use; halved where the proposed one did not fit.
        attempts: How often its process was started.
        crashes: How often its process ended without saying why.
        test_iou: Mean IoU on the test frames, once COMPLETE.
        test_dice: Mean Dice on the test frames, once COMPLETE.
        latency_ms: Median time of one frame through Triton, where it was measured.
        memory_mib: Peak memory of its training.
        reason: Machine-readable reason of a PRUNED or FAILED trial.
        message: The same for people.
    """

    number: int
    configuration: Configuration
    state: TrialState
    target_epochs: int
    bracket: int = 0
    epochs: tuple[Epoch, ...] = ()
    trained_batch_size: int = 0
    attempts: int = 0
    crashes: int = 0
    test_iou: float | None = None
    test_dice: float | None = None
    latency_ms: float | None = None
    memory_mib: float | None = None
    reason: str = ""
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED

    @property
    def best(self) -> Epoch | None:
        """The epoch with the highest reward IoU, the first of equals; None before the first."""
        return max(self.epochs, key=lambda epoch: (epoch.iou, -epoch.number), default=None)

    @property
    def iou(self) -> float | None:
        """Its reward: the highest IoU over its epochs."""
        return None if self.best is None else self.best.iou

    @property
    def seconds(self) -> float:
        """Seconds of training and measuring."""
        return sum(epoch.seconds for epoch in self.epochs)

    def iou_within(self, epochs: int) -> float | None:
        """Return the highest IoU over the first so many epochs; None before the first."""
        return max((epoch.iou for epoch in self.epochs[:epochs]), default=None)


def total_epochs(trials: Sequence[Trial]) -> int:
    """Return the epochs trained, all trials together: what a search costs."""
    return sum(len(trial.epochs) for trial in trials)
