"""Results in the order of their items."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.domain.clip import in_order


class Items:
    """Counts what was read; may end with an error."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.read = 0
        self._count = count
        self._error = error

    async def __aiter__(self) -> AsyncIterator[int]:
        for number in range(self._count):
            self.read += 1
            yield number
        if self._error:
            raise self._error


async def collect(items: Items, work: Callable[[int], Awaitable[int]], window: int) -> list[int]:
    async with aclosing(in_order(aiter(items), work, window=window)) as results:
        return [result async for result in results]


@given(delays=st.lists(st.integers(0, 3), max_size=30), window=st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_results_keep_the_order_whatever_finishes_first(delays: list[int], window: int) -> None:
    async def run() -> None:
        running = most = 0

        async def work(item: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(delays[item] / 1000)
            running -= 1
            return item

        assert await collect(Items(len(delays)), work, window) == list(range(len(delays)))
        assert most <= window

    asyncio.run(run())


async def test_the_first_result_comes_while_the_second_is_under_way() -> None:
    gate = asyncio.Event()

    async def work(item: int) -> int:
        if item == 1:
            await gate.wait()
        return item

    async with aclosing(in_order(aiter(Items(3)), work, window=4)) as results:
        assert await anext(results) == 0
        gate.set()
        assert [result async for result in results] == [1, 2]


async def test_no_item_is_read_beyond_results_that_were_not_taken() -> None:
    items = Items(50)

    async def work(item: int) -> int:
        return item

    async with aclosing(in_order(aiter(items), work, window=3)) as results:
        await anext(results)
        await asyncio.sleep(0.05)
        assert items.read == 3


async def test_an_error_of_the_work_comes_after_the_results_before_it() -> None:
    seen = []

    async def work(item: int) -> int:
        if item == 3:
            raise ValueError("frame 3")
        return item

    with pytest.raises(ValueError, match="frame 3"):
        async with aclosing(in_order(aiter(Items(20)), work, window=4)) as results:
            async for result in results:
                seen.append(result)
    assert seen == [0, 1, 2]


async def test_an_error_of_the_items_comes_after_all_results() -> None:
    seen = []

    async def work(item: int) -> int:
        await asyncio.sleep(0.005)
        return item

    with pytest.raises(ValueError, match="stream"):
        items = Items(5, ValueError("stream"))
        async with aclosing(in_order(aiter(items), work, window=8)) as results:
            async for result in results:
                seen.append(result)
    assert seen == [0, 1, 2, 3, 4]


async def test_a_caller_who_leaves_cancels_the_work() -> None:
    cancelled = 0

    async def work(item: int) -> int:
        nonlocal cancelled
        if item == 0:
            return item
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return item

    async with aclosing(in_order(aiter(Items(50)), work, window=4)) as results:
        await anext(results)
        await asyncio.sleep(0.02)
    assert cancelled == 3
