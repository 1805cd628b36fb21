"""Jobs: what the trainer is doing."""

from collections.abc import Iterator
from typing import Final

from clients.connection import Connection, new_request_id
from clients.paging import PAGE_SIZE, every_item
from echoloop.v1 import trainer_pb2 as pb

__all__ = ["ENDED", "Jobs"]

_SERVICE: Final = "echoloop.v1.TrainerService"

ENDED: Final = frozenset({pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_FAILED, pb.JOB_STATE_CANCELLED})
"""States that a job never leaves."""


class Jobs:
    """The jobs of one trainer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, campaign: str = "") -> Iterator[pb.Job]:
        """Yield jobs, newest first, without per-frame results."""
        return every_item(
            lambda token: self._connection.call(
                f"{_SERVICE}/ListJobs",
                pb.ListJobsRequest(campaign=campaign, page_size=PAGE_SIZE, page_token=token),
                pb.ListJobsResponse,
            ),
            lambda page: page.jobs,
        )

    def get(self, job: str) -> pb.Job:
        """Read one job."""
        return self._connection.call(
            f"{_SERVICE}/GetJob", pb.GetJobRequest(id=job), pb.GetJobResponse
        ).job

    def watch(self, job: str) -> Iterator[pb.Job]:
        """Yield the job now and at every change, until it has ended.

        A restarted trainer is waited for and followed again, as long as patience lasts; the
        present state is then sent once more.
        """
        for event in self._connection.follow(
            f"{_SERVICE}/WatchJob",
            pb.WatchJobRequest(id=job),
            pb.WatchJobResponse,
            ended=lambda event: event.job.state in ENDED,
        ):
            yield event.job

    def cancel(self, job: str) -> pb.Job:
        """Ask a job to end."""
        request = pb.CancelJobRequest(id=job, request_id=new_request_id())
        return self._connection.call(f"{_SERVICE}/CancelJob", request, pb.CancelJobResponse).job
