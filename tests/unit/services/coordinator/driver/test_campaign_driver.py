"""Whole campaigns through the driver, against fakes over real gRPC."""

import asyncio
from typing import Any

import numpy as np
import pytest

from echoloop.v1 import common_pb2, trainer_pb2
from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.annotation import SkipReason
from services.coordinator.domain.campaign import (
    Architecture,
    CampaignState,
    Hyperparameters,
    RetrainMode,
    StopReason,
)
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import PageRequest
from services.coordinator.domain.querying import verify_batch
from services.coordinator.domain.releases import ReleaseState
from services.coordinator.driver import DRIVERS
from services.platform.masks import encode_mask_png
from tests.unit.services.coordinator.driver.world import (
    TEST_FRAMES,
    TRAIN_FRAMES,
    World,
    eventually,
    small_config,
)


async def run_to_end(world: World, **changes: Any) -> str:
    campaign = world.start(small_config(**changes))
    async with world.driving(), world.reading():
        await world.until_completed(campaign.id)
    return campaign.id


async def test_a_campaign_runs_to_its_budget(world: World) -> None:
    campaign_id = await run_to_end(world)

    campaign = world.stores.campaigns.get(campaign_id)
    assert campaign.stop_reason is StopReason.BUDGET_EXHAUSTED
    assert (campaign.phase, campaign.phase_state) == (3, PhaseState.COMPLETE)
    assert campaign.labeled == 12
    phases = world.stores.phases.list(campaign_id, PageRequest()).items
    assert [phase.labeled for phase in phases] == [0, 4, 8, 12]
    assert [phase.queried for phase in phases] == [4, 4, 4, 0]
    assert all(phase.test_iou is not None for phase in phases[1:])
    assert [len(batch) for batch in world.batches(campaign_id)] == [4, 4, 4]
    assert world.labels(campaign_id) == {f for batch in world.batches(campaign_id) for f in batch}
    assert all(verify_batch(world.stores, campaign_id, number).verified for number in range(3))


async def test_networks_and_hyperparameters_reach_every_training(world: World) -> None:
    await run_to_end(
        world,
        label_budget=8,
        segmenter=Architecture("PAN", "tu-regnety_002", "imagenet"),
        segmenter_hyperparameters=Hyperparameters(1e-5, 4, 160),
        uncertainty_hyperparameters=Hyperparameters(batch_size=16),
    )

    by_kind = {order.kind: order.config for order in world.trainer.orders}
    segmenter = by_kind[common_pb2.RELEASE_KIND_SEGMENTER]
    assert segmenter.architecture.encoder == "tu-regnety_002"
    assert (segmenter.learning_rate, segmenter.batch_size, segmenter.image_size) == (1e-5, 4, 160)
    uncertainty = by_kind[common_pb2.RELEASE_KIND_UNCERTAINTY]
    assert not uncertainty.HasField("architecture")
    assert not uncertainty.HasField("learning_rate")
    assert (uncertainty.batch_size, uncertainty.image_size) == (16, 0)


async def test_the_moves_of_a_phase_are_those_of_the_design(world: World) -> None:
    campaign_id = await run_to_end(world, label_budget=8)

    moves = world.stores.phases.history(campaign_id, PageRequest(1000)).items
    assert [(move.phase, move.to_state.value) for move in moves] == [
        (0, "selecting"),
        (0, "annotating"),
        (0, "complete"),
        (1, "training"),
        (1, "evaluating"),
        (1, "scoring"),
        (1, "selecting"),
        (1, "annotating"),
        (1, "complete"),
        (2, "training"),
        (2, "evaluating"),
        (2, "complete"),
    ]


async def test_the_same_seed_and_data_give_the_same_query_batches(world: World) -> None:
    first = await run_to_end(world)
    second = await run_to_end(world)
    other = await run_to_end(world, seed=8)

    assert world.batches(first) == world.batches(second)
    assert world.batches(first) != world.batches(other)


