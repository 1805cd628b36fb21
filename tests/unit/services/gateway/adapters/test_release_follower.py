"""What serves, learned from a coordinator that comes and goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import pytest

from services.gateway.adapters.release_follower import FollowerTimes, ReleaseFollower
from services.gateway.domain.errors import NoServingRelease
from services.gateway.domain.ports import Stage
from services.gateway.domain.releases import Serving
from services.gateway.fake_coordinator import FakeCoordinator, serve_fake_coordinator
from services.platform.channels import open_channel
from services.platform.errors import NotFoundError, UnavailableError
from services.platform.server import background

TIMES = FollowerTimes(
    call_timeout_s=0.5, campaign_ttl_s=10.0, min_backoff_s=0.02, max_backoff_s=0.1
)


class Observer:
    """Notes what serves and whether the coordinator is heard."""

    def __init__(self) -> None:
        self.connected: list[bool] = []
        self.seen: list[Serving | None] = []

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        return nullcontext()

    def frame(self, outcome: str) -> None: ...

    def unexpected(self, error: Exception) -> None: ...

    def serving(self, serving: Serving | None) -> None:
        self.seen.append(serving)

    def coordinator(self, *, connected: bool) -> None:
        self.connected.append(connected)


class Clock:
    """Moves by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A follower and what it follows."""

    def __init__(self, follower: ReleaseFollower, clock: Clock, observer: Observer) -> None:
        self.follower, self.clock, self.observer = follower, clock, observer

    async def version(self, campaign: str = "") -> int:
        return (await self.follower.serving(campaign)).segmenter.model.version

    async def until(self, version: int) -> None:
        async with asyncio.timeout(10):
            while await self.version() != version:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@asynccontextmanager
async def following(target: str) -> AsyncIterator[Bench]:
    clock, observer = Clock(), Observer()
    async with open_channel(target, retries=False) as channel:
        follower = ReleaseFollower(channel, times=TIMES, observer=observer, clock=clock)
        async with background(follower.follow()):
            yield Bench(follower, clock, observer)


@pytest.fixture
async def coordinator() -> AsyncIterator[FakeCoordinator]:
    async with serve_fake_coordinator() as fake:
        fake.serve(1, 1)
        yield fake


async def test_every_switch_is_learned_without_asking(coordinator: FakeCoordinator) -> None:
    async with following(coordinator.target) as bench:
        for version in (1, 2, 3):
            coordinator.serve(version)
            await bench.until(version)
        assert coordinator.gets == 0
        coordinator.serve(None)
        async with asyncio.timeout(5):
            with pytest.raises(NoServingRelease, match="No release serves yet"):
                while True:
                    await bench.version()
                    await asyncio.sleep(0.01)


async def test_a_coordinator_that_was_never_heard_is_named_as_the_reason() -> None:
    async with following("127.0.0.1:9") as bench:
        with pytest.raises(NoServingRelease, match="not yet heard"):
            await bench.version()
        assert bench.observer.connected[-1] is False


async def test_a_coordinator_that_went_down_is_found_again() -> None:
    async with serve_fake_coordinator() as first:
        first.serve(1)
        async with following(first.target) as bench:
            await bench.until(1)
            first.down = True
            first.change()
            async with asyncio.timeout(5):
                while bench.observer.connected[-1]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert await bench.version() == 1
            first.down = False
            first.serve(2)
            await bench.until(2)


async def test_the_release_of_a_campaign_is_kept_for_its_time_and_then_asked_for_anew(
    coordinator: FakeCoordinator,
) -> None:
    coordinator.serve(5, campaign="c")
    async with following(coordinator.target) as bench:
        assert await bench.version("c") == 5
        coordinator.serve(6, campaign="c")
        assert await bench.version("c") == 5
        bench.clock.now_s = 11.0
        assert await bench.version("c") == 6
        assert coordinator.gets == 2


async def test_the_release_of_a_campaign_outlives_the_coordinator(
    coordinator: FakeCoordinator,
) -> None:
    coordinator.serve(5, campaign="c")
    async with following(coordinator.target) as bench:
        assert await bench.version("c") == 5
        coordinator.down = True
        bench.clock.now_s = 11.0
        assert await bench.version("c") == 5
        with pytest.raises(UnavailableError):
            await bench.version("never asked for")


async def test_a_campaign_without_champion_serves_nothing_and_an_unknown_one_is_not_found(
    coordinator: FakeCoordinator,
) -> None:
    coordinator.serve(None, campaign="young")
    async with following(coordinator.target) as bench:
        with pytest.raises(NoServingRelease):
            await bench.version("young")
        with pytest.raises(NotFoundError) as caught:
            await bench.version("nobody")
        assert caught.value.reason == "CAMPAIGN_NOT_FOUND"


async def test_a_refresh_asks_once_for_all_who_met_the_switch(
    coordinator: FakeCoordinator,
) -> None:
    async with following(coordinator.target) as bench:
        stale = await bench.follower.serving("")
        coordinator.serve(2, silently=True)
        answers = await asyncio.gather(*(bench.follower.refresh("", stale) for _ in range(20)))
        assert {answer.segmenter.model.version for answer in answers} == {2}
        assert coordinator.gets == 1


async def test_a_refresh_without_coordinator_knows_nothing_better(
    coordinator: FakeCoordinator,
) -> None:
    async with following(coordinator.target) as bench:
        stale = await bench.follower.serving("")
        coordinator.down = True
        assert await bench.follower.refresh("", stale) == stale
