import asyncio

import pytest

from services.coordinator.driver import ChangeNotifier


async def test_a_notice_wakes_everyone_who_waits_for_its_topic() -> None:
    notifier = ChangeNotifier()
    waiters = [asyncio.create_task(notifier.wait("a", 0)) for _ in range(3)]
    other = asyncio.create_task(notifier.wait("b", 0))
    await asyncio.sleep(0)
    notifier.notify("a")
    assert await asyncio.gather(*waiters) == [True] * 3
    assert not other.done()
    other.cancel()


async def test_a_notice_between_reading_and_waiting_is_not_missed() -> None:
    notifier = ChangeNotifier()
    mark = notifier.mark("a")
    notifier.notify("a")
    assert await notifier.wait("a", mark, timeout_s=0)


async def test_waiting_ends_with_its_time_and_leaves_nothing_behind() -> None:
    notifier = ChangeNotifier()
    assert not await notifier.wait("a", 0, timeout_s=0.01)
    assert not notifier._waiting


async def test_a_cancellation_that_meets_a_notice_is_not_swallowed() -> None:
    notifier = ChangeNotifier()
    waiter = asyncio.create_task(notifier.wait("a", 0, timeout_s=5))
    await asyncio.sleep(0)
    notifier.notify("a")
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_closing_wakes_everyone_once() -> None:
    notifier = ChangeNotifier()
    waiter = asyncio.create_task(notifier.wait("a", 0))
    await asyncio.sleep(0)
    notifier.close()
    assert await waiter
    assert notifier.closed
    assert not await notifier.wait("a", notifier.mark("a"), timeout_s=0.01)