async def test_reaching_the_target_ends_the_campaign(world: World) -> None:
    campaign_id = await run_to_end(world, target_iou=0.5, label_budget=0)

    campaign = world.stores.campaigns.get(campaign_id)
    assert campaign.stop_reason is StopReason.TARGET_REACHED
    assert campaign.test_iou is not None
    assert campaign.test_iou >= 0.5


async def test_an_empty_pool_ends_the_campaign(world: World) -> None:
    campaign_id = await run_to_end(world, query_size=50, label_budget=0)

    campaign = world.stores.campaigns.get(campaign_id)
    assert campaign.stop_reason is StopReason.POOL_EXHAUSTED
    assert campaign.labeled == TRAIN_FRAMES


async def test_random_choice_scores_nothing_but_has_proposals(world: World) -> None:
    campaign = world.start(small_config(acquisition=AcquisitionFunction.RANDOM))
    async with world.driving():
        async with world.reading():
            await world.until(campaign.id, lambda c: c.phase == 1)
        await world.until(campaign.id, lambda c: c.phase_state is PhaseState.ANNOTATING)

    assert world.uncertainty.scored == []
    (*_, last) = world.stores.annotations.list(campaign.id, None, PageRequest(1000)).items
    assert last.phase == 1
    assert last.proposal_ref
    assert last.uncertainty_ref


async def test_every_unlabeled_frame_is_scored_once_a_phase(world: World) -> None:
    campaign_id = await run_to_end(world, label_budget=8)

    assert len(world.uncertainty.scored) == TRAIN_FRAMES - 4
    assert len(set(world.uncertainty.scored)) == TRAIN_FRAMES - 4
    assert world.stores.scores.progress(campaign_id, 1).remaining == 0


async def test_imported_masks_fill_the_initial_query(world: World) -> None:
    world.import_echo("half-masked", masked_train_frames=3)
    campaign_id = await run_to_end(world, dataset="half-masked", label_budget=8)

    requests = world.stores.annotations.list(campaign_id, None, PageRequest(1000)).items
    assert [request.phase for request in requests] == [0, 1, 1, 1, 1]


async def test_an_initial_query_that_imported_masks_fill_asks_nobody(world: World) -> None:
    world.import_echo("masked", masked_train_frames=5)
    campaign_id = await run_to_end(world, dataset="masked", label_budget=4)

    assert world.stores.annotations.list(campaign_id, None, PageRequest(1000)).items == ()
    assert world.stores.campaigns.get(campaign_id).labeled == 4


async def test_a_frame_that_cannot_be_scored_blocks_nothing(world: World) -> None:
    campaign = world.start(small_config(label_budget=8))
    page = world.stores.queries.candidates(campaign.id, 0)
    broken = [candidate.frame_id for candidate in page][:3]
    world.uncertainty.broken.update(broken)
    async with world.driving(), world.reading():
        await world.until_completed(campaign.id)

    chosen = set(world.batches(campaign.id)[1])
    assert not chosen & set(broken)
    failed = world.stores.scores.progress(campaign.id, 1).failed
    assert failed == len(set(broken) - set(world.batches(campaign.id)[0]))


async def test_when_no_frame_can_be_scored_the_phase_fails_and_a_resume_tries_all_again(
    world: World,
) -> None:
    campaign = world.start(small_config(label_budget=8))
    world.uncertainty.all_broken = True
    async with world.driving(), world.reading():
        failed = await world.until_failed(campaign.id)
        assert failed.phase == 1
        assert "could be scored" in failed.failure
        world.uncertainty.all_broken = False
        world.resume(campaign.id)
        done = await world.until_completed(campaign.id)

    assert done.failure == ""
    assert world.stores.scores.progress(campaign.id, 1).failed == 0


