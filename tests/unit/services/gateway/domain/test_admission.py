"""Bounded work."""

import asyncio

import pytest

from services.gateway.domain.admission import Admission, GatewayOverloaded


async def hold(admission: Admission, gate: asyncio.Event) -> None:
    async with admission.request():
        await gate.wait()


async def test_requests_beyond_places_and_waiting_are_refused_and_the_rest_served() -> None:
    admission, gate = Admission(places=2, waiting=3, clips=1), asyncio.Event()
    holders = [asyncio.create_task(hold(admission, gate)) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(GatewayOverloaded, match="3 requests wait"):
        await hold(admission, gate)
    gate.set()
    await asyncio.gather(*holders)
    await hold(admission, gate)


async def test_a_waiting_request_that_is_cancelled_makes_room() -> None:
    admission, gate = Admission(places=1, waiting=1, clips=1), asyncio.Event()
    holder = asyncio.create_task(hold(admission, gate))
    waiting = asyncio.create_task(hold(admission, gate))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    second = asyncio.create_task(hold(admission, gate))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(holder, second)


async def test_clip_frames_wait_and_are_never_refused() -> None:
    admission, gate = Admission(places=1, waiting=0, clips=1), asyncio.Event()
    holder = asyncio.create_task(hold(admission, gate))
    await asyncio.sleep(0)

    async def frame() -> None:
        async with admission.clip_frame():
            pass

    frames = [asyncio.create_task(frame()) for _ in range(20)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(holder, *frames)


async def test_more_clips_than_allowed_are_refused() -> None:
    admission = Admission(places=1, waiting=0, clips=1)
    async with admission.clip():
        with pytest.raises(GatewayOverloaded, match="clips"):
            async with admission.clip():
                pass
    async with admission.clip():
        pass
