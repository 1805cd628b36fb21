"""Watch streams: now, and again at every change."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final, TypeVar

from services.coordinator.driver.notifier import ChangeNotifier
from services.platform.errors import UnavailableError

__all__ = ["watch"]

_Snapshot = TypeVar("_Snapshot")

_COALESCE_S: Final = 0.05
"""Changes closer together are sent as one: a watcher wants the state, not every step to it."""


async def watch(
    notifier: ChangeNotifier,
    topic: str,
    read: Callable[[], _Snapshot],
    *,
    poll_s: float,
    ended: Callable[[_Snapshot], bool] = lambda _: False,
) -> AsyncGenerator[_Snapshot]:
    """Yield what `read` returns now and each time it differs, until `ended`.

    Args:
        notifier: Wakes the stream.
        topic: Of the changes.
        read: Called in a thread; returns something comparable.
        poll_s: How often to look without a notice, for changes of other processes.
        ended: Whether a snapshot is the last one.

    Raises:
        UnavailableError: The process drains; watch again, another one answers.
    """
    last: _Snapshot | None = None
    while True:
        mark = notifier.mark(topic)
        snapshot = await asyncio.to_thread(read)
        if snapshot != last:
            last = snapshot
            yield snapshot
            if ended(snapshot):
                return
            await asyncio.sleep(_COALESCE_S)
        if notifier.closed:
            raise UnavailableError("The coordinator is being stopped or restarted. Watch again.")
        await notifier.wait(topic, mark, poll_s)