async def test_the_segmenter_is_promoted_while_it_is_not_worse(world: World) -> None:
    campaign_id = await run_to_end(world)

    releases = world.stores.releases.list(campaign_id, PageRequest()).items
    by_phase = {
        release.phase: release for release in releases if release.model.model == "lv_segmenter"
    }
    assert by_phase[3].state is ReleaseState.CHAMPION
    assert by_phase[2].state is ReleaseState.RETIRED
    assert world.stores.releases.serving("").segmenter.id == by_phase[3].id


async def test_a_worse_segmenter_stays_candidate(world: World) -> None:
    world.trainer.iou = lambda labels: 0.9 - labels / 100
    campaign_id = await run_to_end(world)

    champion = world.stores.releases.champion(campaign_id)
    assert champion is not None
    assert champion.phase == 1
    newest = world.stores.releases.list(campaign_id, PageRequest()).items
    assert {r.state for r in newest if r.phase == 3} == {ReleaseState.CANDIDATE}


async def test_triton_is_told_what_to_keep(world: World) -> None:
    await run_to_end(world)

    # Champion and the one before; the two newest uncertainty models.
    assert world.trainer.resident["lv_segmenter"] == (2, 3)
    assert world.trainer.resident["lv_uncertainty"] == (2, 3)


async def test_both_models_train_on_every_label_and_the_test_pool_measures(world: World) -> None:
    await run_to_end(world, label_budget=8)

    kinds = {(order.kind, len(order.frames)) for order in world.trainer.orders}
    assert kinds == {
        (kind, labels)
        for kind in (common_pb2.RELEASE_KIND_SEGMENTER, common_pb2.RELEASE_KIND_UNCERTAINTY)
        for labels in (4, 8)
    }
    assert {len(order.frames) for order in world.trainer.evaluations} == {TEST_FRAMES}
    seeds = {order.config.seed for order in world.trainer.orders}
    assert len(seeds) == 4


async def test_a_warm_start_names_the_models_of_the_phase_before(world: World) -> None:
    await run_to_end(world, retrain_mode=RetrainMode.WARM_START)

    segmenters = [
        order for order in world.trainer.orders if order.kind == common_pb2.RELEASE_KIND_SEGMENTER
    ]
    assert [order.warm_start.version for order in segmenters] == [0, 1, 2]
    assert not segmenters[0].HasField("warm_start")


async def test_from_scratch_names_none(world: World) -> None:
    await run_to_end(world, retrain_mode=RetrainMode.FROM_SCRATCH)

    assert not any(order.HasField("warm_start") for order in world.trainer.orders)


# ---- failures ------------------------------------------------------------------------------------


async def test_a_failed_training_fails_the_phase_and_a_resume_trains_only_that_model_again(
    world: World,
) -> None:
    world.trainer.fail_next(
        trainer_pb2.JOB_KIND_RETRAINING, "ZERO_VARIANCE_MODEL", "All passes are equal."
    )
    campaign = world.start(small_config(label_budget=4))
    async with world.driving(), world.reading():
        failed = await world.until_failed(campaign.id)
        assert "All passes are equal." in failed.failure
        assert failed.state is CampaignState.RUNNING
        world.resume(campaign.id)
        await world.until_completed(campaign.id)

    states = [job.state for job in world.trainer.jobs if job.HasField("retraining")]
    assert states == [trainer_pb2.JOB_STATE_SUCCEEDED] * 2
    trainings = [j for j in world.trainer.jobs if j.kind == trainer_pb2.JOB_KIND_RETRAINING]
    assert len(trainings) == 3


async def test_a_failed_evaluation_fails_the_phase_and_is_repeated_on_resume(world: World) -> None:
    world.trainer.fail_next(trainer_pb2.JOB_KIND_EVALUATION, "TRITON", "Triton is full.")
    campaign = world.start(small_config(label_budget=4))
    async with world.driving(), world.reading():
        failed = await world.until_failed(campaign.id)
        assert failed.failure.startswith("Evaluating the segmenter failed")
        world.resume(campaign.id)
        await world.until_completed(campaign.id)


