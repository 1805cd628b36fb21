"""Control segmenters in whole campaigns, against fakes over real gRPC."""

import asyncio
from typing import Any

import pytest

from echoloop.v1 import common_pb2, trainer_pb2
from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.campaign import RetrainMode
from services.coordinator.domain.forecast import LabelForecast
from services.coordinator.domain.learning_curve import FitProblem, NoFit
from services.coordinator.domain.outlook import look_ahead, measures_of
from services.coordinator.domain.phase import Phase, PhaseState
from services.coordinator.domain.ports import PageRequest
from services.coordinator.domain.query_config import Arm, ColdStart, QueryConfig
from services.coordinator.domain.releases import ReleaseKind, ReleaseState
from services.coordinator.domain.savings import LabelSavings
from services.coordinator.driver import DRIVERS
from tests.unit.services.coordinator.driver.world import (
    TEST_FRAMES,
    World,
    eventually,
    small_config,
)

HALF = QueryConfig(control_share=0.5)


async def run_to_end(world: World, **changes: Any) -> str:
    campaign = world.start(small_config(**({"query": HALF, "label_budget": 16} | changes)))
    async with world.driving(), world.reading():
        await world.until_completed(campaign.id)
    return campaign.id


def phases_of(world: World, campaign_id: str) -> list[Phase]:
    return list(world.stores.phases.list(campaign_id, PageRequest(1000)).items)


def control_orders(world: World) -> list[trainer_pb2.StartRetrainingRequest]:
    """Every training ordered for a control segmenter, repeats left out."""
    orders = {order.request_id: order for order in world.trainer.orders}
    return [order for id, order in orders.items() if "-control-" in id]


async def test_each_phase_measures_a_segmenter_on_what_chance_chose(world: World) -> None:
    campaign_id = await run_to_end(world)

    phases = phases_of(world, campaign_id)
    # In phase 1 every label is random: the segmenter is its own control and nothing is trained.
    assert [phase.control_labeled for phase in phases] == [0, 4, 6, 8, 10]
    assert [bool(phase.control_release) for phase in phases] == [False, False, True, True, True]
    assert phases[1].control_iou == phases[1].test_iou
    curve = [world.trainer.iou(labels) for labels in (4, 6, 8, 10)]
    assert [phase.control_iou for phase in phases[1:]] == pytest.approx(curve)
    assert [phase.test_iou for phase in phases[1:]] == pytest.approx(
        [world.trainer.iou(labels) for labels in (4, 8, 12, 16)]
    )
    for phase in phases[1:]:
        frames = measures_of(world.stores, phase, Arm.CONTROL)
        assert len(frames) == TEST_FRAMES
        assert {frame.iou for frame in frames} == {phase.control_iou}


async def test_it_is_trained_like_the_segmenter_on_the_random_frames_only(world: World) -> None:
    campaign_id = await run_to_end(world)

    orders = control_orders(world)
    assert {order.kind for order in orders} == {common_pb2.RELEASE_KIND_SEGMENTER}
    by_chance = world.stores.phases.randomly_chosen(campaign_id, initial=True)
    assert len(by_chance) == 10
    for order in orders:
        assert {frame.frame_id for frame in order.frames} <= by_chance
    segmenters = [o for o in world.trainer.orders if "-segmenter-" in o.request_id]
    assert {o.config.preset for o in orders} == {o.config.preset for o in segmenters}
    seeds = [order.config.seed for order in (*orders, *segmenters)]
    assert len(set(seeds)) == len(seeds)


async def test_it_never_serves_and_leaves_triton_when_it_is_measured(world: World) -> None:
    # The more labels the worse, so that the control segmenters are the best of all.
    world.trainer.iou = lambda labels: 0.9 - labels / 100
    campaign_id = await run_to_end(world)

    releases = world.stores.releases.list(campaign_id, PageRequest(1000)).items
    controls = [release for release in releases if release.kind is ReleaseKind.CONTROL]
    assert len(controls) == 3
    assert {release.state for release in controls} == {ReleaseState.RETIRED}
    assert all(release.test_iou is not None for release in controls)
    assert world.stores.releases.serving("").segmenter.kind is ReleaseKind.SEGMENTER
    assert not {release.model.version for release in controls} & set(
        world.trainer.resident["lv_segmenter"]
    )


async def test_a_typical_cold_start_is_not_random(world: World) -> None:
    query = QueryConfig(control_share=0.5, cold_start=ColdStart.TYPICAL)
    campaign_id = await run_to_end(world, query=query)

    phases = phases_of(world, campaign_id)
    assert [phase.control_labeled for phase in phases] == [0, 0, 2, 4, 6]
    initial = world.stores.queries.batch(campaign_id, 0)
    assert initial is not None
    for order in control_orders(world):
        assert not {frame.frame_id for frame in order.frames} & set(initial.frame_ids)


