"""Batches bounded in size and time."""

import asyncio
import time

from services.uncertainty.domain.batching import BatchQueue


async def batches(queue: BatchQueue[int]) -> list[list[int]]:
    found = []
    while (first := await queue.first()) is not None:
        found.append(await queue.fill(first))
    return found


async def test_what_is_queued_goes_out_in_full_batches_and_the_rest() -> None:
    queue: BatchQueue[int] = BatchQueue(4, 1.0)
    for item in range(10):
        queue.put(item)
    queue.close()
    assert await batches(queue) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_a_lonely_item_waits_no_longer_than_the_delay() -> None:
    queue: BatchQueue[int] = BatchQueue(4, 0.05)
    queue.put(1)
    started = time.monotonic()
    first = await queue.first()
    assert first is not None
    assert await queue.fill(first) == [1]
    assert 0.04 < time.monotonic() - started < 1.0


async def test_what_comes_within_the_delay_joins_the_batch() -> None:
    queue: BatchQueue[int] = BatchQueue(2, 10.0)
    queue.put(1)
    asyncio.get_running_loop().call_later(0.02, queue.put, 2)
    assert await queue.first() == 1
    assert await queue.fill(1) == [1, 2]


async def test_a_batch_whose_turn_came_late_takes_all_that_waits() -> None:
    queue: BatchQueue[int] = BatchQueue(8, 0.01)
    for item in range(5):
        queue.put(item)
    first = await queue.first()
    assert first is not None
    await asyncio.sleep(0.03)
    assert await queue.fill(first) == [0, 1, 2, 3, 4]


async def test_a_closed_queue_stays_closed() -> None:
    queue: BatchQueue[int] = BatchQueue(8, 0.01)
    queue.close()
    assert await queue.first() is None
    assert await queue.first() is None
