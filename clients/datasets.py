"""Data sets: import frames, see what is there."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from clients.connection import Connection
from clients.paging import PAGE_SIZE, every_item
from echoloop.v1 import coordinator_pb2 as pb
from services.platform.errors import NotFoundError

__all__ = ["Datasets"]

_SERVICE: Final = "echoloop.v1.CoordinatorService"
_HASHES_A_CALL: Final = 10_000


class Datasets:
    """The data sets of one coordinator."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Iterator[pb.Dataset]:
        """Yield every data set by name."""
        return every_item(
            lambda token: self._connection.call(
                f"{_SERVICE}/ListDatasets",
                pb.ListDatasetsRequest(page_size=PAGE_SIZE, page_token=token),
                pb.ListDatasetsResponse,
            ),
            lambda page: page.datasets,
        )

    def missing(self, dataset: str, sha256s: Sequence[str], *, labeled: bool = False) -> set[str]:
        """Return which image hashes the data set lacks; all of them when it does not exist.

        Args:
            dataset: Name.
            sha256s: Lower-case hex.
            labeled: Also those that are stored without a mask and would take one.
        """
        missing: set[str] = set()
        for start in range(0, len(sha256s), _HASHES_A_CALL):
            part = sha256s[start : start + _HASHES_A_CALL]
            request = pb.FindMissingFramesRequest(dataset=dataset, sha256s=part, labeled=labeled)
            try:
                answer = self._connection.call(
                    f"{_SERVICE}/FindMissingFrames", request, pb.FindMissingFramesResponse
                )
            except NotFoundError:
                return set(sha256s)
            missing.update(answer.missing)
        return missing

    def labeled_frames(self, dataset: str, split: "pb.Split.ValueType") -> Iterator[pb.PoolFrame]:
        """Yield the frames of one side that were imported with an expert's mask.

        Raises:
            NotFoundError: There is no data set of that name.
        """
        return every_item(
            lambda token: self._connection.call(
                f"{_SERVICE}/ListLabeledFrames",
                pb.ListLabeledFramesRequest(
                    dataset=dataset, split=split, page_size=PAGE_SIZE, page_token=token
                ),
                pb.ListLabeledFramesResponse,
            ),
            lambda page: page.frames,
        )

    def send(
        self, header: pb.ImportHeader, frames: Iterable[pb.ImportFrame]
    ) -> pb.ImportFramesResponse:
        """Send frames in one stream; they are read from the iterable as they are sent.

        Not retried here: the iterable is spent. `clients.importing` repeats with what is missing.
        """

        def messages() -> Iterator[pb.ImportFramesRequest]:
            yield pb.ImportFramesRequest(header=header)
            for frame in frames:
                yield pb.ImportFramesRequest(frame=frame)

        return self._connection.send(
            f"{_SERVICE}/ImportFrames", messages(), pb.ImportFramesResponse
        )
