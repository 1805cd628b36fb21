"""How frames flow through a run: read from a stream, load in threads, results as they are ready.

A frame holds one place of the run's window from before it is read from the stream until its result
was taken. So slow work or a slow caller stops the reading, and through gRPC's flow control the
sender: memory is bounded by the window whatever the number of frames.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Generic, TypeVar

from services.platform.errors import EchoLoopError, InternalError, UnavailableError
from services.uncertainty.domain.frames import Frame, FrameFailure, FrameReference
from services.uncertainty.domain.ports import FrameSource, ScoringObserver

__all__ = ["FrameFlow"]

OutcomeT = TypeVar("OutcomeT")
ResultT = TypeVar("ResultT")


class FrameFlow(ABC, Generic[OutcomeT]):
    """One run under way, on one event loop.

    Args:
        frames: The stream.
        source: Reads frames.
        window: Frames between the stream and the results.
        executor: Threads for reading, decoding and encoding.
        observer: Metrics and logs.

    Attributes:
        outcomes: Results as they are ready, then None.
    """

    def __init__(
        self,
        frames: AsyncIterator[FrameReference],
        *,
        source: FrameSource,
        window: int,
        executor: Executor,
        observer: ScoringObserver,
    ) -> None:
        # Bounded by the window.
        self.outcomes: asyncio.Queue[OutcomeT | FrameFailure | None] = asyncio.Queue()
        self._frames = frames
        self._source = source
        self._window = asyncio.Semaphore(window)
        self._executor = executor
        self._observer = observer
        self._inside = 0

    @abstractmethod
    async def _handle(self, frame: Frame) -> None:
        """Take a frame that was loaded; an error fails this frame only, unless unavailable."""

    def _all_loaded(self) -> None:
        """Take note that no more frames come."""

    async def _beside(self) -> None:
        """Run beside the loading, until all that was handed over is done."""

    def taken(self) -> None:
        """Give back the place of a frame whose result was taken."""
        self._inside -= 1
        self._observer.left()
        self._window.release()

    def abandon(self) -> None:
        """Account for the frames whose results nobody takes."""
        self._observer.left(self._inside)
        self._inside = 0

    async def work(self) -> None:
        """Run to the end of the stream; always ends `outcomes` with None.

        Raises:
            EchoLoopError: The run cannot go on.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._load_all())
                group.create_task(self._beside())
        except BaseExceptionGroup as group_error:
            raise _first_leaf(group_error) from group_error
        finally:
            self.outcomes.put_nowait(None)

    async def _load_all(self) -> None:
        async with asyncio.TaskGroup() as loads:
            while True:
                # Before reading: a message that was read could not be left in the stream.
                await self._window.acquire()
                reference = await anext(self._frames, None)
                if reference is None:
                    break
                self._inside += 1
                self._observer.entered()
                loads.create_task(self._load(reference))
        self._all_loaded()

    async def _load(self, reference: FrameReference) -> None:
        try:
            with self._observer.stage("load"):
                frame = await self._in_thread(lambda: self._source.load(reference))
            await self._handle(frame)
        except UnavailableError:
            raise
        except Exception as error:
            self._fail(reference.frame_id, error)

    def _fail(self, frame_id: str, error: Exception) -> None:
        if not isinstance(error, EchoLoopError):
            self._observer.unexpected(frame_id, error)
            error = InternalError(
                "This frame failed unexpectedly; the log of the uncertainty service has the "
                "details."
            )
        self._observer.failed(error.reason)
        self.outcomes.put_nowait(FrameFailure(frame_id, error.reason, error.message))

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
