"""What the runner of jobs needs from the outside."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from trainer.jobs.job import Job, Progress
from trainer.jobs.results import EvaluationResult, SearchResult, TrainedModel, Verification
from trainer.jobs.specs import ModelVersion, SearchSpec, WorkSpec

__all__ = ["OnProgress", "OnStage", "Publisher", "Searches", "Workers"]

OnProgress: TypeAlias = Callable[[Progress], Awaitable[None]]
OnStage: TypeAlias = Callable[[str], Awaitable[None]]


class Workers(Protocol):
    """Runs the work of a job in a process of its own that cannot outlive the trainer."""

    def outcome(self, job: Job) -> TrainedModel | EvaluationResult | None:
        """Return what an earlier process of the job finished, or None.

        Raises:
            JobFailed: It finished with a typed error.
        """

    async def run(
        self, job: Job, spec: WorkSpec, on_progress: OnProgress, stop: asyncio.Event
    ) -> TrainedModel | EvaluationResult:
        """Start a process that carries on from the last checkpoint and wait until it ends.

        If the call is cancelled, the process is ended; its checkpoint stays.

        Args:
            job: Whose work.
            spec: What to do.
            on_progress: Called in order with every report of the process.
            stop: Once set, the process is asked to end.

        Raises:
            JobFailed: The work ended with a typed error that a repetition meets again.
            UnavailableError: Something that the work needs is down.
            JobCancelled: It ended because `stop` was set.
            WorkerCrashed: It ended without an outcome.
        """

    def clean_up(self, job: Job) -> None:
        """Remove what an ended job no longer needs: checkpoints, frame cache, exported files."""

    def forget(self, job_id: str) -> None:
        """Remove everything of a job, its weights too; does nothing when it is gone already."""


class Publisher(Protocol):
    """Brings models into Triton."""

    async def make_resident(self, version: ModelVersion) -> None:
        """Bring a version that was retired back, so that it can be measured.

        Raises:
            VersionNotFound: It is nowhere.
            UnavailableError: Triton does not answer.
        """

    async def publish(
        self, job_id: str, trained: TrainedModel, on_stage: OnStage, stop: asyncio.Event
    ) -> Verification:
        """Publish and verify one model; waits while Triton is down.

        Repeating the call for the same job and bytes ends in the same version.

        Args:
            job_id: Who publishes.
            trained: The model.
            on_stage: Called with the step under way.
            stop: Once set, gives up unless the version is verified already.

        Raises:
            PublishFailed: The model was refused; what served before goes on serving.
            ZeroVarianceModel: The stochastic passes of an uncertainty model all agree.
            JobCancelled: `stop` was set.
        """


class Searches(Protocol):
    """Searches networks, with a process for every trial."""

    async def run(
        self, job_id: str, spec: SearchSpec, stop: asyncio.Event, report: OnProgress
    ) -> SearchResult:
        """Carry on where an earlier call was interrupted, to the end of the search.

        If the call is cancelled, the processes are ended; their trials stay ACTIVE.

        Args:
            job_id: The search.
            spec: How to search, and on what.
            stop: Once set, the processes are asked to end.
            report: Called with every change.

        Raises:
            SearchFailed: Nothing was found.
            JobCancelled: It ended because `stop` was set.
        """

    def forget(self, job_id: str) -> None:
        """Remove frames and checkpoints of an ended search; what it found is in the database."""
