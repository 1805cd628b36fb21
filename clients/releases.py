"""Releases: which model versions exist and which one serves."""

from collections.abc import Iterator
from typing import Final

from clients.connection import Connection, new_request_id
from clients.paging import PAGE_SIZE, every_item
from echoloop.v1 import release_pb2 as pb

__all__ = ["Releases"]

_SERVICE: Final = "echoloop.v1.ReleaseService"


class Releases:
    """The releases of one coordinator."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, campaign: str = "") -> Iterator[pb.Release]:
        """Yield releases, newest first; of every campaign when none is named."""
        return every_item(
            lambda token: self._connection.call(
                f"{_SERVICE}/ListReleases",
                pb.ListReleasesRequest(campaign=campaign, page_size=PAGE_SIZE, page_token=token),
                pb.ListReleasesResponse,
            ),
            lambda page: page.releases,
        )

    def get(self, release: str) -> pb.Release:
        """Read one release by id."""
        return self._connection.call(
            f"{_SERVICE}/GetRelease", pb.GetReleaseRequest(id=release), pb.GetReleaseResponse
        ).release

    def promote(self, release: str) -> pb.Release:
        """Make a segmenter the champion and let it serve."""
        request = pb.PromoteReleaseRequest(id=release, request_id=new_request_id())
        return self._connection.call(
            f"{_SERVICE}/PromoteRelease", request, pb.PromoteReleaseResponse, timeout_s=120
        ).release

    def rollback(self, campaign: str) -> pb.Release:
        """Go back to the champion before the present one."""
        request = pb.RollbackReleaseRequest(campaign=campaign, request_id=new_request_id())
        return self._connection.call(
            f"{_SERVICE}/RollbackRelease", request, pb.RollbackReleaseResponse, timeout_s=120
        ).release

    def serving(self, campaign: str = "") -> pb.GetServingReleaseResponse:
        """Read what serves; of the campaign that serves by default when none is named."""
        return self._connection.call(
            f"{_SERVICE}/GetServingRelease",
            pb.GetServingReleaseRequest(campaign=campaign),
            pb.GetServingReleaseResponse,
        )
