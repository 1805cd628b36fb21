"""The contract of job storage; `trainer.adapters.sql_jobs` implements it.

One test suite, `tests/contract/trainer`, runs over every implementation.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from trainer.jobs.job import Job, JobState, Progress
from trainer.jobs.results import JobResult, Verification
from trainer.jobs.specs import JobSpec, ModelVersion

__all__ = ["JobCursor", "JobStore", "VersionLedger", "VersionRecord", "VersionState"]


@dataclass(frozen=True, slots=True)
class JobCursor:
    """Place of a job in the listing, newest first."""

    create_time: datetime
    id: str


class JobStore(Protocol):
    """Keeps jobs durably.

    Thread-safe; each method is one transaction. Every move is a compare-and-set, so that a job
    ends exactly once. Methods return snapshots and raise `JobNotFound` for an unknown id.
    """

    def create(self, request_id: str, spec: JobSpec, campaign: str) -> Job:
        """Store a QUEUED job, or return the one that the request id made before.

        Raises:
            RequestIdReused: That job has another spec or campaign.
        """

    def get(self, job_id: str) -> Job:
        """Read one job."""

    def spec(self, job_id: str) -> JobSpec:
        """Read what a job is asked to do; apart from the job, since it may name many frames."""

    def page(self, campaign: str, size: int, after: JobCursor | None) -> Sequence[Job]:
        """List jobs, newest first, without per-frame results.

        Args:
            campaign: Only this campaign; empty lists all.
            size: At most this many.
            after: The last job of the page before.
        """

    def in_states(self, states: Collection[JobState]) -> Sequence[Job]:
        """List all jobs in these states, oldest first, without per-frame results."""

    def start(self, job_id: str) -> Job:
        """Move QUEUED to RUNNING.

        Raises:
            IllegalJobTransition: It is not QUEUED.
        """

    def count_attempt(self, job_id: str) -> Job:
        """Note that a process of the job is about to start."""

    def count_crash(self, job_id: str) -> Job:
        """Note that a process of the job ended without saying why."""

    def report(self, job_id: str, progress: Progress) -> Job:
        """Store the progress of a RUNNING job; of any other the call changes nothing."""

    def request_cancel(self, job_id: str) -> Job:
        """Cancel a QUEUED job at once, ask a RUNNING one to end, leave an ended one as it is."""

    def succeed(self, job_id: str, result: JobResult) -> Job:
        """Move RUNNING to SUCCEEDED.

        Raises:
            IllegalJobTransition: It is not RUNNING.
        """

    def fail(self, job_id: str, reason: str, message: str) -> Job:
        """Move RUNNING to FAILED.

        Raises:
            IllegalJobTransition: It is not RUNNING.
        """

    def cancel(self, job_id: str) -> Job:
        """Move RUNNING to CANCELLED.

        Raises:
            IllegalJobTransition: It is not RUNNING.
        """


class VersionState(StrEnum):
    """Where a version number stands."""

    RESERVED = "reserved"
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version number and the job that it was given to.

    Attributes:
        version: Model, number and digest.
        job_id: Job that made it.
        state: RESERVED until Triton's answers were verified, then PUBLISHED; WITHDRAWN when they
            were refused, and the number is spent.
        verification: How well Triton agreed; None before PUBLISHED.
    """

    version: ModelVersion
    job_id: str
    state: VersionState
    verification: Verification | None


class VersionLedger(Protocol):
    """Hands out version numbers, once each, whatever crashes in between.

    Thread-safe; each method is one transaction.
    """

    def reserve(self, job_id: str, model: str, digest: str, floor: int) -> VersionRecord:
        """Return the job's record for this digest, or reserve the next number for it.

        A record of the job with another digest is WITHDRAWN: its bytes were never announced.

        Args:
            job_id: Who publishes.
            model: Triton model name.
            digest: SHA-256 of the graph.
            floor: The new number is greater than this, as well as greater than every one before.
        """

    def publish(self, verification: Verification) -> VersionRecord:
        """Mark a RESERVED version as verified; repeating it changes nothing.

        Raises:
            VersionNotFound: It was never reserved.
            IllegalJobTransition: It was WITHDRAWN.
        """

    def withdraw(self, version: ModelVersion) -> None:
        """Mark a version that is not PUBLISHED as refused; its number is spent."""

    def find(self, model: str, version: int) -> VersionRecord | None:
        """Read the record of a version, if there is one."""

    def reserved(self) -> Sequence[VersionRecord]:
        """List versions whose publication is under way or was interrupted."""