async def test_a_trainer_that_is_down_is_waited_for_and_the_wait_is_shown(world: World) -> None:
    world.trainer.down = True
    campaign = world.start(small_config(label_budget=4))
    async with world.driving(), world.reading():
        await world.until(campaign.id, lambda c: c.phase_state is PhaseState.TRAINING)
        await eventually(
            lambda: "waiting, will try again" in world.board.read(campaign.id).activity
        )
        assert "trainer" in world.board.read(campaign.id).activity
        world.trainer.down = False
        done = await world.until_completed(campaign.id)

    assert done.stop_reason is StopReason.BUDGET_EXHAUSTED
    assert len(world.trainer.jobs) == 3


async def test_scoring_goes_on_where_it_broke_off(world: World) -> None:
    world.uncertainty.down_after = 9
    campaign = world.start(small_config(label_budget=8))
    async with world.driving(), world.reading():
        await eventually(lambda: world.uncertainty.down)
        await asyncio.sleep(0.05)
        world.uncertainty.down = False
        await world.until_completed(campaign.id)

    # A result may be lost with the connection, a stored one is never asked for again.
    assert len(world.uncertainty.scored) <= TRAIN_FRAMES - 4 + 1
    assert set(world.uncertainty.scored) >= set(world.batches(campaign.id)[1])


async def test_jobs_that_the_trainer_lost_are_asked_for_again(world: World) -> None:
    world.trainer.step_s = 0.1
    campaign = world.start(small_config(label_budget=4))
    async with world.driving(), world.reading():
        await eventually(lambda: len(world.trainer.jobs) == 2)
        await world.trainer.lose_jobs()
        world.trainer.step_s = 0.0
        await world.until_completed(campaign.id)


async def test_a_label_corrected_while_its_job_runs_makes_another_job(world: World) -> None:
    world.trainer.step_s = 0.3
    campaign = world.start(small_config(label_budget=4))
    async with world.reading():
        async with world.driving():
            await eventually(lambda: len(world.trainer.jobs) == 2)
        world.restart()
        page = world.stores.annotations.list(campaign.id, None, PageRequest())
        corrected = np.ones((16, 20), np.uint8)
        world.stores.annotations.correct(
            page.items[0].id,
            "ana",
            replaces_version=1,
            mask_ref=world.blobs.put("masks", encode_mask_png(corrected), ".png"),
            lv_absent=False,
        )
        async with world.driving():
            await world.until_completed(campaign.id)

    before, after = world.trainer.orders[0], world.trainer.orders[-1]
    assert before.request_id != after.request_id
    assert {frame.mask_ref for frame in before.frames} != {f.mask_ref for f in after.frames}


async def test_a_campaign_without_any_label_fails_with_the_reason(world: World) -> None:
    campaign = world.start()
    async with world.driving():
        await world.until(campaign.id, lambda c: c.phase_state is PhaseState.ANNOTATING)
        for request in world.stores.annotations.pull(campaign.id, "ana", 100):
            assert request.lease is not None
            world.stores.annotations.skip(
                request.id, "ana", request.lease.token, SkipReason.POOR_QUALITY
            )
        failed = await world.until_failed(campaign.id)

    assert "No frame is labeled" in failed.failure


# ---- pause, resume, stop -------------------------------------------------------------------------


async def test_a_pause_holds_before_the_next_step_and_a_resume_goes_on(world: World) -> None:
    campaign = world.start(small_config(label_budget=4))
    async with world.driving() as supervisor, world.reading():
        world.stores.campaigns.pause(campaign.id)
        world.notifier.notify(DRIVERS)
        await eventually(lambda: not supervisor.driven)
        held = world.stores.campaigns.get(campaign.id)
        await asyncio.sleep(0.3)
        assert world.stores.campaigns.get(campaign.id) == held
        world.resume(campaign.id)
        await world.until_completed(campaign.id)


async def test_a_stop_ends_the_driver_and_its_jobs(world: World) -> None:
    world.trainer.step_s = 30.0
    campaign = world.start()
    async with world.driving() as supervisor, world.reading():
        await eventually(lambda: len(world.trainer.jobs) == 2)
        await asyncio.sleep(0.1)
        world.stores.campaigns.stop(campaign.id)
        world.notifier.notify(DRIVERS)
        cancelled = trainer_pb2.JOB_STATE_CANCELLED
        await eventually(lambda: {job.state for job in world.trainer.jobs} == {cancelled})
        assert not supervisor.driven

    stopped = world.stores.campaigns.get(campaign.id)
    assert stopped.stop_reason is StopReason.STOPPED_BY_OPERATOR
    assert stopped.labeled == 4


async def test_two_campaigns_run_side_by_side(world: World) -> None:
    first, second = world.start(), world.start(small_config(seed=9))
    async with world.driving(), world.reading():
        await world.until_completed(first.id)
        await world.until_completed(second.id)

    assert len(world.labels(first.id)) == len(world.labels(second.id)) == 12


# ---- crashes -------------------------------------------------------------------------------------

STEPS = [
    (0, PhaseState.SELECTING),
    (0, PhaseState.ANNOTATING),
    (0, PhaseState.COMPLETE),
    (1, PhaseState.TRAINING),
    (1, PhaseState.EVALUATING),
    (1, PhaseState.SCORING),
    (1, PhaseState.SELECTING),
    (1, PhaseState.ANNOTATING),
    (1, PhaseState.COMPLETE),
    (2, PhaseState.TRAINING),
    (2, PhaseState.EVALUATING),
]


@pytest.mark.parametrize(("phase", "state"), STEPS)
@pytest.mark.parametrize("delay_s", [0.0, 0.015])
async def test_a_campaign_killed_at_any_state_completes_the_same(
    world: World, phase: int, state: PhaseState, delay_s: float
) -> None:
    world.trainer.step_s = world.uncertainty.frame_s = 0.002
    undisturbed = await run_to_end(world, label_budget=8)
    scored_before = len(world.uncertainty.scored)
    jobs_before = len(world.trainer.jobs)

    campaign = world.start(small_config(label_budget=8))
    position = STEPS.index((phase, state))
    async with world.reading():
        async with world.driving():
            await world.until(
                campaign.id,
                lambda c: (
                    c.state is CampaignState.COMPLETED
                    or (c.phase, c.phase_state) in STEPS[position:]
                ),
            )
            await asyncio.sleep(delay_s)
        world.restart()
        async with world.driving():
            await world.until_completed(campaign.id)

    assert world.batches(campaign.id) == world.batches(undisturbed)
    assert world.labels(campaign.id) == world.labels(undisturbed)
    assert len(world.trainer.jobs) - jobs_before == jobs_before
    # At most what was not stored yet when the process died is scored again.
    again = len(world.uncertainty.scored) - 2 * scored_before
    assert 0 <= again <= 8


async def test_a_campaign_killed_again_and_again_completes_the_same(world: World) -> None:
    world.trainer.step_s = world.uncertainty.frame_s = 0.004
    undisturbed = await run_to_end(world)
    jobs_before = len(world.trainer.jobs)

    campaign = world.start()
    lives = 0
    async with world.reading():
        while world.stores.campaigns.get(campaign.id).state is CampaignState.RUNNING:
            lives += 1
            async with world.driving():
                await asyncio.sleep(0.03 + 0.007 * (lives % 9))
            world.restart()

    assert lives > 5
    assert world.batches(campaign.id) == world.batches(undisturbed)
    assert world.labels(campaign.id) == world.labels(undisturbed)
    assert len(world.trainer.jobs) == 2 * jobs_before
