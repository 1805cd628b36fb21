"""Jobs for asynchronous callers: the store behind a thread, and news about every change."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import ParamSpec, Protocol

from trainer.jobs.errors import TrainerStopping
from trainer.jobs.job import Job, JobKind, JobState, Progress
from trainer.jobs.results import JobResult
from trainer.jobs.specs import JobSpec
from trainer.jobs.store import JobCursor, JobStore

__all__ = ["JobObserver", "JobRegistry", "SilentObserver"]

P = ParamSpec("P")


class JobObserver(Protocol):
    """Told about what happens to jobs, for metrics. Must not block."""

    def moved(self, job: Job) -> None:
        """A job was created or changed its state."""

    def progressed(self, job: Job) -> None:
        """A running job reported."""

    def crashed(self, kind: JobKind) -> None:
        """A worker process ended without an outcome."""


class SilentObserver:
    """Observes nothing."""

    def moved(self, job: Job) -> None:
        """Ignore it."""

    def progressed(self, job: Job) -> None:
        """Ignore it."""

    def crashed(self, kind: JobKind) -> None:
        """Ignore it."""


class JobRegistry:
    """The one way in which the trainer's event loop reads and changes jobs.

    For use from one event loop. Every change goes through here, so `watch` needs no polling.

    Args:
        store: Where jobs are kept.
        observer: Told about every change.
    """

    def __init__(self, store: JobStore, observer: JobObserver | None = None) -> None:
        self._store = store
        self._observer = observer or SilentObserver()
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._closed = False

    async def create(self, request_id: str, spec: JobSpec, campaign: str) -> Job:
        """See `JobStore.create`."""
        return await self._moving(self._store.create, request_id, spec, campaign)

    async def get(self, job_id: str) -> Job:
        """See `JobStore.get`."""
        return await asyncio.to_thread(self._store.get, job_id)

    async def spec(self, job_id: str) -> JobSpec:
        """See `JobStore.spec`."""
        return await asyncio.to_thread(self._store.spec, job_id)

    async def page(self, campaign: str, size: int, after: JobCursor | None) -> Sequence[Job]:
        """See `JobStore.page`."""
        return await asyncio.to_thread(self._store.page, campaign, size, after)

    async def in_states(self, states: Collection[JobState]) -> Sequence[Job]:
        """See `JobStore.in_states`."""
        return await asyncio.to_thread(self._store.in_states, states)

    async def start(self, job_id: str) -> Job:
        """See `JobStore.start`."""
        return await self._moving(self._store.start, job_id)

    async def count_attempt(self, job_id: str) -> Job:
        """See `JobStore.count_attempt`."""
        return await self._changing(self._store.count_attempt, job_id)

    async def count_crash(self, job_id: str) -> Job:
        """See `JobStore.count_crash`."""
        job = await self._changing(self._store.count_crash, job_id)
        self._observer.crashed(job.kind)
        return job

    async def report(self, job_id: str, progress: Progress) -> Job:
        """See `JobStore.report`."""
        job = await self._changing(self._store.report, job_id, progress)
        self._observer.progressed(job)
        return job

    async def request_cancel(self, job_id: str) -> Job:
        """See `JobStore.request_cancel`."""
        return await self._moving(self._store.request_cancel, job_id)

    async def succeed(self, job_id: str, result: JobResult) -> Job:
        """See `JobStore.succeed`."""
        return await self._moving(self._store.succeed, job_id, result)

    async def fail(self, job_id: str, reason: str, message: str) -> Job:
        """See `JobStore.fail`."""
        return await self._moving(self._store.fail, job_id, reason, message)

    async def cancel(self, job_id: str) -> Job:
        """See `JobStore.cancel`."""
        return await self._moving(self._store.cancel, job_id)

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """Yield the job now and after every change until it has ended.

        A slow reader skips snapshots between two reads; the last one is never skipped.

        Raises:
            JobNotFound: No such job.
            TrainerStopping: The trainer ends before the job does.
        """
        changed = asyncio.Event()
        self._watchers.setdefault(job_id, set()).add(changed)
        seen = -1
        try:
            while True:
                changed.clear()
                job = await self.get(job_id)
                if job.revision != seen:
                    seen = job.revision
                    yield job
                if job.ended:
                    return
                if self._closed:
                    raise TrainerStopping("The trainer is stopping. Watch the job again later.")
                await changed.wait()
        finally:
            watchers = self._watchers[job_id]
            watchers.discard(changed)
            if not watchers:
                del self._watchers[job_id]

    def close(self) -> None:
        """End every watch; called when the server drains."""
        self._closed = True
        for job_id in tuple(self._watchers):
            self._notify(job_id)

    async def _moving(self, change: Callable[P, Job], *args: P.args, **kwargs: P.kwargs) -> Job:
        job = await self._changing(change, *args, **kwargs)
        self._observer.moved(job)
        return job

    async def _changing(self, change: Callable[P, Job], *args: P.args, **kwargs: P.kwargs) -> Job:
        job = await asyncio.to_thread(change, *args, **kwargs)
        self._notify(job.id)
        return job

    def _notify(self, job_id: str) -> None:
        for changed in self._watchers.get(job_id, ()):
            changed.set()
