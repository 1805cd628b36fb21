"""Batches bounded in size and in the time that their first item waits."""

import asyncio
from typing import Generic, TypeVar

__all__ = ["BatchQueue"]

ItemT = TypeVar("ItemT")


class BatchQueue(Generic[ItemT]):
    """Collects items of many producers into batches for one consumer, on one event loop.

    The consumer takes a batch in two steps, so that it can wait for its turn in between while the
    batch goes on filling up:

        while (first := await queue.first()) is not None:
            await turn()
            batch = await queue.fill(first)

    Args:
        max_size: Most items of a batch.
        max_delay_s: How long a batch waits for more items, counted from its first.
    """

    def __init__(self, max_size: int, max_delay_s: float) -> None:
        self._max_size = max_size
        self._max_delay_s = max_delay_s
        self._items: asyncio.Queue[ItemT | None] = asyncio.Queue()
        self._closed = False
        self._deadline_s = 0.0

    def put(self, item: ItemT) -> None:
        """Add an item. The caller bounds how many there are."""
        self._items.put_nowait(item)

    def close(self) -> None:
        """State that no more items come; what is queued still goes out."""
        self._items.put_nowait(None)

    async def first(self) -> ItemT | None:
        """Return the first item of the next batch, or None once closed and drained."""
        if self._closed:
            return None
        item = await self._items.get()
        self._closed = item is None
        self._deadline_s = asyncio.get_running_loop().time() + self._max_delay_s
        return item

    async def fill(self, first: ItemT) -> list[ItemT]:
        """Return the batch that begins with `first`; what is queued joins even after the delay."""
        batch = [first]
        try:
            async with asyncio.timeout_at(self._deadline_s):
                while len(batch) < self._max_size and not self._closed:
                    item = await self._items.get()
                    if item is None:
                        self._closed = True
                    else:
                        batch.append(item)
        except TimeoutError:
            pass
        return batch
