"""Accepts jobs and answers questions about them: what the RPCs call."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from trainer.domain.search.plan import SearchPlan
from trainer.domain.search.trials import Trial
from trainer.domain.specs import ModelSpec, TrainingSpec
from trainer.jobs.errors import InvalidJobRequest, JobNotFound, VersionNotFound
from trainer.jobs.frame_checks import check_frames, check_search_frames
from trainer.jobs.job import Job, JobKind
from trainer.jobs.registry import JobRegistry
from trainer.jobs.results import RetrainingResult
from trainer.jobs.runner import JobRunner
from trainer.jobs.specs import (
    SEGMENTER_MODEL,
    EvaluationSpec,
    JobSpec,
    ModelVersion,
    RetrainingSpec,
    SearchSpec,
)
from trainer.jobs.store import JobCursor, VersionLedger, VersionRecord, VersionState
from trainer.searches.ports import TrialStore

__all__ = ["Architectures", "JobDesk", "Residency", "TrialPage"]

MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 100


class Architectures(Protocol):
    """Knows which networks exist."""

    async def check(self, network: ModelSpec, image_size: int) -> None:
        """Return if the network can be built.

        Raises:
            InvalidInputError: It cannot; the text lists what is near.
        """


class Residency(Protocol):
    """Decides which versions Triton holds."""

    async def set_resident(self, model: str, versions: Collection[int]) -> tuple[int, ...]:
        """Make these versions, and those being published, the ones that Triton holds.

        Raises:
            ModelNotFound: No such model.
            VersionNotFound: One of the versions is nowhere; nothing was changed.
            UnavailableError: Triton does not answer; a repetition completes the call.
        """


@dataclass(frozen=True, slots=True)
class TrialPage:
    """A part of the trials of a search.

    Attributes:
        trials: By number.
        encoder_weights: Weights that their encoders start from.
        following: Number after which the next page starts; None at the end.
    """

    trials: Sequence[Trial]
    encoder_weights: str | None
    following: int | None = None


class JobDesk:
    """The trainer's operations, in the words of its domain.

    For use from one event loop.

    Args:
        registry: The jobs.
        runner: Runs them.
        ledger: Published versions.
        architectures: Which networks exist.
        residency: Which versions Triton holds.
        trials: Those of searches.
    """

    def __init__(
        self,
        registry: JobRegistry,
        runner: JobRunner,
        ledger: VersionLedger,
        architectures: Architectures,
        residency: Residency,
        *,
        trials: TrialStore,
    ) -> None:
        self._registry = registry
        self._runner = runner
        self._ledger = ledger
        self._architectures = architectures
        self._residency = residency
        self._trials = trials

    async def check(self, training: TrainingSpec) -> None:
        """Return if such a training could be accepted.

        Raises:
            InvalidInputError: Its network cannot be built; the text lists what is near.
        """
        await self._architectures.check(training.model, training.image_size)

    async def start(self, request_id: str, spec: JobSpec, campaign: str) -> Job:
        """Accept a job, or return the one that the request id made before.

        Raises:
            InvalidInputError: No such job can be done.
            VersionNotFound: It names a version that was never published.
            JobNotFound: It names an earlier search that is none.
            RequestIdReused: The request id belongs to a job that does something else.
        """
        if not request_id or len(request_id) > 200:  # noqa: PLR2004  # the column's width
            raise InvalidJobRequest("request_id is required: 1 to 200 characters.")
        match spec:
            case RetrainingSpec():
                await self._check_retraining(spec)
            case EvaluationSpec():
                await self._check_evaluation(spec)
            case SearchSpec():
                await self._check_search(spec)
        job = await self._registry.create(request_id, spec, campaign)
        self._runner.wake()
        return job

    async def get(self, job_id: str) -> Job:
        """Read one job."""
        return await self._registry.get(job_id)

    async def plan(self, job: Job) -> SearchPlan | None:
        """Return how a search runs; None for other jobs."""
        if job.kind is not JobKind.SEARCH:
            return None
        spec = await self._registry.spec(job.id)
        return spec.plan if isinstance(spec, SearchSpec) else None

    def watch(self, job_id: str) -> AsyncIterator[Job]:
        """Yield a job now and after every change until it has ended."""
        return self._registry.watch(job_id)

    async def cancel(self, job_id: str) -> Job:
        """Ask a job to end; an ended one is returned as it is."""
        job = await self._registry.request_cancel(job_id)
        self._runner.cancel(job_id)
        return job

    async def page(
        self, campaign: str, page_size: int, after: JobCursor | None
    ) -> tuple[Sequence[Job], JobCursor | None]:
        """List jobs, newest first.

        Args:
            campaign: Only this campaign; empty lists all.
            page_size: At most this many; 0 means 100; above 1,000 is lowered to 1,000.
            after: Where the page before ended.

        Returns:
            The jobs, without per-frame results, and where the next page starts if there is one.

        Raises:
            InvalidJobRequest: The page size is negative.
        """
        size = _page_size(page_size)
        jobs = await self._registry.page(campaign, size + 1, after)
        if len(jobs) <= size:
            return jobs, None
        last = jobs[size - 1]
        return jobs[:size], JobCursor(last.create_time, last.id)

    async def trials(self, job_id: str, page_size: int, after: int) -> TrialPage:
        """List the trials of a search, in the order of the proposals.

        Args:
            job_id: The search.
            page_size: See `page`.
            after: Number of the last trial of the page before; -1 for the first page.

        Raises:
            JobNotFound: No such job.
            InvalidJobRequest: The job is no search, or the page size is negative.
        """
        size = _page_size(page_size)
        spec = await self._registry.spec(job_id)
        if not isinstance(spec, SearchSpec):
            raise InvalidJobRequest("This job is not a search; only searches have trials.")
        trials = await asyncio.to_thread(self._trials.page, job_id, size + 1, after)
        if len(trials) <= size:
            return TrialPage(trials, spec.plan.encoder_weights)
        return TrialPage(trials[:size], spec.plan.encoder_weights, trials[size - 1].number)

    async def set_resident(self, model: str, versions: Collection[int]) -> tuple[int, ...]:
        """See `Residency.set_resident`."""
        if any(version < 1 for version in versions):
            raise InvalidJobRequest("Version numbers are greater than 0.")
        return await self._residency.set_resident(model, versions)

    async def _check_retraining(self, spec: RetrainingSpec) -> None:
        check_frames(spec.frames)
        await self.check(spec.training)
        if spec.warm_start is None:
            return
        if spec.warm_start.model != spec.model:
            raise InvalidJobRequest(
                f"A warm start of {spec.model} needs a version of {spec.model}, not of "
                f"{spec.warm_start.model}."
            )
        record = await self._published(
            spec.warm_start, "Start from a published version, or from scratch."
        )
        result = (await self._registry.get(record.job_id)).result
        network = result.network if isinstance(result, RetrainingResult) else None
        if network is not None and not _same_weights(network, spec.training.model):
            raise InvalidJobRequest(
                f"Version {spec.warm_start.version} of {spec.warm_start.model} is a {network}; "
                f"its weights do not fit a {spec.training.model}. Start from scratch."
            )

    async def _check_evaluation(self, spec: EvaluationSpec) -> None:
        check_frames(spec.frames)
        if spec.model.model != SEGMENTER_MODEL:
            raise InvalidJobRequest(f"Only versions of {SEGMENTER_MODEL} can be evaluated.")
        record = await self._published(spec.model, "Evaluate a published version.")
        if spec.model.digest and spec.model.digest != record.version.digest:
            raise InvalidJobRequest(
                f"Version {spec.model.version} of {spec.model.model} has another digest."
            )

    async def _check_search(self, spec: SearchSpec) -> None:
        check_search_frames(spec)
        if spec.plan.warm_start:
            await self._check_earlier_search(spec.plan.warm_start)

    async def _check_earlier_search(self, job_id: str) -> None:
        unknown = JobNotFound(
            f"warm_start names the search {job_id}, and there is none. ListJobs lists the jobs "
            "there are."
        )
        try:
            earlier = await self._registry.get(job_id)
        except JobNotFound as exc:
            raise unknown from exc
        if earlier.kind is not JobKind.SEARCH:
            raise unknown

    async def _published(self, version: ModelVersion, advice: str) -> VersionRecord:
        record = await asyncio.to_thread(self._ledger.find, version.model, version.version)
        if record is None or record.state is not VersionState.PUBLISHED:
            raise VersionNotFound(
                f"Version {version.version} of {version.model} was not published here. {advice}"
            )
        return record


def _page_size(asked: int) -> int:
    if asked < 0:
        raise InvalidJobRequest(f"page_size is {asked}; it must be 0 or greater.")
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def _same_weights(one: ModelSpec, other: ModelSpec) -> bool:
    """Say whether two networks have the same parameters, whatever they were initialized with."""
    return (one.decoder, one.encoder, one.encoder_depth) == (
        other.decoder,
        other.encoder,
        other.encoder_depth,
    )
