"""Campaigns that choose by vectors, by chance or by function, through the driver."""

from functools import partial
from typing import Any

import pytest

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.campaign import StopReason
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import PageRequest
from services.coordinator.domain.query_config import ColdStart, QueryConfig, QueryStrategy
from services.coordinator.domain.querying import verify_batch
from tests.unit.services.coordinator.driver.world import (
    TRAIN_FRAMES,
    World,
    eventually,
    small_config,
)

COVERAGE = QueryConfig(strategy=QueryStrategy.COVERAGE, shortlist=2)
TYPICAL = QueryConfig(cold_start=ColdStart.TYPICAL)


async def run_to_end(world: World, **changes: Any) -> str:
    campaign = world.start(small_config(**changes))
    async with world.driving(), world.reading():
        await world.until_completed(campaign.id)
    return campaign.id


def fetched_at_least(world: World, count: int) -> bool:
    return len(world.uncertainty.embedded + world.uncertainty.described) >= count


def check(world: World, campaign_id: str) -> None:
    """Every batch is what its evidence gives, and every label belongs to a batch."""
    batches = world.batches(campaign_id)
    assert all(verify_batch(world.stores, campaign_id, n).verified for n in range(len(batches)))
    assert world.labels(campaign_id) == {frame for batch in batches for frame in batch}


@pytest.mark.parametrize(
    "query",
    [
        QueryConfig(strategy=QueryStrategy.POWER, max_per_patient=1),
        COVERAGE,
        TYPICAL,
        QueryConfig(
            strategy=QueryStrategy.COVERAGE, cold_start=ColdStart.TYPICAL, control_share=0.25
        ),
    ],
    ids=["power", "coverage", "typical", "all"],
)
async def test_a_campaign_of_any_strategy_runs_to_its_budget(
    world: World, query: QueryConfig
) -> None:
    campaign_id = await run_to_end(world, query=query)

    campaign = world.stores.campaigns.get(campaign_id)
    assert campaign.stop_reason is StopReason.BUDGET_EXHAUSTED
    assert campaign.labeled == 12
    check(world, campaign_id)


async def test_only_the_shortlist_and_the_labeled_frames_are_embedded(world: World) -> None:
    campaign_id = await run_to_end(world, label_budget=8, query=COVERAGE)

    # Phase 1: 2 x 4 of the most uncertain, and the 4 labeled ones.
    assert len(world.uncertainty.embedded) == 12
    assert world.stores.embeddings.frame_ids(campaign_id, 1) == set(world.uncertainty.embedded)
    assert len(world.uncertainty.scored) == TRAIN_FRAMES - 4
    check(world, campaign_id)


async def test_a_frame_that_gives_no_vector_is_left_out(world: World) -> None:
    campaign = world.start(small_config(label_budget=8, query=COVERAGE))
    async with world.driving(), world.reading():
        await world.until(campaign.id, lambda c: c.phase_state is PhaseState.SCORING)
        world.uncertainty.frame_s = 0.01
        await eventually(lambda: len(world.uncertainty.scored) == TRAIN_FRAMES - 4)
        frame_ids, values = world.stores.scores.values(campaign.id, 1)
        world.uncertainty.broken = {frame_ids[int(values.argmax())]}
        await world.until_completed(campaign.id)

    assert world.uncertainty.broken
    assert not world.labels(campaign.id) & world.uncertainty.broken
    check(world, campaign.id)


async def test_when_no_frame_can_be_described_the_step_fails_and_resumes(world: World) -> None:
    world.uncertainty.all_broken = True
    campaign = world.start(small_config(label_budget=8, query=TYPICAL))
    async with world.driving(), world.reading():
        failed = await world.until_failed(campaign.id)
        assert "The PNG cannot be decoded." in failed.failure
        world.uncertainty.all_broken = False
        world.resume(campaign.id)
        await world.until_completed(campaign.id)
    check(world, campaign.id)


@pytest.mark.parametrize("query", [COVERAGE, TYPICAL], ids=["coverage", "typical"])
async def test_vectors_fetched_before_the_service_fell_silent_are_not_fetched_again(
    world: World, query: QueryConfig
) -> None:
    world.uncertainty.down_after_vectors = 7
    campaign = world.start(small_config(label_budget=8, query=query))
    async with world.driving(), world.reading():
        await eventually(lambda: world.uncertainty.down)
        world.uncertainty.down = False
        await world.until_completed(campaign.id)

    fetched = world.uncertainty.embedded + world.uncertainty.described
    assert len(fetched) == len(set(fetched)) == (12 if query is COVERAGE else TRAIN_FRAMES)
    check(world, campaign.id)


@pytest.mark.parametrize("query", [COVERAGE, TYPICAL], ids=["coverage", "typical"])
async def test_a_coordinator_killed_while_it_fetches_vectors_chooses_the_same(
    world: World, query: QueryConfig
) -> None:
    undisturbed = await run_to_end(world, label_budget=8, query=query)
    world.uncertainty.embedded.clear()
    world.uncertainty.described.clear()
    campaign = world.start(small_config(label_budget=8, query=query))
    world.uncertainty.frame_s = 0.02
    for life in range(1, 4):
        async with world.driving(), world.reading():
            await eventually(partial(fetched_at_least, world, 3 * life))
        world.restart()
    world.uncertainty.frame_s = 0.0
    async with world.driving(), world.reading():
        await world.until_completed(campaign.id)

    assert world.batches(campaign.id) == world.batches(undisturbed)
    check(world, campaign.id)


async def test_auto_settles_its_function_before_it_scores(world: World) -> None:
    campaign_id = await run_to_end(
        world, acquisition=AcquisitionFunction.AUTO, label_budget=24, query_size=4
    )

    phases = world.stores.phases.list(campaign_id, PageRequest()).items
    used = [phase.acquisition for phase in phases[1:6]]
    assert len(set(used[:4])) == 4
    assert AcquisitionFunction.AUTO not in used
    assert sorted(world.stores.choices.arms(campaign_id)) == [1, 2, 3, 4, 5]
    for number in range(1, 6):
        batch = world.stores.queries.batch(campaign_id, number)
        frame_ids, values = world.stores.scores.values(campaign_id, number)
        assert batch is not None
        best = sorted(zip(-values, frame_ids, strict=True))[: len(batch.frame_ids)]
        assert batch.frame_ids == tuple(frame_id for _, frame_id in best)
    check(world, campaign_id)
