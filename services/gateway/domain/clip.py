"""A clip: frames in, results out in the same order, several frames at a time in between."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = ["in_order"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class _End:
    """The items ended, with an error or without."""

    error: BaseException | None


async def in_order(
    items: AsyncIterator[ItemT],
    work: Callable[[ItemT], Awaitable[ResultT]],
    *,
    window: int,
) -> AsyncGenerator[ResultT]:
    """Yield the results of `work` in the order of the items, as soon as the order allows.

    An item is only read while fewer than `window` results are under way or not yet taken, so a
    caller that does not take its results stops the reading.

    Args:
        items: Where the items come from; read by one task.
        work: Run concurrently; an error ends the whole.
        window: Most items between reading and result.

    Raises:
        Exception: The first error, of `items` or of `work`, in the order of the items; results
            before it were yielded.
    """
    clip = _Clip(items, work, window)
    reader = asyncio.create_task(clip.read())
    try:
        while not isinstance(entry := await clip.started.get(), _End):
            yield await entry
            clip.places.release()
        if entry.error is not None:
            raise entry.error
    finally:
        reader.cancel()
        await clip.stop()
        with contextlib.suppress(asyncio.CancelledError):
            await reader


class _Clip(Generic[ItemT, ResultT]):
    def __init__(
        self,
        items: AsyncIterator[ItemT],
        work: Callable[[ItemT], Awaitable[ResultT]],
        window: int,
    ) -> None:
        self.started: asyncio.Queue[asyncio.Task[ResultT] | _End] = asyncio.Queue()
        self.places: Final = asyncio.Semaphore(window)
        self._items = items
        self._work = work
        self._running: set[asyncio.Task[ResultT]] = set()

    async def read(self) -> None:
        """Start the work on every item; ends `started` with `_End`."""
        error: BaseException | None = None
        try:
            while True:
                await self.places.acquire()  # before reading: see `in_order`
                item = await anext(self._items, _NOTHING)
                if item is _NOTHING:
                    break
                self._start(item)  # type: ignore[arg-type]  # the sentinel is excluded above
        except Exception as exc:
            error = exc
        self.started.put_nowait(_End(error))

    def _start(self, item: ItemT) -> None:
        async def run() -> ResultT:
            return await self._work(item)

        task = asyncio.create_task(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self.started.put_nowait(task)

    async def stop(self) -> None:
        """Cancel what is under way and wait for it."""
        tasks = list(self._running)
        while not self.started.empty():  # finished ones too: their errors count as seen
            entry = self.started.get_nowait()
            if not isinstance(entry, _End):
                tasks.append(entry)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_NOTHING: Final = object()
