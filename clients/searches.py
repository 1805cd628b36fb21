"""Architecture searches: start, follow, see their trials."""

from collections.abc import Iterator, Sequence
from typing import Final

from clients.connection import Connection, new_request_id
from clients.jobs import Jobs
from clients.paging import PAGE_SIZE, every_item
from echoloop.v1 import trainer_pb2 as pb
from services.platform.errors import InvalidInputError, NotFoundError

__all__ = ["Searches"]

_SERVICE: Final = "echoloop.v1.TrainerService"


class NotASearch(InvalidInputError):
    """The job trains or evaluates one model."""


class NoFinishedSearch(NotFoundError):
    """No search of the data set has SUCCEEDED yet."""


class Searches:
    """The architecture searches of one trainer. A search is a job, named by the job's id.

    All methods raise the `EchoLoopError` that the trainer answered, and those that take a job raise
    `NotASearch` for one that is none.
    """

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection = connection
        self._jobs = jobs

    def start(
        self,
        dataset: str,
        config: pb.SearchConfig,
        frames: Sequence[pb.LabeledFrame],
        test_frames: Sequence[pb.LabeledFrame] = (),
    ) -> pb.Job:
        """Start a search.

        Args:
            dataset: Where the frames come from, for listing.
            config: What is searched, and how.
            frames: Of the training side; the search splits them by patient.
            test_frames: Of the test side, only reported on.
        """
        request = pb.StartSearchRequest(
            config=config,
            frames=frames,
            test_frames=test_frames,
            dataset=dataset,
            request_id=new_request_id(),
        )
        return self._connection.call(
            f"{_SERVICE}/StartSearch", request, pb.StartSearchResponse, timeout_s=120
        ).job

    def list(self, dataset: str = "") -> Iterator[pb.Job]:
        """Yield searches, newest first; only those of one data set when it is named."""
        return (job for job in self._jobs.list(dataset) if job.kind == pb.JOB_KIND_SEARCH)

    def get(self, job: str) -> pb.Job:
        """Read one search."""
        return _checked(self._jobs.get(job))

    def get_with_config(self, job: str) -> tuple[pb.Job, pb.SearchConfig]:
        """Read one search and how it runs, with every default filled in."""
        found = self._connection.call(
            f"{_SERVICE}/GetJob", pb.GetJobRequest(id=job), pb.GetJobResponse
        )
        return _checked(found.job), found.search

    def latest(self, dataset: str) -> pb.Job:
        """Return the newest search of a data set that SUCCEEDED.

        Raises:
            NoFinishedSearch: There is none; the text says what to do.
        """
        running = ""
        for job in self.list(dataset):
            if job.state == pb.JOB_STATE_SUCCEEDED:
                return job
            if not running and job.state in (pb.JOB_STATE_QUEUED, pb.JOB_STATE_RUNNING):
                running = job.id
        what_to_do = (
            f"Wait for the one that runs: echoloop search watch {running}"
            if running
            else f"Start one: echoloop search start --dataset {dataset} --watch"
        )
        raise NoFinishedSearch(f"No search of the data set {dataset} has ended well. {what_to_do}")

    def watch(self, job: str) -> Iterator[pb.Job]:
        """Yield the search now and at every change, until it has ended; see `Jobs.watch`."""
        return map(_checked, self._jobs.watch(job))

    def trials(self, job: str) -> Iterator[pb.Trial]:
        """Yield the trials of a search in the order in which they were proposed."""
        return every_item(
            lambda token: self._connection.call(
                f"{_SERVICE}/ListTrials",
                pb.ListTrialsRequest(job=job, page_size=PAGE_SIZE, page_token=token),
                pb.ListTrialsResponse,
            ),
            lambda page: page.trials,
        )

    def cancel(self, job: str) -> pb.Job:
        """Ask a search to end; its trials stay, and it has no winner."""
        self.get(job)
        return self._jobs.cancel(job)


def _checked(job: pb.Job) -> pb.Job:
    if job.kind != pb.JOB_KIND_SEARCH:
        raise NotASearch(
            f"The job {job.id} is no search. `echoloop search list` shows those there are."
        )
    return job
