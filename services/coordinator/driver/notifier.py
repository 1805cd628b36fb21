"""Change notices between the tasks of one process, without polling."""

import asyncio
from collections import defaultdict
from typing import Final

__all__ = ["DRIVERS", "SERVING", "ChangeNotifier", "readers_of"]

DRIVERS: Final = "drivers"
"""Topic: a campaign was started, paused, resumed or stopped, or its driver ended."""

SERVING: Final = "serving"
"""Topic: a release was recorded, promoted or rolled back."""


def readers_of(campaign_id: str) -> str:
    """Return the topic of a campaign's annotation requests, apart from that of its progress."""
    return f"{campaign_id}/readers"


class ChangeNotifier:
    """Wakes tasks that wait for a topic to change: a campaign id, or one of this module's.

    A notice carries no content: whoever wakes reads the store. Waiting is by counter, so a notice
    between reading and waiting is never missed. Use from the event loop's thread only. Changes
    that another process makes are not noticed; give `wait` a timeout to look for those.

    Attributes:
        closed: The process drains: watches end instead of waiting on.
    """

    def __init__(self) -> None:
        self.closed = False
        self._counters: defaultdict[str, int] = defaultdict(int)
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def close(self) -> None:
        """Set `closed` and wake everyone, so that watches see it."""
        self.closed = True
        for topic in list(self._waiting):
            self.notify(topic)

    def mark(self, topic: str) -> int:
        """Return the topic's counter; take it before reading the store."""
        return self._counters.get(topic, 0)

    def notify(self, topic: str) -> None:
        """Wake everyone who waits for the topic."""
        self._counters[topic] += 1
        for future in self._waiting.pop(topic, ()):
            if not future.done():
                future.set_result(None)

    async def wait(self, topic: str, mark: int, timeout_s: float | None = None) -> bool:
        """Wait until the topic changed after `mark`; at once when it has.

        Returns:
            False when the time ran out first.
        """
        if self.mark(topic) != mark:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[topic].add(future)
        try:
            # Not `wait_for`: before Python 3.12 it can swallow a cancellation.
            done, _ = await asyncio.wait((future,), timeout=timeout_s)
        finally:
            waiting = self._waiting.get(topic)
            if waiting is not None:
                waiting.discard(future)
                if not waiting:
                    del self._waiting[topic]
        return bool(done)