async def test_without_a_share_there_is_no_control(world: World) -> None:
    campaign_id = await run_to_end(world, query=QueryConfig())

    assert not control_orders(world)
    assert {phase.control_iou for phase in phases_of(world, campaign_id)} == {None}


async def test_random_choice_is_its_own_control(world: World) -> None:
    campaign_id = await run_to_end(world, acquisition=AcquisitionFunction.RANDOM)

    assert not control_orders(world)
    phases = phases_of(world, campaign_id)
    assert [p.control_iou for p in phases] == [p.test_iou for p in phases]


async def test_a_warm_start_begins_with_the_control_before_never_with_the_campaigns(
    world: World,
) -> None:
    campaign_id = await run_to_end(world, retrain_mode=RetrainMode.WARM_START)

    phases = phases_of(world, campaign_id)
    release_of = world.stores.releases.get
    expected = [
        # Phase 1's segmenter has seen random labels only.
        release_of(phases[1].segmenter_release).model.version,
        release_of(phases[2].control_release).model.version,
        release_of(phases[3].control_release).model.version,
    ]
    assert [order.warm_start.version for order in control_orders(world)] == expected


async def test_a_phase_without_a_new_random_label_trains_no_control(world: World) -> None:
    # A share of a batch of 4 that rounds to none.
    campaign_id = await run_to_end(world, query=QueryConfig(control_share=0.1))

    assert [p.control_labeled for p in phases_of(world, campaign_id)] == [0, 4, 0, 0, 0]


async def test_a_failed_control_evaluation_is_repeated_on_resume(world: World) -> None:
    campaign = world.start(small_config(query=HALF, label_budget=8))
    async with world.driving(), world.reading():
        await world.until(
            campaign.id, lambda c: (c.phase, c.phase_state) == (2, PhaseState.TRAINING)
        )
        world.trainer.fail_next(trainer_pb2.JOB_KIND_EVALUATION, "TRITON", "Triton is full.")
        failed = await world.until_failed(campaign.id)
        assert failed.phase == 2
        world.resume(campaign.id)
        await world.until_completed(campaign.id)
    assert phases_of(world, campaign.id)[2].control_iou == pytest.approx(world.trainer.iou(6))


async def test_a_stop_cancels_the_control_job_too(world: World) -> None:
    campaign = world.start(small_config(query=HALF))
    async with world.driving(), world.reading():
        await world.until(
            campaign.id, lambda c: (c.phase, c.phase_state) == (1, PhaseState.ANNOTATING)
        )
        world.trainer.step_s = 30.0
        await eventually(lambda: phases_of(world, campaign.id)[-1].control_job)
        world.stores.campaigns.stop(campaign.id)
        world.notifier.notify(DRIVERS)
        cancelled = trainer_pb2.JOB_STATE_CANCELLED
        await eventually(lambda: [job.state for job in world.trainer.jobs[-3:]] == [cancelled] * 3)


@pytest.mark.parametrize("life_s", [0.02, 0.05])
async def test_kills_change_neither_control_sets_nor_what_is_measured(
    world: World, life_s: float
) -> None:
    world.trainer.step_s = world.uncertainty.frame_s = 0.003
    undisturbed = await run_to_end(world)
    jobs_before = len(world.trainer.jobs)

    campaign = world.start(small_config(query=HALF, label_budget=16))
    async with world.reading():
        for life in range(300):
            async with world.driving():
                await asyncio.sleep(life_s + 0.007 * (life % 9))
            world.restart()
            if world.stores.campaigns.get(campaign.id).stop_reason is not None:
                break

    assert len(world.trainer.jobs) - jobs_before == jobs_before
    assert [
        (p.control_labeled, p.control_iou, p.test_iou) for p in phases_of(world, campaign.id)
    ] == [(p.control_labeled, p.control_iou, p.test_iou) for p in phases_of(world, undisturbed)]


async def test_the_outlook_follows_from_what_was_measured(world: World) -> None:
    campaign_id = await run_to_end(world, target_iou=0.8, label_budget=20)

    campaign = world.stores.campaigns.get(campaign_id)
    outlook = look_ahead(world.stores, campaign)
    assert [point.labels for point in outlook.active] == [4, 8, 12, 16, 20]
    assert [point.labels for point in outlook.control] == [4, 6, 8, 10, 12]
    assert isinstance(outlook.forecast, LabelForecast)
    assert isinstance(outlook.savings, LabelSavings)
    # The fake trainer cares for the number of labels only, so nothing is saved.
    share = outlook.savings.measured.share
    assert share.low - 0.05 <= 0 <= share.high + 0.05


async def test_a_campaign_that_never_trained_has_no_outlook_but_a_reason(world: World) -> None:
    draft = world.stores.campaigns.create("draft", small_config())
    for campaign in (draft, world.start()):
        outlook = look_ahead(world.stores, campaign)
        assert isinstance(outlook.forecast, NoFit)
        assert outlook.forecast.problem is FitProblem.TOO_FEW_POINTS
        assert isinstance(outlook.savings, NoFit)
