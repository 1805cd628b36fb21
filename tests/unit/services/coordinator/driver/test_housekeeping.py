import asyncio

from services.coordinator.domain.annotation import AnnotationState
from services.coordinator.domain.phase import PhaseState
from services.coordinator.driver import readers_of
from services.coordinator.driver.housekeeping import keep_house
from tests.unit.services.coordinator.driver.world import World, small_config


async def test_expired_leases_return_to_the_queue_and_are_noticed(world: World) -> None:
    campaign = world.start(small_config(lease_s=1))
    async with world.driving():
        await world.until(campaign.id, lambda c: c.phase_state is PhaseState.ANNOTATING)
    assert len(world.stores.annotations.pull(campaign.id, "ana", 2)) == 2
    mark = world.notifier.mark(readers_of(campaign.id))
    sweeping = asyncio.create_task(keep_house(world.stores, world.notifier, every_s=0.05))
    assert await world.notifier.wait(readers_of(campaign.id), mark, 10)
    sweeping.cancel()

    counts = world.stores.annotations.count_by_state(campaign.id)
    assert counts[AnnotationState.PENDING] == 4
    assert counts[AnnotationState.LEASED] == 0
