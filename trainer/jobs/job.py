"""A durable job: what it is, the states it moves through, how far it is, what it left behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from trainer.jobs.errors import IllegalJobTransition
from trainer.jobs.results import JobResult

__all__ = ["ENDED", "TRANSITIONS", "Job", "JobKind", "JobState", "Progress", "advance"]


class JobKind(StrEnum):
    """What a job does."""

    RETRAINING = "retraining"
    EVALUATION = "evaluation"
    SEARCH = "search"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
        JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
        JobState.SUCCEEDED: frozenset(),
        JobState.FAILED: frozenset(),
        JobState.CANCELLED: frozenset(),
    }
)
"""Every legal move. A restart of the trainer leaves a running job RUNNING: it is the same job."""

ENDED = frozenset(state for state, following in TRANSITIONS.items() if not following)
"""States that a job never leaves."""


def advance(before: JobState, after: JobState) -> JobState:
    """Return `after` if a job may move there.

    Raises:
        IllegalJobTransition: It may not.
    """
    if after not in TRANSITIONS[before]:
        raise IllegalJobTransition(f"A job that is {before.value} cannot become {after.value}.")
    return after


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes:
        stage: "preparing", "training", "exporting", "publishing", "verifying", "evaluating",
            "searching" or "measuring latency"; a job that waits says for what: "publishing, waiting
            for Triton".
        done: Epochs done; frames when evaluating, trials that reached a first rung or ended when
            searching.
        total: The same unit, in all; 0 before that is known.
        loss: Mean training loss of the last epoch.
        iou: Mean training IoU of the last epoch, the test IoU so far, or the best reward so far.
        eta_s: Seconds until the job ends.
    """

    stage: str = "preparing"
    done: int = 0
    total: int = 0
    loss: float | None = None
    iou: float | None = None
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A snapshot of one job.

    Attributes:
        id: Assigned when it was accepted.
        kind: What it does.
        state: Where it stands.
        campaign: Campaign id; of a search the data set's name; empty when none was given.
        progress: How far it is.
        result: What a SUCCEEDED job left behind.
        failure_reason: Machine-readable reason of a FAILED job.
        failure_message: Public text of a FAILED job.
        attempts: How often its process was started.
        crashes: How often its process ended without saying why.
        cancel_requested: It shall end; it does so within a batch.
        create_time: When it was accepted.
        end_time: When it ended.
        revision: Grows with every change.
    """

    id: str
    kind: JobKind
    state: JobState
    campaign: str
    progress: Progress
    result: JobResult | None
    failure_reason: str
    failure_message: str
    attempts: int
    crashes: int
    cancel_requested: bool
    create_time: datetime
    end_time: datetime | None
    revision: int

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED
