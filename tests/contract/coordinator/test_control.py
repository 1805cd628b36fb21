"""The control arm: what chance chose, what it measured, and when Triton lets go of it."""

import pytest

from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.errors import (
    IllegalTransition,
    InvalidArgument,
    InvalidPageToken,
    PhaseNotFound,
)
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import FrameMeasure, PhaseState
from services.coordinator.domain.ports import PageRequest, PhaseJob
from services.coordinator.domain.query_config import Arm, QueryConfig
from services.coordinator.domain.releases import ReleaseKind, ReleaseState
from tests.contract.coordinator.world import EVERYTHING, World


def every_test_frame(world: World, campaign: Campaign, iou: float) -> list[FrameMeasure]:
    test = world.stores.campaigns.pool_frames(campaign.id, Pool.TEST, EVERYTHING).items
    return [FrameMeasure(frame.frame_id, iou, iou) for frame in test]


def test_chance_chose_the_control_arm_and_the_initial_query_if_it_was_random(world: World) -> None:
    world.import_frames(train=20)
    campaign = world.start(query=QueryConfig(control_share=0.5))
    world.scoring(campaign)
    world.score_all(campaign)
    world.advance(campaign, PhaseState.SELECTING)
    world.select(campaign)
    initial, chosen = (world.stores.queries.batch(campaign.id, phase) for phase in (0, 1))
    assert initial is not None and chosen is not None

    assert len(chosen.control) == 2
    assert world.stores.phases.randomly_chosen(campaign.id, initial=False) == chosen.control
    both = world.stores.phases.randomly_chosen(campaign.id, initial=True)
    assert both == chosen.control | set(initial.frame_ids)
    with pytest.raises(PhaseNotFound):
        world.stores.phases.randomly_chosen("nobody", initial=True)


def test_a_control_release_is_resident_until_it_is_measured_and_never_serves(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.next_phase(campaign)
    world.publish(campaign, 1)
    release = world.publish(campaign, 2, ReleaseKind.CONTROL)
    phase = world.phase(campaign)
    assert (phase.control_release, phase.control_labeled) == (release.id, release.labeled)
    assert release.state is ReleaseState.CANDIDATE
    assert release.model in world.stores.releases.resident()
    with pytest.raises(IllegalTransition):
        world.stores.releases.promote(release.id)

    for iou in (0.4, 0.45):
        measured = world.stores.phases.record_control(
            campaign.id, 1, labeled=3, iou=iou, frames=every_test_frame(world, campaign, iou)
        )
    assert (measured.control_iou, measured.control_labeled) == (0.45, 3)
    after = world.stores.releases.get(release.id)
    assert (after.state, after.test_iou) == (ReleaseState.RETIRED, 0.45)
    assert release.model not in world.stores.releases.resident()


def test_a_stopped_campaign_holds_no_control_release(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.next_phase(campaign)
    release = world.publish(campaign, 2, ReleaseKind.CONTROL)
    world.stores.campaigns.stop(campaign.id)
    assert release.model not in world.stores.releases.resident()


def test_both_segmenters_of_a_phase_keep_their_measures_apart(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.next_phase(campaign)
    release = world.publish(campaign, 1)
    store = world.stores.phases
    better, worse = every_test_frame(world, campaign, 0.6), every_test_frame(world, campaign, 0.4)
    store.record_evaluation(campaign.id, 1, iou=0.6, dice=0.7, frames=better)
    store.record_control(campaign.id, 1, labeled=4, iou=0.4, frames=worse)

    assert store.measures(campaign.id, 1, EVERYTHING).items == tuple(better)
    first = store.measures(campaign.id, 1, PageRequest(3), arm=Arm.CONTROL)
    rest = store.measures(campaign.id, 1, PageRequest(3, first.next_token), arm=Arm.CONTROL)
    assert first.items + rest.items == tuple(worse)
    with pytest.raises(InvalidPageToken):
        store.measures(campaign.id, 1, PageRequest(3, first.next_token))
    phase = world.phase(campaign)
    assert (phase.test_iou, phase.control_iou, phase.control_release) == (0.6, 0.4, "")
    assert world.stores.campaigns.get(campaign.id).test_iou == 0.6
    # Its own control: the segmenter stays what it is.
    assert world.stores.releases.get(release.id).state is ReleaseState.CANDIDATE


def test_control_jobs_are_recorded_beside_the_others(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    for job in PhaseJob:
        world.stores.phases.record_job(campaign.id, 0, job, f"{job.value}-1")
    phase = world.phase(campaign)
    assert phase.control_job == "control-1"
    assert phase.control_evaluation_job == "control_evaluation-1"
    assert phase.evaluation_job == "evaluation-1"


@pytest.mark.parametrize(("labeled", "iou"), [(0, 0.5), (4, 1.2), (4, float("nan"))])
def test_a_control_measure_outside_its_range_is_refused(
    world: World, labeled: int, iou: float
) -> None:
    world.import_frames()
    campaign = world.start()
    with pytest.raises(InvalidArgument):
        world.stores.phases.record_control(campaign.id, 0, labeled=labeled, iou=iou, frames=[])
