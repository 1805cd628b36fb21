"""The import stream: frames in, batches committed, one bad frame refused while the rest goes on."""

import asyncio
import math
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Final

from echoloop.v1 import coordinator_pb2
from services.coordinator.domain.frames import NewFrame, RejectedFrame
from services.coordinator.domain.names import check_name
from services.coordinator.domain.ports import DatasetStore
from services.coordinator.rpc.campaign_messages import dataset_to_message
from services.coordinator.rpc.frame_intake import take_in_frame
from services.platform.blobs import BlobStore
from services.platform.errors import (
    EchoLoopError,
    InternalError,
    InvalidInputError,
    UnavailableError,
)
from services.platform.images import DEFAULT_LIMITS, ImageLimits

__all__ = ["FrameImport", "ImportStreamInvalid"]

_BATCH_FRAMES: Final = 64
_BATCH_BYTES: Final = 64 * 2**20
_MAX_REJECTED: Final = 10_000


class ImportStreamInvalid(InvalidInputError):
    """The messages of an import do not come as the contract says."""


class FrameImport:
    """One import stream.

    Memory is bounded by a batch: the next message is read when the batch before is committed.

    Args:
        datasets: Where frames are recorded.
        blobs: Where files are put, before their frames are recorded.
        executor: Threads for decoding, apart from those that everyone else's calls wait for.
        limits: Of images.
    """

    def __init__(
        self,
        datasets: DatasetStore,
        blobs: BlobStore,
        executor: Executor,
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> None:
        self._datasets = datasets
        self._blobs = blobs
        self._executor = executor
        self._limits = limits
        self._dataset = ""
        self._imported = 0
        self._duplicates = 0
        self._masks_added = 0
        self._rejected: list[RejectedFrame] = []

    async def run(
        self, messages: AsyncIterator[coordinator_pb2.ImportFramesRequest]
    ) -> coordinator_pb2.ImportFramesResponse:
        """Import the stream; what was committed before an error stays.

        Raises:
            ImportStreamInvalid: No header first, or a second one.
            PatientLeakage: A frame would put its patient on both sides of the split.
            UnavailableError: The database or the blob store cannot be written.
        """
        batch: list[coordinator_pb2.ImportFrame] = []
        size = 0
        async for message in messages:
            if not self._dataset:
                await self._open(message)
                continue
            if message.WhichOneof("payload") != "frame":
                raise ImportStreamInvalid(
                    "After the header, every message of an import is a frame."
                )
            batch.append(message.frame)
            size += len(message.frame.image) + len(message.frame.mask_png)
            if len(batch) >= _BATCH_FRAMES or size >= _BATCH_BYTES:
                await self._commit(batch)
                batch, size = [], 0
        if not self._dataset:
            raise ImportStreamInvalid("The import is empty. Send the header first, then frames.")
        await self._commit(batch)
        dataset = await asyncio.to_thread(self._datasets.get, self._dataset)
        return coordinator_pb2.ImportFramesResponse(
            dataset=dataset_to_message(dataset),
            imported=self._imported,
            duplicates=self._duplicates,
            masks_added=self._masks_added,
            rejected=[
                coordinator_pb2.RejectedFrame(
                    name=frame.name, reason=frame.reason, message=frame.message
                )
                for frame in self._rejected
            ],
        )

    async def _open(self, message: coordinator_pb2.ImportFramesRequest) -> None:
        if message.WhichOneof("payload") != "header":
            raise ImportStreamInvalid("The first message of an import is its header.")
        header = message.header
        check_name("data set", header.dataset)
        if not (math.isfinite(header.test_fraction) and 0 <= header.test_fraction <= 1):
            raise ImportStreamInvalid("test_fraction is a share of the patients, 0 to 1.")
        dataset = await asyncio.to_thread(
            self._datasets.ensure,
            header.dataset,
            test_fraction=header.test_fraction,
            seed=header.seed,
        )
        self._dataset = dataset.name

    async def _commit(self, batch: list[coordinator_pb2.ImportFrame]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        # In threads: decoding and writing files release the interpreter lock.
        outcomes = await asyncio.gather(
            *(loop.run_in_executor(self._executor, self._take_in, frame) for frame in batch)
        )
        frames: list[NewFrame] = []
        for outcome in outcomes:
            if isinstance(outcome, RejectedFrame):
                self._reject(outcome)
            else:
                frames.append(outcome)
        if not frames:
            return
        result = await asyncio.to_thread(self._datasets.import_frames, self._dataset, frames)
        self._imported += len(result.imported)
        self._duplicates += result.duplicates
        self._masks_added += result.masks_added
        for rejected in result.rejected:
            self._reject(rejected)
        if result.leakage is not None:
            raise result.leakage

    def _take_in(self, message: coordinator_pb2.ImportFrame) -> NewFrame | RejectedFrame:
        try:
            return take_in_frame(message, self._blobs, self._limits)
        except (UnavailableError, InternalError):
            raise
        except EchoLoopError as error:
            return RejectedFrame(message.name, error.reason, error.message)

    def _reject(self, frame: RejectedFrame) -> None:
        self._rejected.append(frame)
        if len(self._rejected) > _MAX_REJECTED:
            raise ImportStreamInvalid(
                f"More than {_MAX_REJECTED} frames were refused; the last: {frame.message} "
                "Correct the data; what was good is imported."
            )
