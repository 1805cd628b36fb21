"""How many frames are worked on at a time, and who waits or is refused when that is too many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.platform.errors import OverloadedError

__all__ = ["Admission", "GatewayOverloaded"]


class GatewayOverloaded(OverloadedError):
    """More requests wait than the gateway is allowed to hold."""


class Admission:
    """A bounded number of places, and a bounded number of single requests waiting for one.

    Frames of clips wait without being counted: their stream's window bounds them, and a clip that
    waits just stops reading. For use on one event loop.

    Args:
        places: Frames worked on at a time.
        waiting: Single requests that may wait for a place.
        clips: Clip streams at a time.
    """

    def __init__(self, *, places: int, waiting: int, clips: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._waiting = waiting
        self._clips = clips
        self._waiting_now = 0
        self._clips_now = 0

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Hold a place for a single request.

        Raises:
            GatewayOverloaded: Too many wait already.
        """
        if self._places.locked():
            if self._waiting_now >= self._waiting:
                raise GatewayOverloaded(
                    f"The gateway is busy and {self._waiting_now} requests wait, which is the "
                    "limit. Retry with back-off."
                )
            self._waiting_now += 1
            try:
                await self._places.acquire()
            finally:
                self._waiting_now -= 1
        else:
            await self._places.acquire()  # free: does not suspend
        try:
            yield
        finally:
            self._places.release()

    @asynccontextmanager
    async def clip_frame(self) -> AsyncIterator[None]:
        """Hold a place for a frame of a clip."""
        async with self._places:
            yield

    @asynccontextmanager
    async def clip(self) -> AsyncIterator[None]:
        """Hold one of the clip streams.

        Raises:
            GatewayOverloaded: Too many clips.
        """
        if self._clips_now >= self._clips:
            raise GatewayOverloaded(
                f"{self._clips_now} clips are being segmented, which is the limit. Retry later."
            )
        self._clips_now += 1
        try:
            yield
        finally:
            self._clips_now -= 1
