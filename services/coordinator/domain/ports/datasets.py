"""Port: data sets and frames."""

from collections.abc import Sequence
from typing import Protocol

from services.coordinator.domain.frames import (
    Dataset,
    Frame,
    ImportOutcome,
    NewFrame,
    PoolFrame,
    Split,
)
from services.coordinator.domain.ports.paging import Page, PageRequest

__all__ = ["DatasetStore"]


class DatasetStore(Protocol):
    """Keeps data sets. See the package for what holds for every store."""

    def ensure(self, name: str, *, test_fraction: float, seed: int) -> Dataset:
        """Return the data set, created when it does not exist.

        Fraction and seed of an existing data set stay as they are: its split is settled.

        Raises:
            InvalidName: Not a name.
            InvalidArgument: `test_fraction` outside 0..1, or `seed` beyond 64 bits.
        """
        ...

    def get(self, name: str) -> Dataset:
        """Return one data set.

        Raises:
            DatasetNotFound: There is none.
        """
        ...

    def list(self, page: PageRequest) -> Page[Dataset]:
        """Return data sets by name.

        Raises:
            InvalidPageToken: See `PageRequest`.
        """
        ...

    def find_missing(
        self, name: str, sha256s: Sequence[str], *, labeled: bool = False
    ) -> tuple[str, ...]:
        """Return those hashes that are not stored, in order; all when the data set is unknown.

        Args:
            name: Of the data set.
            sha256s: Of image files.
            labeled: Also those that are stored and would take a mask, see `import_frames`.
        """
        ...

    def import_frames(self, name: str, frames: Sequence[NewFrame]) -> ImportOutcome:
        """Store a batch of frames in one transaction; best in batches of some hundred.

        Frames are taken in order. One whose content is stored already (or came earlier in the
        batch) is a duplicate and changes nothing, whatever else it says, but for one thing: a
        stored frame without a mask takes the one that comes, until the first campaign on the data
        set has started. From then on its choices rest on what was known. The first frame that would
        put its patient on both sides ends the batch, see `ImportOutcome.leakage`.

        Raises:
            DatasetNotFound: Call `ensure` first.
        """
        ...

    def labeled_frames(self, name: str, split: Split, page: PageRequest) -> Page[PoolFrame]:
        """Return the frames of one side that were imported with a mask, by frame id.

        Labels that readers gave belong to their campaign and are not among them.

        Raises:
            DatasetNotFound: There is none of that name.
            InvalidPageToken: See `PageRequest`.
        """
        ...

    def get_frame(self, frame_id: str) -> Frame:
        """Return one frame.

        Raises:
            FrameNotFound: There is none.
        """
        ...
