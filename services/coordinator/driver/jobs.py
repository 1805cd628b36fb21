"""Following a trainer job to its end, through restarts and losses of the trainer."""

from collections.abc import Awaitable, Callable
from typing import Final

from services.coordinator.domain.ports.trainer import Job, JobState, Trainer
from services.coordinator.driver.context import StepFailed
from services.platform.errors import NotFoundError

__all__ = ["follow_job"]

_MAX_LOSSES: Final = 3


async def follow_job(
    trainer: Trainer,
    start: Callable[[str], Awaitable[Job]],
    *,
    request_id: str,
    failures: int,
    what: str,
    on_start: Callable[[Job], Awaitable[None]],
    on_change: Callable[[Job], None],
) -> Job:
    """Start a job, or find the one started before, and return it when it SUCCEEDED.

    Every earlier failure of the step allows one more attempt, and each attempt has a request id of
    its own: a FAILED job is not handed back for ever, while a job of the same step that still runs
    or succeeded is found again.

    Args:
        trainer: Watched.
        start: Starts the job under the request id given to it.
        request_id: Stem of the ids; the same for the same step of the same phase.
        failures: How often the phase failed so far.
        what: For messages, such as `Training the segmenter`.
        on_start: Told the job each time it was started or found.
        on_change: Told the job at every change.

    Raises:
        StepFailed: The job failed or was cancelled.
        NotFoundError: The trainer lost the job again and again.
        UnavailableError: The trainer cannot be reached; call again, nothing is lost.
    """
    losses = 0
    while True:
        # The same id while a new job comes of it; one of its own where the trainer remembers the
        # id but no longer the job.
        suffix = f"-lost{losses}" if losses > 1 else ""
        job = await _newest_attempt(start, request_id + suffix, failures)
        await on_start(job)
        try:
            async for job in trainer.watch_job(job.id):  # noqa: B020  # the newest snapshot counts
                on_change(job)
        except NotFoundError:
            losses += 1
            if losses > _MAX_LOSSES:
                raise
            continue
        break
    if job.state is JobState.SUCCEEDED:
        return job
    if job.state is JobState.CANCELLED:
        raise StepFailed(f"{what} was cancelled. Resume the campaign to do it again.")
    detail = job.failure_message or "The trainer gave no reason; see its log."
    raise StepFailed(f"{what} failed: {detail}")


async def _newest_attempt(
    start: Callable[[str], Awaitable[Job]], request_id: str, failures: int
) -> Job:
    attempt = 0
    while True:
        job = await start(f"{request_id}-a{attempt}")
        if attempt == failures or job.state not in (JobState.FAILED, JobState.CANCELLED):
            return job
        attempt += 1
