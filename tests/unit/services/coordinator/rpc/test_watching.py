import asyncio
from contextlib import aclosing

import pytest

from services.coordinator.driver import ChangeNotifier
from services.coordinator.rpc.watching import watch
from services.platform.errors import UnavailableError


async def test_the_state_is_sent_now_and_at_every_difference_until_it_ends() -> None:
    notifier = ChangeNotifier()
    state = [1]
    seen: list[int] = []
    async with aclosing(
        watch(notifier, "a", lambda: state[0], poll_s=10, ended=lambda value: value == 3)
    ) as values:
        async for value in values:
            seen.append(value)
            notifier.notify("a")  # without a difference: not sent
            asyncio.get_running_loop().call_later(0.1, state.__setitem__, 0, value + 1)
            asyncio.get_running_loop().call_later(0.1, notifier.notify, "a")
    assert seen == [1, 2, 3]


async def test_a_change_without_notice_is_found_by_looking() -> None:
    state = [1]
    async with aclosing(watch(ChangeNotifier(), "a", lambda: state[0], poll_s=0.02)) as values:
        assert await anext(values) == 1
        state[0] = 2
        assert await anext(values) == 2


async def test_a_drain_ends_the_watch_as_unavailable() -> None:
    notifier = ChangeNotifier()
    async with aclosing(watch(notifier, "a", lambda: 1, poll_s=10)) as values:
        await anext(values)
        asyncio.get_running_loop().call_later(0.1, notifier.close)
        with pytest.raises(UnavailableError):
            await anext(values)
